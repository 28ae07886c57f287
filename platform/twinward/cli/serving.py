"""``twinward node serve``: the API, the console and the heartbeat, until told to stop."""

from __future__ import annotations

import logging
from contextlib import ExitStack

from twinward.api.app import create_app
from twinward.cli.listening import LOOPBACK, listen, server_of, stopped_by_signals
from twinward.cli.logs import configure_logs
from twinward.cli.screen import err, out
from twinward.console import mount
from twinward.node import Node
from twinward.pulse import Heartbeats, Pulse


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
        server = server_of(app)
        stack.enter_context(stopped_by_signals(server))
        if node.settings.heartbeat_s:
            stack.enter_context(Heartbeats(node.heartbeat, node.settings.heartbeat_s))
        if checkpoint_every_s:
            stack.enter_context(Pulse(node.audit, checkpoint_every_s))
        _announce(node, host, listener.getsockname()[1])
        server.run(sockets=[listener])


def _announce(node: Node, host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"
    out.print(f"{node.settings.hospital} answers at {url}", markup=False, soft_wrap=True)
    out.print(f"console: {url}/console · FHIR: {url}/fhir · Ctrl-C stops", markup=False, soft_wrap=True)
    if host not in LOOPBACK:
        err.print(
            "[yellow]note[/]: this speaks plain HTTP beyond this machine. Put a TLS proxy in front of it and set "
            "TWINWARD_SECURE_COOKIES=1.",
            soft_wrap=True,
        )
