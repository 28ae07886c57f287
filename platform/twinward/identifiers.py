"""UUIDv7 names (RFC 9562, section 5.7): time-ordered, so that B-trees append, and opaque."""

from __future__ import annotations

import secrets
import uuid

from twinward.vocabulary import RecordId, TwinId


def uuid7(at_ms: int) -> str:
    """A version 7 UUID: 48 bits of milliseconds, then 74 random bits."""
    value = (at_ms & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def new_twin_id(at_ms: int) -> TwinId:
    """A fresh twin id."""
    return TwinId(uuid7(at_ms))


def new_record_id(at_ms: int) -> RecordId:
    """A fresh record id."""
    return RecordId(uuid7(at_ms))
