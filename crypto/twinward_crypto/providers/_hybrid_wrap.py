"""Wrapping a key to a KEK's own hybrid public key: HPKE with ML-KEM-768 + X25519 (``disclosure``, suite 0x02).

    offset  bytes  field
    0       1      version            0x01
    1       1      suite              0x04
    2       1169   sealed             suite 0x02 | encapsulated key 1120 | ciphertext 32 | tag 16

The recipient's private key is not stored: its ML-KEM-768 seed and its X25519 scalar are derived from the 32-byte KEK,
so destroying the KEK destroys it. A symmetric wrap under AES-256 already withstands a quantum computer; this form is
for houses whose rules ask for ML-KEM, and it stays closed while either of the two problems stays hard.
"""

from __future__ import annotations

from twinward_crypto.disclosure import (
    MLKEM768_CIPHERTEXT_BYTES,
    MLKEM768_SEED_BYTES,
    TAG_BYTES,
    X25519_BYTES,
    RecipientSuite,
    open_from,
    public_part,
    seal_to,
)
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import KEY_BYTES, derive

HEADER = b"\x01\x04"
INFO = b"twinward/hybrid-wrap"
MLKEM_SEED = b"twinward/hybrid-kek/ml-kem-768"
X25519_SCALAR = b"twinward/hybrid-kek/x25519"
SEALED_BYTES = 1 + MLKEM768_CIPHERTEXT_BYTES + X25519_BYTES + KEY_BYTES + TAG_BYTES
WRAPPED_BYTES = len(HEADER) + SEALED_BYTES


def wrap(kek: bytes, plaintext_key: bytes, aad: bytes) -> bytes:
    """1,171 bytes that only the KEK opens, with the same ``aad``."""
    return HEADER + seal_to(public_part(_private(kek)), plaintext_key, info=INFO, aad=aad)


def unwrap(kek: bytes, wrapped: bytes, aad: bytes) -> bytes:
    """The reverse. Raises ``OpenError`` for anything else."""
    if len(wrapped) != WRAPPED_BYTES or not wrapped.startswith(HEADER):
        raise OpenError
    return open_from(_private(kek), wrapped[len(HEADER) :], info=INFO, aad=aad)


def _private(kek: bytes) -> bytes:
    seed = derive(kek, MLKEM_SEED, b"", length=MLKEM768_SEED_BYTES)
    return bytes((RecipientSuite.MLKEM768_X25519,)) + seed + derive(kek, X25519_SCALAR, b"", length=X25519_BYTES)
