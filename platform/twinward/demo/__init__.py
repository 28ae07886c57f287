"""The main job end to end on the embedded defaults: what ``make run`` shows."""
