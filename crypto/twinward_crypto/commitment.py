"""Salted, keyed commitments: what a public log leaf may say about a private event.

    commitment = HMAC-SHA256(key, lp("twinward/commitment/1") ‖ lp(domain) ‖ lp(salt) ‖ lp(message))

where ``lp`` puts a 32-bit big-endian length before a part. The random salt hides a guessable message even from those
who hold the key; once the salt is erased, the commitment says nothing any more. It binds because HMAC-SHA256 under
keys of one fixed length is collision resistant.
"""

from __future__ import annotations

import hmac
import os

from twinward_crypto.errors import OpenError, ParameterError
from twinward_crypto.kdf import RandomBytes, length_prefixed, require_key

LABEL = b"twinward/commitment/1"
SALT_BYTES = 32


def new_salt(random: RandomBytes = os.urandom) -> bytes:
    """32 fresh random bytes; use each for one commitment."""
    return random(SALT_BYTES)


def commit(key: bytes, message: bytes, salt: bytes, *, domain: bytes) -> bytes:
    """Commit to a message: 32 bytes.

    Args:
        key: 32 bytes.
        message: any length.
        salt: 32 bytes from ``new_salt``.
        domain: what kind of message this is, so that one kind never opens as another.

    Raises:
        MalformedKey: the key is not 32 bytes.
        ParameterError: the salt is not 32 bytes.
    """
    require_key(key)
    if len(salt) != SALT_BYTES:
        raise ParameterError(f"a salt has {SALT_BYTES} bytes", part="salt")
    return hmac.digest(key, length_prefixed(LABEL, domain, salt, message), "sha256")


def open_commitment(key: bytes, message: bytes, salt: bytes, commitment: bytes, *, domain: bytes) -> None:
    """Check in constant time that a commitment is to this message.

    Raises:
        OpenError: it is not.
        MalformedKey: the key is not 32 bytes.
    """
    require_key(key)
    if len(salt) != SALT_BYTES or not hmac.compare_digest(commit(key, message, salt, domain=domain), commitment):
        raise OpenError
