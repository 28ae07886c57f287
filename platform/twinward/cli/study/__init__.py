"""``twinward study``: a protocol, its run, and the models that came of runs."""
