"""A brake on how fast one vendor may ask, so that an answer's price is not the only thing that slows an attack."""

from __future__ import annotations

import threading
from collections import deque

from twinward.core.clock import Clock
from twinward.core.errors import BadInput
from twinward.similarity.errors import TooFast

WINDOW_MS = 60_000


class RateLimit:
    """So many requests in any minute for each vendor. In memory: a restart forgives, the budget does not.

    Args:
        clock: the node's time.
        per_minute: at least 1.
    """

    def __init__(self, clock: Clock, per_minute: int) -> None:
        if per_minute < 1:
            raise BadInput("a rate limit lets at least one request a minute through")
        self._clock, self._per_minute = clock, per_minute
        self._lock = threading.Lock()
        self._seen: dict[str, deque[int]] = {}

    def admit(self, vendor: str) -> None:
        """Count a request. Raises ``TooFast``, which says when to come back; a refused request is not counted."""
        now_ms = self._clock.now_ms()
        with self._lock:
            seen = self._seen.setdefault(vendor, deque())
            while seen and now_ms - seen[0] >= WINDOW_MS:
                seen.popleft()
            if len(seen) >= self._per_minute:
                raise TooFast(self._per_minute, wait_s=-(-(WINDOW_MS - (now_ms - seen[0])) // 1000))
            seen.append(now_ms)
