"""The crypto leaf: sealing, keys, signatures and encrypted search. No database, and no network of its own.

The one way out is a remote key service, through that service's own client (``providers/vault_transit.py``, hvac).

Clock and randomness are passed in, so every function can be driven by vectors.
Byte formats are written down field by field in ``crypto/SPEC.md``.
"""
