"""``twinward twin``: patients' twins."""
