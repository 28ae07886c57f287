"""Leaving a key service alone that has just not answered.

A call to a service that hangs takes until its time-out. Without this, every request of a node would wait that long, one
after the other or all at once; with it, only the first does, and the others are told at once.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from twinward_crypto.errors import ProviderLocked

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0


class Breather:
    """How long a service is not asked: longer each time it did not answer, not at all once it did.

    Args:
        what: the service, as a message names it.
        monotonic: seconds that never go back.
    """

    def __init__(self, what: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._now = monotonic
        self._lock = threading.Lock()
        self._pause_s = 0.0
        self._until = -math.inf

    def require_rested(self) -> None:
        """Raise ``ProviderLocked`` while the service is left alone."""
        with self._lock:
            left_s = self._until - self._now()
        if left_s > 0:
            raise ProviderLocked(
                f"{self._what} did not answer just now; it is asked again in {math.ceil(left_s)} s",
                hint="see that it runs, and that the network reaches it",
            )

    def failed(self) -> None:
        """It did not answer."""
        with self._lock:
            self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            self._until = self._now() + self._pause_s

    def answered(self) -> None:
        """It answered, if only to refuse."""
        with self._lock:
            self._pause_s, self._until = 0.0, -math.inf
