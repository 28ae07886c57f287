"""One look at a store for all that is asked of it together.

Who stands, what is consented and which policy holds is asked of its database each time, which takes longer than most of
what is done with the answer. What was all asked for before the look may share it: for each question the look comes
after the question, and before its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_local: Final = threading.local()


@contextmanager
def one_look() -> Iterator[None]:
    """Within this, this thread looks at each store when it first asks it, and takes that for what follows.

    For a few milliseconds, since what another process takes away meanwhile is not seen. It does not outlast a wait for
    the log: see ``look_anew``.
    """
    outer = getattr(_local, "seen", None)
    _local.seen = set()
    try:
        yield
    finally:
        _local.seen = outer


def look_anew() -> None:
    """Forget what this thread looked at: it has waited, and much may have happened."""
    seen = getattr(_local, "seen", None)
    if seen is not None:
        seen.clear()


def has_looked(store: object) -> bool:
    """Whether this thread has looked at a store within the present look."""
    seen = getattr(_local, "seen", None)
    return seen is not None and id(store) in seen


def looked(store: object) -> None:
    """Note that this thread looked at a store just now."""
    seen = getattr(_local, "seen", None)
    if seen is not None:
        seen.add(id(store))
