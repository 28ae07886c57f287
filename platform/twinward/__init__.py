"""Twinward: a secure data platform for patients' digital twins."""

__version__ = "0.1.0"
