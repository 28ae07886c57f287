"""An entry of the log as one line of a page."""

from __future__ import annotations

from collections.abc import Sequence

from twinward.audit.errors import EventNotLoggable, LogTampered
from twinward.audit.events import codec
from twinward.audit.events.sealer import EventSealer
from twinward.audit.models import AuditRow, RowState
from twinward.core.vocabulary import TwinId
from twinward_ledger.errors import LedgerError
from twinward_ledger.formats.leaf import MINUTE_MS, Leaf, LeafKind
from twinward_ledger.log.store import Entry
from twinward_ledger.proofs.bundle import Opening


def row_of(sealer: EventSealer, origin: str, index: int, entry: Entry) -> AuditRow:
    """An entry of the log as an officer sees it. For those who hold a permit to read it."""
    try:
        return _read(origin, index, entry, *sealer.open(index, entry))
    except (LedgerError, LogTampered, EventNotLoggable):
        return AuditRow(index, LeafKind.NODE, 0, RowState.DAMAGED, None, None)


def rows_of(sealer: EventSealer, origin: str, numbered: Sequence[tuple[int, Entry]]) -> list[AuditRow]:
    """``row_of`` for many at one moment: each patient's key is unwrapped once."""
    try:
        opened = list(sealer.open_all(numbered))
        return [_read(origin, *one, *found) for one, found in zip(numbered, opened, strict=True)]
    except (LedgerError, LogTampered, EventNotLoggable):  # one of them is damaged: each is looked at by itself
        return [row_of(sealer, origin, index, entry) for index, entry in numbered]


def _read(origin: str, index: int, entry: Entry, twin: TwinId | None, opening: Opening | None) -> AuditRow:
    leaf = Leaf.decode(entry.leaf)
    event = codec.decode(opening.event, origin) if opening else None
    state = RowState.OPEN if event else RowState.ERASED
    if leaf.kind is LeafKind.HEARTBEAT:
        state = RowState.HEARTBEAT
    return AuditRow(index, leaf.kind, leaf.minute * MINUTE_MS, state, twin, event, opening)
