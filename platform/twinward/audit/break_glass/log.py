"""Break-glass events read back off the log and its journal: for the node's own register of emergencies, for no face.

Starts, stops, declarations, reviews and allowances are all events of the action ``break-glass``, found by its tag. The
log is the one place where they are: what every process knows of emergencies it has from here.
"""

from __future__ import annotations

from twinward.audit.action_log import ActionLog
from twinward.audit.break_glass.journal import BreakGlassJournal
from twinward.audit.errors import LogNotWritten
from twinward.audit.events.sealer import EventSealer
from twinward.audit.models import Noted
from twinward.core.vocabulary import Action
from twinward_ledger.log.log import Log


class BreakGlassLog:
    """Implements ``BreakGlassTrail``.

    Args:
        log: the log.
        sealer: opens its events.
        journal: where emergencies wait while the log cannot be written; None where there is none.
    """

    def __init__(self, log: Log, sealer: EventSealer, journal: BreakGlassJournal | None) -> None:
        self._events = ActionLog(log, sealer, Action.BREAK_GLASS)
        self._sealer = sealer
        self._journal = journal
        self._waiting: dict[bytes, Noted | None] = {}

    def size(self) -> int:
        """How many entries the log has. Raises ``Unavailable``."""
        return self._events.size()

    def between(self, start: int, stop: int) -> list[Noted]:
        """As of ``ActionLog``."""
        return self._events.between(start, stop)

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
            entry.leaf: known[entry.leaf] if entry.leaf in known else self._events.noted(None, entry)
            for entry in entries
        }
        return [one for one in self._waiting.values() if one is not None and one.event.action is Action.BREAK_GLASS]

    def salt(self, leaf_hash: bytes) -> bytes:
        """16 bytes that only this hospital can compute: without them nobody can tell what a commitment is to."""
        return self._sealer.tag("break-glass-commitment", leaf_hash.hex())
