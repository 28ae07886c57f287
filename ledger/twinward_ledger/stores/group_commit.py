"""Concurrent appends share one durable step: whoever holds the write lock commits all that queued up meanwhile.

Where a disk's flush takes long, many queue up by themselves. Where it is quick, nearly each append had a transaction of
its own, which costs more than what is written in it. So whoever is about to write gives way to other threads first, as
long as each time more of them have come: who is alone gives way once, for a microsecond.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.log.store import Entry, check_entry

DurableWrite = Callable[[Sequence[Sequence[Entry]]], list[range]]
"""Writes groups of entries in one transaction, durable on return; gives each group's indices."""

MOST_TURNS: Final = 8
"""How often others are given way at most: nobody waits for as long as they come."""


def _yield() -> None:
    time.sleep(0)  # without the interpreter's lock, so that whoever waits for that goes on


@dataclass(eq=False, slots=True)
class _Ticket:
    """One caller's entries on their way into a transaction, and what became of them."""

    entries: Sequence[Entry]
    indices: range | None = None
    failure: str = ""


class GroupCommit:
    """The queue in front of a log store's one writer. ``lock`` is held while it writes.

    Args:
        write: of the store.
        give_way: lets other threads run; returns soon.
    """

    def __init__(self, write: DurableWrite, give_way: Callable[[], None] = _yield) -> None:
        self.lock = threading.Lock()
        self._write = write
        self._give_way = give_way
        self._queue: list[_Ticket] = []
        self._queue_lock = threading.Lock()

    def append(self, entries: Sequence[Entry]) -> range:
        """Append all entries in one durable step, all or none. Raises ``MalformedLeaf``, ``LogUnavailable``."""
        for entry in entries:
            check_entry(entry)
        ticket = _Ticket(entries)
        with self._queue_lock:
            self._queue.append(ticket)
        with self.lock:
            if ticket.indices is None and not ticket.failure:  # nobody has taken it along: commit all that wait
                self._let_others_come()
                with self._queue_lock:
                    batch, self._queue = self._queue, []
                self._commit(batch)
        if ticket.indices is None:
            raise LogUnavailable(ticket.failure)
        return ticket.indices

    def waiting(self) -> int:
        """How many appends the next transaction would take."""
        return len(self._queue)

    def _let_others_come(self) -> None:
        seen = 0
        for _ in range(MOST_TURNS):
            if self.waiting() == seen:
                return
            seen = self.waiting()
            self._give_way()

    def _commit(self, batch: Sequence[_Ticket]) -> None:
        failure = "the append was interrupted"
        try:
            ranges = self._write([ticket.entries for ticket in batch])
            for ticket, indices in zip(batch, ranges, strict=True):
                ticket.indices = indices
        except LogUnavailable as error:
            failure = str(error)
        finally:
            for ticket in batch:
                if ticket.indices is None:
                    ticket.failure = failure
