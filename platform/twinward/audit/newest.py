"""Whether the newest entries of the log are what their leaves commit to: asked with every look at Home."""

from __future__ import annotations

import threading

from twinward.audit.errors import ledger_translated
from twinward.audit.events.sealer import EventSealer
from twinward.audit.models import RowState
from twinward.audit.rows import row_of
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry


class NewestEntries:
    """The newest entries of one log. Each is opened once, and again when a byte of it is not what it was.

    What an entry opens to follows from its bytes, so bytes that are read from the store each time, and are the same,
    need no key again. Says nothing of what entries hold. Safe to share between threads.
    """

    def __init__(self, log: Log, sealer: EventSealer) -> None:
        self._log = log
        self._sealer = sealer
        self._lock = threading.Lock()
        self._sound: dict[int, Entry] = {}

    def damaged(self, count: int) -> list[int]:
        """Which of the newest ``count`` entries contradict their leaves.

        Raises:
            LogTampered: one is missing.
            Unavailable: the log or the key service does not answer.
        """
        store = self._log.store
        with ledger_translated():
            size = store.size()
            first = max(0, size - count)
            entries = store.entries(first, size)
        with self._lock:
            known = self._sound
        sound = {
            index: entry
            for index, entry in enumerate(entries, first)
            if known.get(index) == entry
            or row_of(self._sealer, self._log.origin, index, entry).state is not RowState.DAMAGED
        }
        with self._lock:
            self._sound = sound
        return [index for index in range(first, first + len(entries)) if index not in sound]
