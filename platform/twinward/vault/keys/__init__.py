"""Twins' keys: wrapped in the keyring, rotated, and destroyed on purpose."""
