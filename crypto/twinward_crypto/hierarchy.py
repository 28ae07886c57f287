"""From a twin's key to everything that is sealed for it.

    root (inside the key service)
    └── tenant KEK, versioned            wraps ↓, never leaves the service
        └── wrapping key                 32 random bytes, kept wrapped in the keyring: wraps ↓ of up to 1,000 twins
            └── twin key                 32 random bytes, kept wrapped in the keyring
                ├── category key         one per category and generation: seals records
                ├── audit key            seals the bodies of events about this patient
                └── tag keys             blind tags that mean something within this twin only

A twin key is random, so destroying its wrapped copies destroys everything below it. Category keys are derived, so they
need no storage of their own. All derivations are ``kdf.derive``; the labels below are wire constants.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twinward_crypto.errors import ParameterError
from twinward_crypto.kdf import KEY_BYTES, RandomBytes, derive, length_prefixed

CATEGORY_KEY = b"twinward/category-key"
AUDIT_KEY = b"twinward/audit-key"
TAG_KEY = b"twinward/tag-key"
NAME_TAG_KEY = b"twinward/name-tag-key"
WRAP_CONTEXT = b"twinward/twin-key"
WRAPPING_CONTEXT = b"twinward/wrapping-key"
INNER_CONTEXT = b"twinward/twin-key/wrapping-key"

FIRST_GENERATION = 1
MAX_GENERATION = 0xFFFFFFFF


def new_twin_key(random: RandomBytes = os.urandom) -> bytes:
    """32 fresh random bytes."""
    return random(KEY_BYTES)


def category_key(twin_key: bytes, category: str, generation: int) -> bytes:
    """The 32-byte key that seals one category's records: context ``len ‖ category ‖ len ‖ generation u32``."""
    return derive(twin_key, CATEGORY_KEY, length_prefixed(category.encode(), _generation(generation)))


def audit_key(twin_key: bytes) -> bytes:
    """The 32-byte key that seals bodies of access events about this twin."""
    return derive(twin_key, AUDIT_KEY, b"")


def tag_key(twin_key: bytes, kind: str) -> bytes:
    """A 32-byte key for blind tags of one kind (``category``) within this twin."""
    return derive(twin_key, TAG_KEY, kind.encode())


def name_tag_key(twin_key: bytes) -> bytes:
    """A 64-byte AES-256-SIV key for ``name_tag.NameTagger``: record types within this twin."""
    return derive(twin_key, NAME_TAG_KEY, b"", length=64)


def wrap_context(tenant: str, twin: str, generation: int) -> bytes:
    """What a wrapped twin key is bound to at the key service. Under any other context it does not unwrap."""
    return wrap_contexts(tenant)(twin, generation)


def wrap_contexts(tenant: str) -> Callable[[str, int], bytes]:
    """``wrap_context`` of many twins of one tenant."""
    begun = length_prefixed(WRAP_CONTEXT, tenant.encode())

    def context(twin: str, generation: int) -> bytes:
        return begun + length_prefixed(twin.encode(), _generation(generation))

    return context


def wrapping_context(tenant: str, number: int) -> bytes:
    """What a wrapped wrapping key is bound to at the key service: its tenant and its number (u64)."""
    return length_prefixed(WRAPPING_CONTEXT, tenant.encode(), number.to_bytes(8, "big"))


def inner_contexts(tenant: str, number: int) -> Callable[[str, int], bytes]:
    """What keys of twins are bound to under the wrapping key of a number: that number, then as at the key service."""
    begun, place = length_prefixed(INNER_CONTEXT, number.to_bytes(8, "big")), wrap_contexts(tenant)

    def context(twin: str, generation: int) -> bytes:
        return begun + place(twin, generation)

    return context


def _generation(generation: int) -> bytes:
    if not FIRST_GENERATION <= generation <= MAX_GENERATION:
        raise ParameterError("generations count from 1 and fit 32 bits", part="generation")
    return generation.to_bytes(4, "big")
