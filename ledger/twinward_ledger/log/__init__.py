"""One append-only log: what it asks of its store, what it signs, the files it publishes, its check from the leaves."""
