"""``twinward study flower``: the coordinator's SuperLink, and the relay that ``study run`` speaks to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input, require_file
from twinward.cli.output import say, tell
from twinward.cli.until_stopped import until_stopped


def flower(
    file: Annotated[Path, typer.Argument(help="The invitation whose hospitals are carried to.")],
    node_key: Annotated[
        list[Path], typer.Option(help="A hospital's SuperNode's public key, ssh-ecdsa; once for each.")
    ],
    certificate: Annotated[Path, typer.Option(help="The SuperLink's TLS certificate, PEM.")],
    certificate_key: Annotated[Path, typer.Option(help="Its private key, PEM.")],
    root_certificates: Annotated[Path, typer.Option(help="Who signed the certificate, PEM.")],
    folder: Annotated[Path, typer.Option(help="For its database and the relay's sockets.")] = Path("twinward-flower"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9092,
) -> None:
    """Run a SuperLink for a study's hospitals, with TLS and SuperNode authentication, until Ctrl-C or SIGTERM.

    On it runs a relay, which answers on one socket for each hospital as the hospital's own daemon would: give them to
    `twinward study run --site`. Neither is believed by anybody: requests and answers are signed from end to end. State
    is in a database in the folder; a SuperLink that dies is started again. Needs the extra flower, in an environment of
    its own.

    Exit codes: 0 stopped, 2 a file that is none of these, 3 a file that is not there, 7 the SuperLink does not start,
    or the extra is not installed.

    Example: twinward study flower sepsis-1.invitation.json --node-key northgate.pub --node-key lakeside.pub
    --certificate link.pem --certificate-key link.key --root-certificates ca.pem
    """
    with errors_taught():
        import flwr  # noqa: F401 - said before anything is started where it is not there

        from twinward.federation.flower.superlink import SuperLink, keep_running
        from twinward.federation.invitation import Invitation

        for one in (certificate, certificate_key, root_certificates, *node_key):
            require_file(one, "a PEM file, or a public key")
        invitation = Invitation.parse(read_input(file))
        link = SuperLink(folder.absolute(), host, port, certificate, certificate_key, root_certificates)
        sites = " ".join(f"--site {name}={link.sockets / name}.sock" for name in invitation.study.hospitals)
        say(f"when its hospitals are connected: twinward study run PROTOCOL --as {invitation.researcher} {sites}")
        with until_stopped() as stopped:
            keep_running(link, node_key, file, stopped, tell)
