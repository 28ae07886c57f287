"""How series, sources, devices and quarantine are kept: sealed, one transaction a batch."""
