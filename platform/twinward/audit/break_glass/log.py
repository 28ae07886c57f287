"""Break-glass events read back off the log and its journal: for the node's own register of emergencies, for no face.

Starts, stops, declarations, reviews and allowances are all events of the action ``break-glass``, found by its tag. The
log is the one place where they are: what every process knows of emergencies it has from here.
"""

from __future__ import annotations

from twinward.audit.break_glass.journal import BreakGlassJournal
from twinward.audit.errors import EventNotLoggable, LogNotWritten, LogTampered, ledger_translated
from twinward.audit.events import codec
from twinward.audit.events.sealer import EventSealer
from twinward.audit.models import Noted
from twinward.core.vocabulary import Action
from twinward_ledger import merkle
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry

_PAGE = 500


class BreakGlassLog:
    """Implements ``BreakGlassTrail``.

    Args:
        log: the log.
        sealer: opens its events.
        journal: where emergencies wait while the log cannot be written; None where there is none.
    """

    def __init__(self, log: Log, sealer: EventSealer, journal: BreakGlassJournal | None) -> None:
        self._log = log
        self._sealer = sealer
        self._journal = journal
        self._waiting: dict[bytes, Noted | None] = {}

    def size(self) -> int:
        """How many entries the log has. Raises ``Unavailable``."""
        with ledger_translated():
            return self._log.store.size()

    def between(self, start: int, stop: int) -> list[Noted]:
        """The break-glass events of ``start <= index < stop``, oldest first; an erased or damaged one is left out.

        Raises:
            Unavailable, LogTampered: the log does not answer, or is not what was signed.
        """
        tag = self._sealer.tag("action", Action.BREAK_GLASS.value)
        found: list[int] = []
        with ledger_translated():
            store = self._log.store
            while page := [index for index in store.find(tag, before=stop, limit=_PAGE) if index >= start]:
                found += page
                stop = page[-1]
            entries = [(index, store.entry(index)) for index in reversed(found)]
        noted = (self._noted(index, entry) for index, entry in entries)
        return [one for one in noted if one is not None]

    def waiting(self) -> list[Noted]:
        """Those that wait in the break-glass journal for the log, oldest first; none where it cannot be read."""
        if self._journal is None:
            return []
        try:
            entries = self._journal.entries()
        except LogNotWritten:
            return []
        known = self._waiting
        self._waiting = {
            entry.leaf: known[entry.leaf] if entry.leaf in known else self._noted(None, entry) for entry in entries
        }
        return [one for one in self._waiting.values() if one is not None and one.event.action is Action.BREAK_GLASS]

    def salt(self, leaf_hash: bytes) -> bytes:
        """16 bytes that only this hospital can compute: without them nobody can tell what a commitment is to."""
        return self._sealer.tag("break-glass-commitment", leaf_hash.hex())

    def _noted(self, index: int | None, entry: Entry) -> Noted | None:
        try:
            _, opening = self._sealer.open(-1 if index is None else index, entry)
            if opening is None:
                return None
            event = codec.decode(opening.event, self._log.origin)
        except (LogTampered, EventNotLoggable):
            return None  # `twinward audit verify` names it; care goes on
        return Noted(index, merkle.leaf_hash(entry.leaf), event)
