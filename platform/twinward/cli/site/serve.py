"""``twinward site serve``: a hospital's daemon, which answers the studies that its officer approved."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.output import HomeOption, out
from twinward.core.config import Settings

if TYPE_CHECKING:
    from twinward.federation.site_socket import SocketServer

HospitalOption = Annotated[
    str | None, typer.Option(help="A hospital of an embedded consortium.", show_default="the home's own")
]
SocketOption = Annotated[
    Path | None, typer.Option(help="Where to answer.", show_default="site.sock in the hospital's home")
]


def serve(
    hospital: HospitalOption = None,
    socket: SocketOption = None,
    home: HomeOption = None,
) -> None:
    """Answer studies for this hospital on a Unix socket, until Ctrl-C or SIGTERM.

    Only this user's and root's processes are let in. A message is looked at once the study's coordinator is known to
    have signed it, for a protocol that `twinward study approve` approved; then the ledger, each patient's consent and
    the memory of earlier answers are asked, all of them this hospital's own. Killed in the middle and started again, it
    goes on where it was. A coordinator reaches it by `twinward study run`, on this machine or through Flower.

    Exit codes: 0 stopped, 2 no such hospital, or a socket that cannot be, 3 no node in the home, 4 another process
    answers there, or the home was restored and not put to work, 7 a backend does not answer.

    Example: twinward site serve --home ./northgate
    """
    with errors_taught(), ExitStack() as stack:
        from twinward.cli.logs import configure_logs
        from twinward.node import open_node

        with open_node(home):
            pass  # where there is no node to serve, that is said before what trains is loaded
        from twinward.node.site_daemon import serve as serve_site
        from twinward.node.site_daemon import socket_of

        configure_logs()
        settings = Settings.load(home)
        name = hospital or settings.tenant
        place = socket or socket_of(settings, name)

        def ready(server: SocketServer) -> None:
            def stop(_signal: int, _frame: FrameType | None) -> None:
                server.stop()

            for number in (signal.SIGINT, signal.SIGTERM):
                stack.callback(signal.signal, number, signal.signal(number, stop))
            out.print(f"{name} answers approved studies at {place}", markup=False, soft_wrap=True)
            out.print("Ctrl-C stops", markup=False)

        serve_site(settings.home, name, place, ready)
