"""A server that never falls silent and never comes to an end: a byte at a time, oftener than any read may wait."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HEAD = b"HTTP/1.1 200 OK\r\nX-Drip: "
OF_A_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
TO_ITS_END = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
DRIPS = {"head": HEAD, "a body of a length": OF_A_LENGTH, "a body to its end": TO_ITS_END}
FOR_S = 4.0
"""A client that is not bounded is let go after this time."""


@contextmanager
def dripping(begin: bytes) -> Iterator[int]:
    """Its port on 127.0.0.1. Every connection gets ``begin``, then a letter every 20 ms."""
    stopped = threading.Event()

    def drip(client: socket.socket) -> None:
        until = time.monotonic() + FOR_S
        with client, suppress(OSError):
            client.recv(65536)
            client.sendall(begin)
            while time.monotonic() < until and not stopped.wait(0.02):
                client.sendall(b"x")

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
