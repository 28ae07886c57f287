"""How fast one vendor may ask, how many requests of a query wait, when an answer leaves: bounds beside the budget's.

How long an answer takes depends, by milliseconds, on rows that are not told: on how many were decided on and refused.
So answers and refusals leave at whole steps of time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from twinward.core.clock import Clock
from twinward.core.errors import BadInput, Conflict
from twinward.core.rate_limit import MovingWindow
from twinward.similarity.errors import TooFast

WINDOW_MS = 60_000
MOST_AT_ONCE = 8
"""Requests of one query that have or await their place."""


class RateLimit:
    """So many requests in any minute for each vendor. A restart forgives, the budget does not.

    Args:
        clock: the node's time.
        per_minute: at least 1.
    """

    def __init__(self, clock: Clock, per_minute: int) -> None:
        if per_minute < 1:
            raise BadInput("a rate limit lets at least one request a minute through")
        self._window = MovingWindow(clock, per_minute, WINDOW_MS)

    def admit(self, vendor: str) -> None:
        """Count a request. Raises ``TooFast``, which says when to come back; a refused request is not counted."""
        if wait_ms := self._window.admit(vendor):
            raise TooFast(self._window.most, wait_s=-(-wait_ms // 1000))


class Pace:
    """Answers and refusals leave at whole steps.

    Args:
        step_s: the step, seconds; 0 keeps no pace.
        now_s: a clock that never goes back.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        step_s: float = 0.0,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._step_s, self._now_s, self._sleep = step_s, now_s, sleep

    @contextmanager
    def keep(self) -> Iterator[None]:
        """What happens inside ends with the next step, also where it fails."""
        began_s = self._now_s()
        try:
            yield
        finally:
            if self._step_s > 0:
                self._sleep(self._step_s - (self._now_s() - began_s) % self._step_s)


@dataclass(slots=True)
class _Place:
    """``wanted`` is how many requests are at it or await it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    wanted: int = 0


class QueryQueue:
    """Requests of one query, one after the other: whoever comes later finds the answer there, once there is one."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: dict[tuple[str, str], _Place] = {}

    @contextmanager
    def alone(self, query: tuple[str, str]) -> Iterator[None]:
        """Inside, nobody else is at this query (a vendor and its query's id). Each that waits holds a server's thread.

        Raises:
            Conflict: too many wait already.
        """
        with self._guard:
            place = self._running.setdefault(query, _Place())
            if place.wanted >= MOST_AT_ONCE:
                raise Conflict(
                    "this query is being answered, and enough requests wait for it",
                    hint="wait for the answer; the same query sent again is not charged twice",
                )
            place.wanted += 1
        try:
            with place.lock:
                yield
        finally:
            with self._guard:
                place.wanted -= 1
                if not place.wanted:  # the last one: a lock that somebody waits for stays the one lock
                    del self._running[query]
