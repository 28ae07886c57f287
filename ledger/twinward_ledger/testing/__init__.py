"""For tests only: the suites that every store and every chain must pass."""
