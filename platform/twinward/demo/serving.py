"""A real HTTP server around the node for the length of a block, so that the demo's vendor asks as any vendor would."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from twinward.api.app import create_app
from twinward.core.errors import Unavailable
from twinward.node import Node

START_TIMEOUT_S = 20.0


@contextmanager
def served(node: Node) -> Iterator[str]:
    """Serve the node on a free loopback port; yields its base URL."""
    # With the protocol named, asyncio turns Nagle off on what it accepts; otherwise answers come 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(node), log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="demo-server", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise Unavailable("the demo's HTTP server did not start")
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
        listener.close()
