"""``twinward account enrol``, ``unenrol``, ``remove-passkey``: ways of signing in, at the node's own machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from twinward.cli.account import AccountArgument, OfficerOption, doer_at
from twinward.cli.context import node_at
from twinward.cli.output import HomeOption, JsonOption, err, say, show_json
from twinward.core.errors import BadInput

_CODE_CHARS = 64


def enrol(
    account: AccountArgument, by: OfficerOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Set up an authenticator app: shows the secret, reads the app's code, prints the recovery codes, this once.

    People do it themselves on the console, at /console/account. Here secret and picture go to standard error, and the
    code is one line of standard input. Nothing changes before the code is right.

    Exit codes: 0, 2 a wrong code, 3 no such account, 6 policy says no, 7 the log cannot be written.

    Example: twinward account enrol olga
    """
    with node_at(home, as_json=as_json) as node:
        who = doer_at(node, by)
        node.account_desk.require_leave(account, who)
        factors = node.sign_ins.factors
        waiting, secret, uri = factors.begin(account)
        _show(uri, secret)
        codes = factors.finish(account, waiting, _typed(), who)
        if as_json:
            show_json({"account": account, "recovery_codes": list(codes)})
            return
        say(f"{account} is asked for a code of the app from now on. Each of these is good once, if the app is lost:")
        for one in codes:
            say(one)


def unenrol(
    account: AccountArgument, by: OfficerOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Take a lost app away: the password is enough again, and whoever is signed in is so no longer.

    Exit codes: 0, 2 there is none, 3 no such account, 6 policy says no, 7 the log cannot be written.

    Example: twinward account unenrol olga --as ben
    """
    with node_at(home, as_json=as_json) as node:
        who = doer_at(node, by)
        node.account_desk.require_leave(account, who)
        node.sign_ins.factors.remove(account, who)
        if as_json:
            show_json({"account": account, "second_factor": False})
        else:
            say(f"{account} signs in by password alone")


def remove_passkey(
    account: AccountArgument,
    passkey: Annotated[str, typer.Argument(help="Its id, as `twinward account show --json` prints it.")],
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a lost device's passkey away; whoever is signed in is so no longer.

    Exit codes: 0, 3 no such account or passkey, 6 policy says no, 7 the log cannot be written.

    Example: twinward account remove-passkey olga rAnD0m-Id --as ben
    """
    with node_at(home, as_json=as_json) as node:
        who = doer_at(node, by)
        node.account_desk.require_leave(account, who)
        record = node.sign_ins.passkeys.remove(account, passkey, who)
        if as_json:
            show_json({"account": account, "passkeys": len(record.passkeys)})
        else:
            say(f"{account} has {len(record.passkeys)} passkeys")


def _show(uri: str, secret: str) -> None:
    import segno

    if sys.stderr.isatty():
        segno.make(uri, micro=False).terminal(out=sys.stderr, compact=True)
    err.print(f"secret  {secret}\n{uri}", markup=False, highlight=False, soft_wrap=True)


def _typed() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Code", err=True))
    code = sys.stdin.readline(_CODE_CHARS).strip()
    if not code:
        raise BadInput("the code that the app shows is needed", hint="type it, or send it on standard input")
    return code
