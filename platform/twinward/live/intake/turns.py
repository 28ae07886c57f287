"""How many are served at once, and how long the others wait: what waits is bounded, and so is the memory it takes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from twinward.live.errors import IntakeBusy


class Turns:
    """Places that are taken and given back. Safe to share between threads.

    Args:
        most: at once.
        wait_s: how long one waits for a place; 0: not at all.
        what: is served, for who is told that there are too many.
        most_of_one: of the places, one account may have; None: all.
    """

    def __init__(self, most: int, wait_s: float, what: str, most_of_one: int | None = None) -> None:
        self._places = threading.BoundedSemaphore(most)
        self._most_of_one = most if most_of_one is None else most_of_one
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._wait_s = wait_s
        self._what = what

    @contextmanager
    def one(self, account: str = "") -> Iterator[None]:
        """A place, until this ends. Raises ``IntakeBusy``: all are taken, or as many by this account as it may have."""
        with self._share_of(account):
            if not self._taken():
                raise self._busy()
            try:
                yield
            finally:
                self._places.release()

    @contextmanager
    def _share_of(self, account: str) -> Iterator[None]:
        with self._lock:
            if self._held[account] >= self._most_of_one:
                raise self._busy()
            self._held[account] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[account] -= 1
                if not self._held[account]:
                    del self._held[account]

    def _taken(self) -> bool:
        return self._places.acquire(timeout=self._wait_s) if self._wait_s else self._places.acquire(blocking=False)

    def _busy(self) -> IntakeBusy:
        return IntakeBusy(f"too many {self._what} wait", hint="send again in a second; nothing of this one was taken")
