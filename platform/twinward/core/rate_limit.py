"""So many in any stretch of time, for each of many keys: a moving window that is exact, bounded and on a given clock.

In memory: a restart forgives, and each process counts for itself. Why not the library ``limits``: ADR 40.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque

from twinward.core.clock import Clock

MOST_TRACKED = 10_000
"""Keys that are remembered; of more, the least lately seen are forgotten, so that no stranger fills the memory."""


class MovingWindow:
    """At most ``most`` in any ``window_ms`` for each key.

    Args:
        clock: the node's time. One that is set back lets nobody wait longer than a window.
        most: at least 1.
        window_ms: milliseconds, at least 1.
    """

    def __init__(self, clock: Clock, most: int, window_ms: int) -> None:
        if most < 1 or window_ms < 1:
            raise ValueError("a rate limit lets at least one through, in at least a millisecond")
        self.most, self._clock, self._window_ms = most, clock, window_ms
        self._lock = threading.Lock()
        self._admitted: OrderedDict[str, deque[int]] = OrderedDict()

    def admit(self, key: str) -> int:
        """Count one more and return 0; or, where there were too many, count nothing and return the ms to wait."""
        with self._lock:
            now_ms = self._clock.now_ms()
            recent = self._admitted.setdefault(key, deque())
            self._admitted.move_to_end(key)
            while recent and not 0 <= now_ms - recent[0] < self._window_ms:
                recent.popleft()
            if len(recent) >= self.most:
                return self._window_ms - (now_ms - recent[0])
            recent.append(now_ms)
            if len(self._admitted) > MOST_TRACKED:
                self._admitted.popitem(last=False)
            return 0

    def take_back(self, key: str) -> None:
        """Uncount the newest: it was a good one."""
        with self._lock:
            if recent := self._admitted.get(key):
                recent.pop()


def network_of(address: str) -> str:
    """What an address is counted as: an IPv4 address itself, however it is written; an IPv6 address's /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
