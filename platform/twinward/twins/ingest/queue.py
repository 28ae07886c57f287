"""Imports that arrive at once share their durable steps: whose turn it is takes along all that wait."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from twinward.access.interfaces import AccessContext
from twinward.core.errors import Busy, Unavailable
from twinward.core.turns import Turn
from twinward.twins.ingest.ingestion import Ingestion
from twinward.twins.models import PatientImport, Receipt

MOST_AT_ONCE = 32
"""Imports in one step: nobody waits for more than these."""
MOST_BYTES_AT_ONCE = 16 << 20
"""Of their records, beyond the first import's: what is sealed for one step lies in memory together."""


@dataclass(eq=False, slots=True)
class _Ticket:
    """One import that waits, and what became of it."""

    context: AccessContext
    source: PatientImport
    outcome: Receipt | Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def written(self) -> frozenset[str]:
        """The names of the records that it brings."""
        return frozenset(one.reference for one in self.source.records)

    @property
    def size(self) -> int:
        """Bytes of the records that it brings."""
        return sum(len(one.content) for one in self.source.records)


class IngestQueue:
    """The queue in front of ``Ingestion``, one for all threads. Between processes, ``writing`` is the only order.

    Args:
        writing: held by whoever takes imports in.
        ingestion: takes them in.
    """

    def __init__(self, writing: Turn, ingestion: Ingestion) -> None:
        self._writing = writing
        self._ingestion = ingestion
        self._waiting: list[_Ticket] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self, context: AccessContext, source: PatientImport) -> Receipt:
        """Take one import in, together with those that wait. Raises as ``Ingestion.take``; ``Busy`` as ``Turn``.

        Whoever looked within ``writing`` takes its own alone: nothing is to change between its look and its write.
        """
        if self._writing.is_mine:
            return self._ingestion.take(context, source)
        (outcome,) = self.take_each([(context, source)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def take_each(self, asked: Sequence[tuple[AccessContext, PatientImport]]) -> list[Receipt | Exception]:
        """Take several in, which have nothing to do with each other: what ``take`` gives or raises for each."""
        tickets = [_Ticket(*one) for one in asked]
        with self._lock:
            self._waiting += tickets
        try:
            with self._writing:
                while any(ticket.outcome is None for ticket in tickets):
                    self._take_some()
        except Busy as busy:
            for ticket in tickets:
                if self._withdrawn(ticket):
                    ticket.outcome = busy
                else:
                    ticket.done.wait()  # somebody has taken it along already
        return [ticket.outcome or _interrupted() for ticket in tickets]

    def _withdrawn(self, ticket: _Ticket) -> bool:
        """Take back what nobody has taken along yet; whether that was so."""
        with self._lock:
            waits = ticket in self._waiting
            self._waiting = [one for one in self._waiting if one is not ticket]
            return waits

    def _take_some(self) -> None:
        """Take in those that wait longest, without those that write what one before them brings or needs."""
        some: list[_Ticket] = []
        written: set[str] = set()
        patients: set[str] = set()
        size = 0
        with self._lock:
            for ticket in self._waiting:
                if len(some) == MOST_AT_ONCE or (some and size + ticket.size > MOST_BYTES_AT_ONCE):
                    break
                patient, brings = ticket.source.reference, ticket.written
                if brings.isdisjoint(written | patients) and patient not in written:
                    size += ticket.size
                    some.append(ticket)
                written |= brings  # also of who is passed over: nobody overtakes whom it would have waited for
                patients.add(patient)
            self._waiting = [ticket for ticket in self._waiting if ticket not in some]
        try:
            outcomes = self._ingestion.take_each([(ticket.context, ticket.source) for ticket in some])
            for ticket, outcome in zip(some, outcomes, strict=True):
                ticket.outcome = outcome
        finally:
            for ticket in some:
                ticket.outcome = ticket.outcome or _interrupted()
                ticket.done.set()


def _interrupted() -> Unavailable:
    return Unavailable("the import was interrupted", hint="it may have been taken in: look, or send it again")
