"""The index of events: filled from the log, the newest first, and brought up to date whenever it is asked.

It holds events' facts in this process's memory and nowhere else: what a shred makes unreadable on disk must not stand
in another file. After a start the newest events are there at once, the older follow in the background; ``start`` says
how far. It answers with indices, and whoever shows an event reads it from the log.

Invariants:

* Of an event that was erased, time and patient are kept, as the log itself keeps them.
* An entry that is not what its leaf commits to is kept as damaged; it fits every query.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from twinward.audit.errors import LogTampered, ledger_translated
from twinward.audit.event_index.columns import DAMAGED, ERASED, HIDDEN, NOBODY, OPEN, QUIET, Columns, Row
from twinward.audit.event_index.facts import facts_of
from twinward.audit.event_index.selection import select, select_part
from twinward.audit.event_index.strings import Strings
from twinward.audit.queries import AccessQuery
from twinward.core.late_module import LateModule
from twinward.core.vocabulary import TwinId
from twinward_ledger.errors import LedgerError
from twinward_ledger.formats.leaf import MINUTE_MS, Leaf, LeafKind

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from twinward.audit.events.sealer import EventSealer
    from twinward_ledger.log.log import Log
    from twinward_ledger.log.store import Entry
    from twinward_ledger.proofs.bundle import Opening
else:
    np = LateModule("numpy")

AT_ONCE: Final = 20_000
"""Events that a query itself takes in, the newest, before it answers: below a second."""

_CHUNK: Final = 512


@dataclass(frozen=True, slots=True)
class Filled:
    """The index as it was at one moment: rows ``start`` to ``stop`` of the columns, and the texts they name."""

    columns: Columns
    strings: Strings
    start: int
    stop: int
    units: tuple[str, ...] = ()
    """Those that occur, sorted."""

    def select(self, query: AccessQuery, *, below: int | None = None) -> NDArray[np.intp]:
        """Indices of the events that fit, in the query's order, of those below an index."""
        return select(self.columns, self.strings, self.start, self._end(below), query)

    def part(
        self, query: AccessQuery, first: int, count: int, *, below: int | None = None
    ) -> tuple[int, NDArray[np.intp]]:
        """How many fit, and of ``select``'s indices ``count`` from place ``first`` on."""
        return select_part(self.columns, self.strings, self.start, self._end(below), query, first, count)

    def newest(self, count: int) -> NDArray[np.intp]:
        """Indices of the newest open events of any kind, oldest first, ``count`` at most."""
        found = np.zeros(0, dtype=np.intp)
        width = 2 * count
        while True:
            low = max(self.start, self.stop - width)
            found = np.flatnonzero(self.columns["state"][low : self.stop] == OPEN) + low
            if len(found) >= count or low == self.start:
                return found[-count:]
            width *= 4

    def _end(self, below: int | None) -> int:
        return self.stop if below is None else max(self.start, min(below, self.stop))


class EventIndex:
    """The index of one log. Safe to share between threads.

    Args:
        log: which is followed.
        sealer: opens its events.
    """

    def __init__(self, log: Log, sealer: EventSealer) -> None:
        self._log = log
        self._sealer = sealer
        self._lock = threading.Lock()
        self._columns = Columns()
        self._strings = Strings()
        self._start: int | None = None
        self._stop = 0
        self._shredding: set[TwinId] = set()
        """Twins whose key may have gone since events about them were taken in."""
        self._units: set[int] = set()
        """The codes of units that occur."""
        self._gone: set[TwinId] = set()
        self._unfiled: list[int] = []
        """Attempts on somebody who was shredded by then: sealed under the hospital's own key, they stay."""

    def filled(self, *, at_once: int | None = None) -> Filled:
        """The index, with all that is new in the log, and the newest ``at_once`` events at least (None: ``AT_ONCE``).

        Raises:
            Unavailable: the log or the key service does not answer.
            LogTampered: entries are missing.
        """
        with self._lock:
            self._follow(AT_ONCE if at_once is None else at_once)
            units = tuple(sorted(text for code in self._units if (text := self._strings.texts[code])))
            return Filled(self._columns.snapshot(), self._strings, self._start or 0, self._stop, units)

    def deepen(self, *, down_to: int = 0, going_on: Callable[[], bool] = lambda: True) -> bool:
        """Take in older events, down to an index; whether all of them are. Others may ask meanwhile.

        Raises as ``filled``.
        """
        while going_on():
            with self._lock:
                self._follow(_CHUNK)
                if self._start is None or self._start <= down_to:
                    return True
                stop = self._start
                start = max(down_to, stop - _CHUNK)
                self._take_in(start, stop)
                self._start = start
        return False

    def _follow(self, at_once: int) -> None:
        """Take in what is new, and of the old the newest so many."""
        with ledger_translated():
            size = self._log.store.size()
        if self._start is None:
            self._stop = self._start = size
            self._columns.reserve(size)
        oldest = max(0, self._stop - at_once)
        while self._start > oldest:
            start = max(oldest, self._start - _CHUNK)
            self._take_in(start, self._start)
            self._start = start
        while self._stop < size:
            stop = min(size, self._stop + _CHUNK)
            self._take_in(self._stop, stop)
            self._stop = stop
        self._forget_shredded()

    def _take_in(self, start: int, stop: int) -> None:
        with ledger_translated():
            entries = self._log.store.entries(start, stop)
        self._columns.put(start, [self._row(start + place, entry) for place, entry in enumerate(entries)])

    def _row(self, index: int, entry: Entry) -> Row:
        try:
            leaf = Leaf.decode(entry.leaf)
            if leaf.kind is LeafKind.COMPLETENESS:
                return _without_event(HIDDEN, leaf.minute * MINUTE_MS)
            if leaf.kind is LeafKind.HEARTBEAT:
                return _without_event(QUIET, leaf.minute * MINUTE_MS)
            twin, opening = self._sealer.open(index, entry)
            if opening is None:
                if twin is None:
                    return _without_event(ERASED, leaf.minute * MINUTE_MS)
                self._shredding.add(twin)
                return _without_event(ERASED, leaf.minute * MINUTE_MS, self._strings.code(twin))
            return self._event_row(index, twin, opening)
        except (LedgerError, LogTampered, msgspec.MsgspecError, KeyError, IndexError):
            return _without_event(DAMAGED, 0)

    def _event_row(self, index: int, filed_under: TwinId | None, opening: Opening) -> Row:
        event, text = facts_of(opening.event), self._strings.code
        self._units.add(text(event.unit))
        if event.twin is not None and filed_under is None:
            self._unfiled.append(index)
        if event.is_shred and event.twin is not None:
            self._shredding.add(TwinId(event.twin))
        return (
            OPEN,
            event.at_ms,
            text(event.agent),
            event.role,
            text(event.unit),
            event.action,
            event.purpose,
            NOBODY if event.twin is None else text(event.twin),
            event.categories,
            event.permitted,
            text(event.reason),
            text("\t".join(f"{name} {value}" for name, value in event.details.items())),
        )

    def _forget_shredded(self) -> None:
        """Of twins whose key is gone since their events were taken in, what was known of those."""
        self._shredding -= self._gone
        gone = {twin for twin in self._shredding if not self._sealer.has_key(twin)}
        self._gone |= gone
        codes = [code for code in map(self._strings.known, gone) if code is not None]
        if not codes:
            return
        start = self._start or 0
        found = np.isin(self._columns["twin"][start : self._stop], codes)
        rows = np.setdiff1d(np.flatnonzero(found) + start, self._unfiled)
        if len(rows):
            self._columns.forget(rows)
            self._strings = self._columns.compacted(self._strings)
            units = self._columns["unit"][start : self._stop]
            self._units = set(np.unique(units[units != NOBODY]).tolist())


def _without_event(state: int, at_ms: int, twin: int = NOBODY) -> Row:
    return (state, at_ms, NOBODY, 0, NOBODY, 0, 0, twin, 0, False, NOBODY, NOBODY)
