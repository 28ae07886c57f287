"""For tests only: the suite that every record store must pass."""
