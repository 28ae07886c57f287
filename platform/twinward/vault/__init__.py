"""Vault: twins' records sealed at rest, opened only against a permit."""
