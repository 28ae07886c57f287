"""Concurrent appends share one durable step: whoever holds the write lock commits all that queued up meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.log.store import Entry, check_entry

DurableWrite = Callable[[Sequence[Sequence[Entry]]], list[range]]
"""Writes groups of entries in one transaction, durable on return; gives each group's indices."""


@dataclass(eq=False, slots=True)
class _Ticket:
    """One caller's entries on their way into a transaction, and what became of them."""

    entries: Sequence[Entry]
    indices: range | None = None
    failure: str = ""


class GroupCommit:
    """The queue in front of a log store's one writer. ``lock`` is held while it writes."""

    def __init__(self, write: DurableWrite) -> None:
        self.lock = threading.Lock()
        self._write = write
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
                with self._queue_lock:
                    batch, self._queue = self._queue, []
                self._commit(batch)
        if ticket.indices is None:
            raise LogUnavailable(ticket.failure)
        return ticket.indices

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
