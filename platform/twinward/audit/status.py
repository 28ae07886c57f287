"""How far the audit trail is signed, cosigned and anchored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twinward.audit.break_glass.journal import JournalState
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import QuorumNotReached
from twinward_ledger.formats.checkpoint import open_checkpoint
from twinward_ledger.proofs.verifier import verify_quorum
from twinward_ledger.stores.anchor_journal import Trouble

if TYPE_CHECKING:
    from twinward_ledger.anchoring.anchorer import Anchorer


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


def cosigners(note: bytes, anchorer: Anchorer) -> tuple[tuple[str, int], ...]:
    """The witnesses whose cosignatures on a checkpoint verify, each with the time it states; none if there are none."""
    _, opened = open_checkpoint(note, anchorer.log.key)
    try:
        return verify_quorum(opened, [peer.key for peer in anchorer.witnesses], 1)
    except (QuorumNotReached, InvalidSignature):
        return ()
