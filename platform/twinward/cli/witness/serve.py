"""``twinward witness serve``: a witness that answers logs until it is told to stop."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import structlog

from twinward.cli.logs import configure_logs
from twinward.cli.output import err, out
from twinward.cli.server import LOOPBACK, listen, server_of, stopped_by_signals
from twinward.consortium.witness.home import WitnessHome
from twinward.node.home import serving

log = structlog.get_logger("twinward.witness")


def serve_witness(opened: WitnessHome, host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM; then finish what is being answered and return.

    Raises:
        Conflict: the port is taken, or another process serves this home.
        BadInput: the host or port cannot be listened on.
    """
    with ExitStack() as stack:
        stack.enter_context(serving(opened.home))
        listener = listen(host, port)
        stack.callback(listener.close)
        configure_logs(logging.INFO)
        app = opened.service(lambda word, facts: log.info(word, **facts))
        server = server_of(app)
        stack.enter_context(stopped_by_signals(server))
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        out.print(f"{opened.settings.name}'s witness answers at {url}", markup=False, soft_wrap=True)
        logs = len(opened.witness.origins())
        out.print(f"co-signs for {logs} {'log' if logs == 1 else 'logs'} · Ctrl-C stops", markup=False, soft_wrap=True)
        if host not in LOOPBACK:
            err.print("[yellow]note[/]: this speaks plain HTTP. Put a TLS proxy in front of it.", soft_wrap=True)
        server.run(sockets=[listener])
