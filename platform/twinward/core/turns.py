"""Taking turns: what looks first and then writes does both in one turn, among threads and among processes.

The processes of one home share a lock: a file that says nothing, freed with its holder, also by kill -9.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from twinward.core.errors import Busy

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


WAIT_S = 30.0


class Turn:
    """One turn at a time; a context manager. A thread may take it again within itself.

    Args:
        path: the lock's file, in a folder that only the node writes; None where no other process writes.
        wait_s: for how long others are waited for.
    """

    def __init__(self, path: Path | None = None, *, wait_s: float = WAIT_S) -> None:
        self._path = path
        self._wait_s = wait_s
        self._mutex = threading.RLock()
        self._depth = 0
        self._owner: int | None = None
        self._held = ExitStack()

    def __enter__(self) -> Turn:
        """Begin it.

        Raises:
            Busy: others took longer than that, or the file cannot be locked; nothing was done.
        """
        if not self._mutex.acquire(timeout=self._wait_s):
            raise _busy()
        try:
            if self._depth == 0:
                self._lock()
            self._depth += 1
            self._owner = threading.get_ident()
        except BaseException:
            self._mutex.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it."""
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._held.close()
        self._mutex.release()

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds it."""
        return self._owner == threading.get_ident()

    def _lock(self) -> None:
        if self._path is None:
            return
        if not self._held.enter_context(process_lock(self._path, wait=True, within_s=self._wait_s)):
            self._held.close()
            raise _busy()


def _busy() -> Busy:
    return Busy("other writes are under way and took too long", hint="try again later")
