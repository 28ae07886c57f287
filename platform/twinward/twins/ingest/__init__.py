"""What becomes of an import: planned, decided and written in one step; one by one or many together."""
