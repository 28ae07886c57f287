"""Taking turns: what looks first and then writes does both in one turn, among threads and among processes.

The processes of one home share a file lock, which its holder's end frees, also by kill -9. A turn may be taken within
itself by the same thread.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from twinward.access.process_lock import process_lock
from twinward.core.errors import Busy

WAIT_S = 30.0


class Turn:
    """One turn at a time; a context manager.

    Args:
        path: the lock's file, in a folder that only the node writes; None where no other process writes.
        wait_s: for how long others are waited for.
    """

    def __init__(self, path: Path | None = None, *, wait_s: float = WAIT_S) -> None:
        self._path = path
        self._wait_s = wait_s
        self._mutex = threading.RLock()
        self._depth = 0
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
        except BaseException:
            self._mutex.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it."""
        self._depth -= 1
        if self._depth == 0:
            self._held.close()
        self._mutex.release()

    def _lock(self) -> None:
        if self._path is None:
            return
        if not self._held.enter_context(process_lock(self._path, wait=True, within_s=self._wait_s)):
            self._held.close()
            raise _busy()


def _busy() -> Busy:
    return Busy("other writes are under way and took too long", hint="try again later")
