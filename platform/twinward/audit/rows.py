"""An entry of the log as one line of a page."""

from __future__ import annotations

from twinward.audit.errors import EventNotLoggable, LogTampered
from twinward.audit.events import codec
from twinward.audit.events.sealer import EventSealer
from twinward.audit.models import AuditRow, RowState
from twinward_ledger.errors import LedgerError
from twinward_ledger.formats.leaf import MINUTE_MS, Leaf, LeafKind
from twinward_ledger.log.store import Entry


def row_of(sealer: EventSealer, origin: str, index: int, entry: Entry) -> AuditRow:
    """An entry of the log as an officer sees it. For those who hold a permit to read it."""
    try:
        leaf = Leaf.decode(entry.leaf)
        twin, opening = sealer.open(index, entry)
        event = codec.decode(opening.event, origin) if opening else None
    except (LedgerError, LogTampered, EventNotLoggable):
        return AuditRow(index, LeafKind.NODE, 0, RowState.DAMAGED, None, None)
    state = RowState.OPEN if event else RowState.ERASED
    if leaf.kind is LeafKind.HEARTBEAT:
        state = RowState.HEARTBEAT
    return AuditRow(index, leaf.kind, leaf.minute * MINUTE_MS, state, twin, event, opening)
