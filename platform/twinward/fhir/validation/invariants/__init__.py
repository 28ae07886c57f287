"""HL7's invariants of R4, each as a rule of plain Python. See ``table``."""
