"""``twinward node``: a hospital's node."""
