"""Blind-index tags: finding a record by a value without storing the value.

A tag is HMAC-SHA256 truncated to 16 bytes (RFC 2104 section 5), keyed per tenant × parameter × epoch. Equal values give
equal tags: whoever sees the index learns which records share a value and how often each occurs, and nothing else.
For a value with few possible contents that histogram is the value; index it only as part of a ``compound``.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from twinward_crypto.kdf import length_prefixed, require_key
from twinward_crypto.keys import KeyProvider, TenantId

INDEX_LABEL = b"twinward/blind-index"
TAG_BYTES = 16


def index_key(provider: KeyProvider, tenant: TenantId, parameter: str, epoch: int = 0) -> bytes:
    """The 32-byte key of one index. It is stable over KEK rotation; a new epoch starts an unlinkable index.

    Raises:
        KeyProviderError: the key service refused or failed.
    """
    return provider.mac(tenant, INDEX_LABEL, length_prefixed(parameter.encode(), epoch.to_bytes(4, "big")))


def tag(key: bytes, value: bytes) -> bytes:
    """The 16-byte tag of a value; the caller has normalised it (case, form) as its search wants.

    Raises:
        MalformedKey: the key is not 32 bytes.
    """
    require_key(key)
    return hmac.digest(key, value, "sha256")[:TAG_BYTES]


class Tagger:
    """``tag`` for many values under one key: the key is absorbed once. Safe to share between threads."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        """Take the key: 32 bytes. Raises ``MalformedKey``."""
        require_key(key)
        self._keyed = HMAC(key, SHA256())

    def __call__(self, value: bytes) -> bytes:
        """The 16-byte tag of a value."""
        mac = self._keyed.copy()
        mac.update(value)
        return mac.finalize()[:TAG_BYTES]

    def __reduce__(self) -> str:
        raise TypeError("a tagger holds a key and is not pickled")


def compound(*values: str) -> bytes:
    """Several values as one indexable value; no two lists give the same bytes."""
    return length_prefixed(*(value.encode() for value in values))
