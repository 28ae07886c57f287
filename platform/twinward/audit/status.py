"""What the audit trail says of itself: how far it is signed and anchored, what waits, and what checks of it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twinward.audit.models import Head
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import QuorumNotReached
from twinward_ledger.formats.key_history import KeyHistory
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.proofs.verifier import verify_quorum
from twinward_ledger.stores.anchor_journal import Trouble

if TYPE_CHECKING:
    from twinward_ledger.anchoring.anchorer import Anchorer

MAX_JOURNAL_BYTES: Final = 16 << 20
"""How large the break-glass journal's file may be."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was replayed last: how many, the first and last index in the log, and when they had happened.

    ``lost`` counts the accesses that had been written before and were cut off.
    """

    count: int
    first_index: int
    last_index: int
    from_ms: int
    to_ms: int
    lost: int = 0


@dataclass(frozen=True, slots=True)
class JournalState:
    """The journal at a glance.

    Attributes:
        waiting: accesses that are not in the log yet.
        from_ms, to_ms: when the first and the last of them happened; 0 for none.
        replayed: what was replayed last; None if nothing ever was.
        lost: accesses that were written and have been cut off since.
        evidence: files that were found altered and set aside, for a person to examine.
    """

    waiting: int = 0
    from_ms: int = 0
    to_ms: int = 0
    replayed: Replayed | None = None
    lost: int = 0
    evidence: tuple[Path, ...] = ()

    @property
    def cut_off(self) -> int:
        """Accesses that are missing: of what waits, and of what was replayed last."""
        return self.lost + (self.replayed.lost if self.replayed else 0)


@dataclass(frozen=True, slots=True)
class AuditStatus:
    """The trail at a glance.

    Attributes:
        size: events in the log.
        signed_size: how many of them the newest checkpoint covers.
        witnesses: how many witnesses there are.
        cosigned: how many of them signed the newest checkpoint.
        quorum: how many must.
        anchored_size: how many events the newest confirmed anchor covers.
        anchored_block: the block it is in; None if nothing is anchored.
        waits: why anchoring waits, and since when; None where it does not.
        taken_back: when the chain last lost anchors it had confirmed; None if it never did.
        journal: emergencies that were written beside the log while it could not be.
    """

    size: int
    signed_size: int
    witnesses: int
    cosigned: int
    quorum: int
    anchored_size: int
    anchored_block: int | None
    waits: Trouble | None = None
    taken_back: Trouble | None = None
    journal: JournalState = field(default_factory=JournalState)

    @property
    def pending(self) -> int:
        """Events that are not anchored yet, those in the break-glass journal too."""
        return self.size - self.anchored_size + self.journal.waiting


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A log that was re-derived and is what was signed.

    Attributes:
        size: events whose leaves were hashed again.
        root: the root over all of them.
        signed_size: how many of them the newest checkpoint covers.
        checkpoints: how many signed checkpoints agreed.
        map_heads: how many roots of the completeness map were built again.
        map_covered: how many entries the newest of them covers.
        opened: bodies that were opened and held against their leaves (``deep`` only).
        erased: bodies that are erased (``deep`` only).
        heads: by store, the furthest head that any entry records, whatever the index says (``deep`` only).
    """

    size: int
    root: bytes
    signed_size: int
    checkpoints: int
    map_heads: int = 0
    map_covered: int = 0
    opened: int = 0
    erased: int = 0
    heads: Mapping[str, Head] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LastCheck:
    """What is known of the whole log.

    Attributes:
        size: how many events the last whole check covered; 0 before the first.
        at_ms: when it began.
        fault: what is not as it was signed or recorded; empty where all is. It stays until a later check finds none.
        trouble: why the check after that could not be made; empty where it could.
    """

    size: int = 0
    at_ms: int = 0
    fault: str = ""
    trouble: str = ""


def cosigners(note: bytes, anchorer: Anchorer) -> tuple[tuple[str, int], ...]:
    """The witnesses whose cosignatures on a checkpoint verify, each with the time it states; none if there are none."""
    return _verified(note, anchorer.log.history, tuple(peer.key for peer in anchorer.witnesses))


@lru_cache(maxsize=16)
def _verified(note: bytes, log: KeyHistory, witnesses: tuple[VerifierKey, ...]) -> tuple[tuple[str, int], ...]:
    """Follows from what it is given alone: pages that say the same of one checkpoint verify it once."""
    _, opened = log.open(note)
    try:
        return verify_quorum(opened, list(witnesses), 1)
    except (QuorumNotReached, InvalidSignature):
        return ()
