"""Access events: their canonical form, sealed into entries of the log, found and read back."""
