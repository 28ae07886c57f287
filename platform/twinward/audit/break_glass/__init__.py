"""Emergency accesses while the log cannot be written, and break-glass events read back."""
