"""Python's cycle collector, out of the way while much is made that stays, or that has no cycle.

A served node loads 1,900 modules, nearly all of which stay: the collector walked over them a hundred times meanwhile,
for a fifth of the CPU until the first answer, and later over all of them in each full collection, while requests wait.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_rest() -> Iterator[None]:
    """Collect nothing within, or until ``back_at_work``. What has no reference is freed as always."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def back_at_work() -> None:
    """Collect again, but look no more at what is there by now: it stays until the process ends."""
    gc.freeze()
    gc.enable()
