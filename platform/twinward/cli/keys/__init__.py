"""``twinward keys``: the keyring."""
