"""The crypto leaf: sealing, keys, signatures and encrypted search. No network, no database.

Clock and randomness are passed in, so every function can be driven by vectors.
Byte formats are written down field by field in ``crypto/SPEC.md``.
"""
