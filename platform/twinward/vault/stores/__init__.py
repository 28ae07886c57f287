"""Stores of sealed rows, one file each; all pass ``tests/conformance``. SQLite is the embedded default."""
