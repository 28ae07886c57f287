"""A lock that the processes of one home share: a file that says nothing, freed with its holder, also by kill -9."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_AGAIN_S = 0.002


@contextmanager
def process_lock(path: Path, *, wait: bool, within_s: float | None = None) -> Iterator[bool]:
    """Hold the lock, if it can be had: yields whether it is held.

    Args:
        path: the lock's file, in a folder that only the node writes.
        wait: for as long as another process holds it; else that is an answer, too.
        within_s: for how long it is waited for at most; None for as long as it takes.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield False
        return
    try:
        if not (_taken_within(handle, within_s) if wait and within_s is not None else _taken(handle, wait=wait)):
            yield False
            return
        try:
            yield True
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)  # a child that was forked meanwhile must not go on holding it
    finally:
        os.close(handle)


def _taken(handle: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _taken_within(handle: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s  # flock(2) itself knows no end of waiting
    while not _taken(handle, wait=False):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True
