"""Work of several threads done together: whoever comes while others are at it waits, and is then done with all others.

A commit that costs milliseconds is shared by all who wait for it (group commit: DeWitt and others, "Implementation
techniques for main memory database systems", 1984). Who is alone waits for nobody; where several came together, the
next ones are waited for, for some milliseconds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

_WAIT_S: Final = 0.002
_MOST_WAITS: Final = 5
J = TypeVar("J")


class _Place(Generic[J]):
    """A job in the line; ``told`` once it was done, or once it is its thread's turn to do what waits."""

    def __init__(self, job: J) -> None:
        self.job = job
        self.is_done = False
        self.told = threading.Event()


class Together(Generic[J]):
    """Does jobs, many at once where many wait.

    Args:
        do: does some, in order of arrival; each job knows how it ended. What it raises, whoever does them gets, and the
            others' jobs are done anew.
        most: at once.
        gathers: whether the next ones are waited for; not where each job takes longer than its commit.
    """

    def __init__(self, do: Callable[[Sequence[J]], None], most: int, *, gathers: bool = True) -> None:
        self._do = do
        self._most = most
        self._waits = _MOST_WAITS if gathers else 0
        self._lock = threading.Lock()
        self._waiting: deque[_Place[J]] = deque()
        self._is_led = False
        self._last = 1

    def done(self, job: J) -> None:
        """Return once a job was done, by this thread or another."""
        mine = _Place(job)
        with self._lock:
            self._waiting.append(mine)
            leads, self._is_led = not self._is_led, True
        if not leads:
            mine.told.wait()
        if not mine.is_done:
            try:
                self._gather()
                while not mine.is_done:
                    self._do_some(mine)
            finally:
                self._hand_on()

    def _do_some(self, mine: _Place[J]) -> None:
        with self._lock:
            some = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            self._do([one.job for one in some])
        except BaseException:
            with self._lock:
                self._waiting.extendleft(one for one in reversed(some) if one is not mine)
            raise
        for one in some:
            one.is_done = True
            one.told.set()

    def _hand_on(self) -> None:
        """Whoever waits longest does what waits next."""
        with self._lock:
            self._is_led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].told.set()

    def _gather(self) -> None:
        """Wait a moment for as many as came together the last time: they have only just been told how that ended."""
        for _ in range(self._waits):
            if len(self._waiting) >= self._last:
                break
            time.sleep(_WAIT_S)
        self._last = min(len(self._waiting), self._most)
