"""The leaf, version 1: the 38 bytes of an event that the tree commits to, for ever.

======  =====  ====================================================================
offset  bytes  field
======  =====  ====================================================================
0       1      version, ``0x01``
1       1      kind (``LeafKind``)
2       4      time: whole minutes since the Unix epoch, unsigned big-endian
6       32     commitment: salted keyed commitment of the event
======  =====  ====================================================================

A leaf says coarsely what and when, and nothing about anybody: who, whom and why are in the event body, which is
sealed elsewhere and can be erased. Without the salt (inside that body) the commitment is indistinguishable from
random, so an erased event's leaf tells nothing. Fixed binary, because there is then one encoding only, and a minute,
because a second would let leaves be matched with what was seen on a ward; the exact time is in the sealed body.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from twinward_ledger.errors import MalformedLeaf

LEAF_VERSION = 1
LEAF_BYTES = 38
COMMITMENT_BYTES = 32
MINUTE_MS = 60_000

EVENT_DOMAIN = b"twinward/access-event/1"
"""Domain of the commitments in leaves (``twinward_crypto.commitment``)."""

_LAYOUT = struct.Struct(">BBI32s")


class LeafKind(IntEnum):
    """What sort of line this is. Numbers are wire values and do not change."""

    ACCESS = 1
    """An access to one patient's twin."""
    NODE = 2
    """An event about no single patient: a vendor query, a study, reading the log."""
    HEARTBEAT = 3
    """Nothing happened; a gap between heartbeats shows that something is missing."""
    COMPLETENESS = 4
    """A root of the completeness map; its commitment is to a ``completeness.MapHead``, which is no secret."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf. ``minute`` counts whole minutes since the Unix epoch; ``commitment`` is 32 bytes."""

    kind: LeafKind
    minute: int
    commitment: bytes

    @classmethod
    def at(cls, at_ms: int, kind: LeafKind, commitment: bytes) -> Leaf:
        """A leaf for a moment in milliseconds, rounded down to its minute."""
        return cls(kind=kind, minute=at_ms // MINUTE_MS, commitment=commitment)

    def encode(self) -> bytes:
        """The leaf's 38 bytes. Raises ``MalformedLeaf`` for values that have no encoding."""
        if len(self.commitment) != COMMITMENT_BYTES:
            raise MalformedLeaf(f"a commitment is {COMMITMENT_BYTES} bytes, not {len(self.commitment)}")
        if not 0 <= self.minute < 2**32:
            raise MalformedLeaf("time is outside what a leaf can say")
        return _LAYOUT.pack(LEAF_VERSION, self.kind, self.minute, self.commitment)

    @classmethod
    def decode(cls, data: bytes) -> Leaf:
        """Parse a leaf's bytes. Raises ``MalformedLeaf`` unless they are exactly one leaf of a known kind."""
        if len(data) != LEAF_BYTES:
            raise MalformedLeaf(f"a leaf is {LEAF_BYTES} bytes, not {len(data)}")
        version, kind, minute, commitment = _LAYOUT.unpack(data)
        if version != LEAF_VERSION:
            raise MalformedLeaf(f"unknown leaf version {version}")
        try:
            return cls(kind=LeafKind(kind), minute=minute, commitment=commitment)
        except ValueError:
            raise MalformedLeaf(f"unknown leaf kind {kind}") from None
