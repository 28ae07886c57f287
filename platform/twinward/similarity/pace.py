"""When an answer leaves: at whole steps of time after it was asked for, so that its moment says little of its making.

How long an answer takes depends, by milliseconds, on rows that are not told: on how many were decided on and refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
