"""The verifier that needs nothing but Python: one file, copied as it is."""
