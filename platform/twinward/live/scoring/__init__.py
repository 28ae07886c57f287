"""Registered models over live twins."""
