"""The events of one action read back off the log: for a register that the node folds from them, for no face.

Some things are kept nowhere but in the log: emergencies, the cases of breaches. What every process knows of them it
has from here, found by the action's tag, and so all processes know the same.
"""

from __future__ import annotations

from twinward.audit.errors import EventNotLoggable, LogTampered, ledger_translated
from twinward.audit.events import codec
from twinward.audit.events.sealer import EventSealer
from twinward.audit.models import Noted
from twinward.core.vocabulary import Action
from twinward_ledger import merkle
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry

_PAGE = 500


class ActionLog:
    """Reads the events of one action.

    Args:
        log: the log.
        sealer: opens its events.
        action: which.
    """

    def __init__(self, log: Log, sealer: EventSealer, action: Action) -> None:
        self._log = log
        self._sealer = sealer
        self._action = action

    def size(self) -> int:
        """How many entries the log has. Raises ``Unavailable``."""
        with ledger_translated():
            return self._log.store.size()

    def between(self, start: int, stop: int) -> list[Noted]:
        """The events of ``start <= index < stop``, oldest first; an erased or damaged one is left out.

        Raises:
            Unavailable, LogTampered: the log does not answer, or is not what was signed.
        """
        tag = self._sealer.tag("action", self._action.value)
        found: list[int] = []
        with ledger_translated():
            store = self._log.store
            while start < stop:  # never more than there can be: who reads on page by page of the console asks for one
                page = store.find(tag, before=stop, limit=min(_PAGE, stop - start))
                found += [index for index in page if index >= start]
                stop = page[-1] if page else start
            entries = [(index, store.entry(index)) for index in reversed(found)]
        noted = (self.noted(index, entry) for index, entry in entries)
        return [one for one in noted if one is not None]

    def noted(self, index: int | None, entry: Entry) -> Noted | None:
        """One entry, opened; None where it was erased or is damaged: `twinward audit verify` names it."""
        try:
            _, opening = self._sealer.open(-1 if index is None else index, entry)
            if opening is None:
                return None
            event = codec.decode(opening.event, self._log.origin)
        except (LogTampered, EventNotLoggable):
            return None
        return Noted(index, merkle.leaf_hash(entry.leaf), event)
