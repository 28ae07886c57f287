"""How fast one vendor may ask, and when an answer leaves: bounds of time, beside those of the budget.

How long an answer takes depends, by milliseconds, on rows that are not told: on how many were decided on and refused.
So answers and refusals leave at whole steps of time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twinward.core.clock import Clock
from twinward.core.errors import BadInput
from twinward.core.rate_limit import MovingWindow
from twinward.similarity.errors import TooFast

WINDOW_MS = 60_000


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
