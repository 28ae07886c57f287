"""Rewrapping many keys at a key service on the network: calls side by side, since each waits for an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from twinward_crypto.keys import WrappedKey

CALLS_AT_ONCE = 8


def side_by_side(rewrap: Callable[[WrappedKey], bytes], keys: Sequence[WrappedKey]) -> list[bytes]:
    """``rewrap`` of each, in order. The first failure is raised once what was in flight has ended."""
    if len(keys) < 2:
        return [rewrap(key) for key in keys]
    with ThreadPoolExecutor(min(CALLS_AT_ONCE, len(keys)), thread_name_prefix="twinward-rewrap") as pool:
        return list(pool.map(rewrap, keys))
