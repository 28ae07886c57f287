"""For tests only: an in-memory key provider and the suite that every provider must pass."""
