"""``twinward site``: a hospital's own part in studies."""
