"""``twinward audit``: the access log."""
