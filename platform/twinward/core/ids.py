"""Names: UUIDv7 (RFC 9562, section 5.7), time-ordered, so that B-trees append, and opaque; UUIDv8 (5.8) of a text."""

from __future__ import annotations

import hashlib
import secrets

from twinward.core.vocabulary import RecordId, TwinId

UUID_PATTERN = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""As names are written here."""
_VARIANT = {f"{digit:x}": f"{0b1000 | digit & 0b0011:x}" for digit in range(16)}
"""The variant of RFC 9562, section 4.1, out of a random digit."""


def uuid7(at_ms: int) -> str:
    """A version 7 UUID: 48 bits of milliseconds, then 74 random bits."""
    time, chance = f"{at_ms & (1 << 48) - 1:012x}", secrets.token_hex(10)
    variant = _VARIANT[chance[3]]  # two fixed bits, two random ones
    return f"{time[:8]}-{time[8:]}-7{chance[:3]}-{variant}{chance[4:7]}-{chance[7:19]}"


def first_uuid7(at_ms: int) -> str:
    """What sorts in front of every version 7 UUID of a moment or later, and behind all earlier ones.

    Before 1970 there were none: whoever asks since 1900 asks for all.
    """
    time = f"{min(max(at_ms, 0), (1 << 48) - 1):012x}"
    return f"{time[:8]}-{time[8:]}"


def uuid8(*parts: str) -> str:
    """A version 8 UUID: 122 bits of the SHA-256 of texts, each after its length. The same texts give the same id."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    name = digest.hexdigest()
    return f"{name[:8]}-{name[8:12]}-8{name[13:16]}-{_VARIANT[name[16]]}{name[17:20]}-{name[20:32]}"


def new_twin_id(at_ms: int) -> TwinId:
    """A fresh twin id."""
    return TwinId(uuid7(at_ms))


def new_record_id(at_ms: int) -> RecordId:
    """A fresh record id."""
    return RecordId(uuid7(at_ms))
