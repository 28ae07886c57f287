"""``twinward account certificates``: systems and vendors that are proven by certificates over mutual TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twinward.cli.account import AccountArgument, OfficerOption, doer_at, tell
from twinward.cli.context import node_at
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption
from twinward.core.errors import BadInput


def certificates(
    account: AccountArgument,
    add: Annotated[Path | None, typer.Option(help="A certificate (PEM) to take besides; '-' for stdin.")] = None,
    remove: Annotated[str | None, typer.Option(help="The thumbprint (x5t#S256) of one to take away.")] = None,
    release: Annotated[bool, typer.Option("--release", help="Take all away, and want none any more.")] = False,
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The certificates by which a system or vendor is proven over mutual TLS (RFC 8705); take more, or take one away.

    From the first one on the account is served only over connections that prove one of them, whichever token they
    bring; taking one away ends its tokens and streams at once. Exit codes: 0, 2 no certificate, 3 no such account or
    certificate, 4 it is registered already, 6 policy says no, 7 the log cannot be written.

    Example: twinward account certificates ehr --add ./ehr.pem --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access import client_certificates as held

        if sum((add is not None, remove is not None, release)) > 1:
            raise BadInput("one thing at a time", hint="say --add, --remove or --release")
        who = doer_at(node, by)
        if add is not None:
            read = held.read_certificate(read_input(add, most=held.MOST_BYTES), node.clock.now_ms())
            record = held.add_certificate(node.account_desk, account, read, who)
        elif remove is not None:
            record = held.remove_certificate(node.account_desk, account, remove, who)
        elif release:
            record = held.release(node.account_desk, account, who)
        else:
            record = node.account_desk.one(account, who)
        tell(node, record, as_json=as_json)
