"""Unwrapped keys, for a while: emptied by every shredding, whichever process it comes from."""

from __future__ import annotations

import threading
from collections.abc import Callable

from twinward.core.clock import Clock
from twinward.core.vocabulary import TwinId
from twinward.vault.keys.twin_keys import TwinKeys

CACHE_TTL_MS = 60_000
"""How long an unwrapped key stays in this process. A shredding in another process empties the cache long before."""
CACHE_TWINS = 4_096
CHECK_EVERY_MS = 250
"""How often this process looks whether another one has shredded something: a shredding waits so long before it says
that it is done."""


class KeyCache:
    """Twins' keys that were unwrapped lately. Safe to share between threads.

    Args:
        clock: for how long keys stay, and for when to look.
        newest: the number of the newest shredding, read from the keyring's database.
        seen: that number when the keyring was opened.
    """

    def __init__(self, clock: Clock, newest: Callable[[], int], seen: int) -> None:
        self._clock = clock
        self._newest = newest
        self._seen, self._look_at_ms = seen, 0
        self._lock = threading.Lock()
        self._keys: dict[TwinId, tuple[int, TwinKeys]] = {}
        self._emptied = 0

    @property
    def emptied(self) -> int:
        """How often the cache was emptied: taken before a key is read, and given to ``put`` with it."""
        return self._emptied

    def get(self, twin: TwinId) -> TwinKeys | None:
        """A twin's keys, unless they are too old, or something was shredded since. Raises ``VaultUnavailable``."""
        self._look_for_shreds()
        with self._lock:
            entry = self._keys.get(twin)
            if entry is not None and entry[0] > self._clock.now_ms():
                return entry[1]
            self._keys.pop(twin, None)
        return None

    def put(self, twin: TwinId, keys: TwinKeys, emptied: int) -> None:
        """Keep a twin's keys that were read when ``emptied`` was this."""
        with self._lock:
            if emptied != self._emptied:
                return  # a shredding came between reading the row and now: it may have been this twin's
            while len(self._keys) >= CACHE_TWINS:
                del self._keys[next(iter(self._keys))]
            self._keys[twin] = (self._clock.now_ms() + CACHE_TTL_MS, keys)

    def empty(self) -> None:
        """Forget every key, and those that are being read at this moment."""
        with self._lock:
            self._empty()

    def _look_for_shreds(self) -> None:
        """Empty the cache where another process has shredded something."""
        now = self._clock.now_ms()
        if now < self._look_at_ms:
            return
        newest = self._newest()
        with self._lock:
            self._look_at_ms = now + CHECK_EVERY_MS
            if newest != self._seen:
                self._seen = newest
                self._empty()

    def _empty(self) -> None:
        self._emptied += 1
        self._keys.clear()
