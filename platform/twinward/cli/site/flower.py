"""``twinward site flower``: a hospital's SuperNode and runner, which carry a study's messages to its daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import require_file
from twinward.cli.output import tell
from twinward.cli.until_stopped import until_stopped


def flower(
    superlink: Annotated[str, typer.Option(help="The coordinator's SuperLink: HOST:PORT.")],
    root_certificates: Annotated[Path, typer.Option(help="Who signed its TLS certificate, PEM.")],
    key: Annotated[Path, typer.Option(help="This SuperNode's ECDSA private key; its public part was handed over.")],
    socket: Annotated[Path, typer.Option(help="Where this hospital's `twinward site serve` answers.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="The SuperNode's own port on this machine.")] = 9094,
) -> None:
    """Take part in studies over Flower: a SuperNode and the runner that carries its messages, until Ctrl-C or SIGTERM.

    It holds no record, no model and no study key, runs no code that a SuperLink sends, and installs none: it carries
    signed requests to the hospital's daemon and signed answers back. Whatever goes away is waited for. Make the key
    with `ssh-keygen -t ecdsa -b 384`. Needs the extra flower, in an environment of its own.

    Exit codes: 0 stopped, 2 a file that cannot be read, 3 a file that is not there, 7 the extra is not installed.

    Example: twinward site flower --superlink studies.example:9092 --root-certificates ca.pem --key node.key --socket
    /srv/northgate/site.sock
    """
    with errors_taught():
        import flwr  # noqa: F401 - said before anything is started where it is not there

        from twinward.federation.flower.runner import Link, relay

        require_file(root_certificates, "the SuperLink's root certificates")
        require_file(key, "the SuperNode's key")
        with until_stopped() as stopped:
            relay(Link(superlink, root_certificates, key, port), socket, stopped, tell)
