"""A tamper-evident log: RFC 6962 tree, signed checkpoints, witnesses, anchors on a chain.

Imports the crypto leaf and the contract bindings, nothing of the platform.
Formats are written down in ``ledger/SPEC.md``.
"""
