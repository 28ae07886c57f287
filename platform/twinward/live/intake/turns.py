"""How many are served at once, and how long the others wait: what waits is bounded, and so is the memory it takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from twinward.live.errors import IntakeBusy


class Turns:
    """Places that are taken and given back. Safe to share between threads.

    Args:
        most: at once.
        wait_s: how long one waits for a place; 0: not at all.
        what: is served, for who is told that there are too many.
    """

    def __init__(self, most: int, wait_s: float, what: str) -> None:
        self._places = threading.BoundedSemaphore(most)
        self._wait_s = wait_s
        self._what = what

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place, until this ends. Raises ``IntakeBusy``."""
        if not (self._places.acquire(timeout=self._wait_s) if self._wait_s else self._places.acquire(blocking=False)):
            raise IntakeBusy(
                f"too many {self._what} wait", hint="send again in a second; nothing of this one was taken"
            )
        try:
            yield
        finally:
            self._places.release()
