"""Which twins were written to, read off the log: for the node's own event streams. No event is opened.

An entry says that a write was *permitted*; the write itself follows, or does not. Whoever follows the log looks at the
twin for a little while after.
"""

from __future__ import annotations

from collections.abc import Iterator

from twinward.audit.events.sealer import EventSealer
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Action, TwinId
from twinward_crypto.errors import OpenError
from twinward_ledger.errors import LedgerError
from twinward_ledger.formats.leaf import MINUTE_MS, Leaf
from twinward_ledger.log.log import Log


class WriteIndex:
    """Where in the log writes stand, and to which twin."""

    def __init__(self, log: Log, sealer: EventSealer) -> None:
        self._log = log
        self._sealer = sealer

    def size(self) -> int:
        """How many entries the log has. Raises ``Unavailable``."""
        try:
            return self._log.store.size()
        except LedgerError as error:
            raise Unavailable(f"the access log does not answer: {error}") from error

    def between(self, start: int, stop: int) -> Iterator[tuple[int, TwinId, int]]:
        """Index, twin and minute (in ms) of each permitted write from ``start`` to before ``stop``.

        Raises:
            Unavailable: the log does not answer.
        """
        written = self._sealer.tag("action", Action.WRITE.value)
        allowed = self._sealer.tag("decision", "permit")
        for index in range(start, stop):
            try:
                entry = self._log.store.entry(index)
                if written not in entry.tags or allowed not in entry.tags or not entry.body:
                    continue
                minute_ms = Leaf.decode(entry.leaf).minute * MINUTE_MS
                twin = self._sealer.subject(entry)
            except OpenError:
                continue  # `twinward audit verify` names it; following goes on
            except LedgerError as error:
                raise Unavailable(f"the access log does not answer: {error}") from error
            if twin is not None:
                yield index, twin, minute_ms
