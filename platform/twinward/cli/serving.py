"""``twinward node serve``: the API, the console and the heartbeat, until told to stop."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

import uvicorn

from twinward.api.app import create_app
from twinward.cli.logs import configure_logs
from twinward.cli.screen import err, out
from twinward.console import mount
from twinward.errors import BadInput, Conflict
from twinward.node import Node
from twinward.pulse import Pulse

BACKLOG = 256
STOP_TIMEOUT_S = 10
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve_node(node: Node, host: str, port: int, checkpoint_every_s: float) -> None:
    """Serve until Ctrl-C or SIGTERM; then finish what is being answered and return.

    Raises:
        Conflict: the port is taken.
        BadInput: the host or port cannot be listened on.
    """
    listener = listen(host, port)
    with ExitStack() as stack:
        stack.callback(listener.close)
        app = create_app(node)
        mount(app, node)
        configure_logs(logging.INFO)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
        )
        server = uvicorn.Server(config)
        stack.enter_context(_stopped_by_signals(server))
        if checkpoint_every_s:
            stack.enter_context(Pulse(node.audit, checkpoint_every_s))
        _announce(node, host, listener.getsockname()[1])
        server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ``Conflict`` if the port is taken, ``BadInput`` if it cannot be had at all."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise BadInput(f"{host!r} is no address of this machine", hint="give --host 127.0.0.1") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except PermissionError:
        listener.close()
        raise BadInput(f"this user may not listen on port {port}", hint="give a --port above 1023") from None
    except OSError as error:
        listener.close()
        hint = "give another --port, or stop what listens there"
        raise Conflict(f"cannot listen on {host}, port {port}: {error.strerror}", hint=hint) from None
    return listener


@contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """A signal ends the server, not the process: uvicorn raises it again once it has stopped, and it lands here."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce(node: Node, host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"
    out.print(f"{node.settings.hospital} answers at {url}", markup=False, soft_wrap=True)
    out.print(f"console: {url}/console · FHIR: {url}/fhir · Ctrl-C stops", markup=False, soft_wrap=True)
    if host not in _LOOPBACK:
        err.print(
            "[yellow]note[/]: this speaks plain HTTP beyond this machine. Put a TLS proxy in front of it and set "
            "TWINWARD_SECURE_COOKIES=1.",
            soft_wrap=True,
        )
