"""A bound on an exchange as a whole.

An HTTP library's time limit is for each read: a head, or a body of a declared length, that comes a byte at a time never
meets it. So the connections of a client are known here, and shut down when an exchange has had its time.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final
from weakref import WeakSet

_AGAIN_S: Final = 0.1
"""Until what was connected to after the time was over is shut down as well."""


class Connections:
    """The open connections of one client. Safe to share between threads."""

    def __init__(self) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()

    def note(self, made: object) -> None:
        """One more was opened. What is no socket, as TLS within a proxy's TLS, has the limit of each read only."""
        if isinstance(made, socket.socket):
            with self._lock:
                self._sockets.add(made)

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """``note`` as the request extension ``trace`` of httpx: https://www.encode.io/httpcore/extensions/#trace."""
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self.note(info["return_value"].get_extra_info("socket"))

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """The block has so long; then all connections are shut down, which ends whatever is read from them.

        What the block then sees is a connection that ended, maybe in a proper answer's place: it looks at the clock.
        """
        done = threading.Event()

        def watch() -> None:
            wait_s = seconds
            while not done.wait(wait_s):
                self._cut()
                wait_s = _AGAIN_S

        watcher = threading.Thread(target=watch, name="deadline", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _cut(self) -> None:
        with self._lock:
            found = list(self._sockets)
        for one in found:
            with suppress(OSError):  # closed meanwhile, or by the other side
                # Not close: that wakes no reader. Not an SSLSocket's own: it forgets that there was TLS.
                socket.socket.shutdown(one, socket.SHUT_RDWR)
