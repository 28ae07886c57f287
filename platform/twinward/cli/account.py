"""``twinward account``: who may sign in, and taking that away again. A node that is served follows at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import node_at, typed_by
from twinward.cli.input import ask_secret, read_secret_input
from twinward.cli.output import HomeOption, JsonOption, say, show_json, show_table, table
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Purpose, TwinId

if TYPE_CHECKING:
    from twinward.access.account_store import AccountRecord
    from twinward.access.interfaces import AccessContext
    from twinward.node import Node


PASSWORD_MAX_BYTES = 1024
AccountArgument = Annotated[str, typer.Argument(help="The account's id, as `twinward account list` prints it.")]
OfficerOption = Annotated[
    str | None,
    typer.Option("--as", help="The officer in whose name this is done; without one, whoever is at this machine."),
]
ExpiresOption = Annotated[
    str | None, typer.Option(help="For how long the token is good, in days: 90d.", show_default="for ever")
]
PasswordFileOption = Annotated[
    Path | None, typer.Option(help="A file with the password, '-' for standard input; else it is asked for.")
]


def list_accounts(by: OfficerOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every account: its role, whether it may be used, its tokens, and when they were last used (to the day).

    Exit codes: 0, 3 no node or no such officer, 6 policy says no.

    Example: twinward account list --json
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        shown = [_json(node, one) for one in node.account_desk.all(who)]
        if as_json:
            show_json({"accounts": shown})
            return
        rows = table("account", "role", "state", "password", "tokens", "last used")
        for one in shown:
            good = sum(token["state"] == "good" for token in one["tokens"])
            days = [part["last_used"] for part in (*one["tokens"], one["password"] or {"last_used": None})]
            rows.add_row(
                one["account"],
                one["role"],
                "disabled" if one["disabled"] else "in use",
                _password_state(one["password"]),
                f"{good} of {len(one['tokens'])} good" if one["tokens"] else "",
                max((day for day in days if day), default="never"),
            )
        show_table(rows)


def show(
    account: AccountArgument, by: OfficerOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """One account and its tokens, by number. Secrets are not kept, so none is shown.

    Exit codes: 0, 3 no such account, 6 policy says no.

    Example: twinward account show acme
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        tell(node, node.account_desk.one(account, who), as_json=as_json)


def tie(
    account: AccountArgument,
    twin: Annotated[str, typer.Argument(help="The patient's twin, as `twinward twin list` prints it.")],
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tie a patient's account to the patient's record, in the name of an officer who knows whose it is: wants --as.

    From then on the account sees that record, who looked at it, and its consents, in the console. The patient sees
    that it was tied, and by whom. Exit codes: 0, 2 nobody is named, or no patient's account, 3 no such account or
    patient, 4 it is tied already, 6 policy says no, 7 the log cannot be written.

    Example: twinward account tie ann 0198… --as olga
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        tell(node, node.account_desk.tie(account, TwinId(twin), who), as_json=as_json)


def untie(
    account: AccountArgument, by: OfficerOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Tie a patient's account to nobody: it sees nothing any more, and is signed out at once, in a served node too.

    Exit codes: 0, 3 no such account, 4 it is tied to no record, 6 policy says no, 7 the log cannot be written.

    Example: twinward account untie ann --as olga
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        tell(node, node.account_desk.untie(account, who), as_json=as_json)


def disable(
    account: AccountArgument,
    last_officer: Annotated[
        bool, typer.Option("--last-officer", help="Also where no officer is left who could undo it elsewhere.")
    ] = False,
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let nobody sign in with an account, and end at once its sessions, streams and exports, in a served node too.

    Exit codes: 0, 3 no such account, 4 it is the last officer's, 6 policy says no, 7 the log cannot be written.

    Example: twinward account disable dr-lee --as olga
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        was = node.account_desk.one(account, who).disabled
        record = node.account_desk.disable(account, who, last_officer=last_officer)
        tell(node, record, as_json=as_json, note="it was disabled already" if was else "")


def enable(
    account: AccountArgument, by: OfficerOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Let an account be used again, with its password and the tokens that were not revoked.

    Exit codes: 0, 3 no such account, 6 policy says no, 7 the log cannot be written.

    Example: twinward account enable dr-lee --as olga
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        was = node.account_desk.one(account, who).disabled
        record = node.account_desk.enable(account, who)
        tell(node, record, as_json=as_json, note="" if was else "it might be used already")


def end_sessions(
    account: AccountArgument, by: OfficerOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """End every session, stream and export of an account. Its password and tokens stay good.

    Exit codes: 0, 3 no such account, 6 policy says no, 7 the log cannot be written.

    Example: twinward account end-sessions olga
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        tell(node, node.account_desk.end_sessions(account, who), as_json=as_json)


def sessions(
    account: AccountArgument, by: OfficerOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """In which browsers somebody is signed in to the console: since when, last used when, from where.

    Exit codes: 0, 3 no such account, 6 policy says no.

    Example: twinward account sessions olga
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        from twinward.access.shown_accounts import session_json

        shown = [session_json(one) for one in node.account_desk.sessions(account, who)]
        if as_json:
            show_json({"account": account, "sessions": shown})
            return
        rows = table("session", "begun", "last used", "ends by", "by", "from")
        for one in shown:
            times = (one[when][:16].replace("T", " ") for when in ("begun", "used", "ends"))
            rows.add_row(one["session"], *times, one["by"], one["from"])
        show_table(rows)


def sign_out(
    account: AccountArgument,
    session: Annotated[str, typer.Argument(help="Which, as `twinward account sessions` calls it.")],
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End one session, in a served node too. `twinward account end-sessions` ends all, and whatever runs by tokens.

    Exit codes: 0, 3 no such account or session, 6 policy says no, 7 the log cannot be written.

    Example: twinward account sign-out olga 0b5c2c8f6f1de0a3 --as ben
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        node.account_desk.sign_out(account, session, who)
        if as_json:
            show_json({"account": account, "session": session})
        else:
            say(f"{account} is signed out of session {session}")


def new_token(
    account: AccountArgument,
    expires: ExpiresOption = None,
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Another bearer token for an account, printed this once. To rotate: make one, use it, revoke the old one.

    Exit codes: 0, 2 a bad time, 3 no such account, 4 it has too many, 6 policy says no, 7 the log cannot be written.

    Example: twinward account new-token acme --expires 90d
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        number, token = node.account_desk.new_token(account, who, expires_in_days=days_of(expires))
        if as_json:
            show_json({"account": account, "number": number, "token": token})
            return
        say(token)
        say(f"This is token {number} of {account}. It is shown once and not kept.")


def revoke_token(
    account: AccountArgument,
    number: Annotated[int, typer.Argument(min=1, help="Which, as `twinward account show` numbers them.")],
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token worthless, and end at once what runs by it.

    Exit codes: 0, 3 no such account or token, 6 policy says no, 7 the log cannot be written.

    Example: twinward account revoke-token acme 1 --as olga
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        tell(node, node.account_desk.revoke_token(account, number, who), as_json=as_json)


def reset_password(
    account: AccountArgument,
    password_file: PasswordFileOption = None,
    by: OfficerOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set an account's password. Whoever signs in with it must choose another one first; all its sessions end.

    Exit codes: 0, 2 a weak password, 3 no such account, 6 policy says no, 7 the log cannot be written.

    Example: twinward account reset-password olga --password-file ./new
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        record = node.account_desk.reset_password(account, password_of(password_file), who)
        tell(node, record, as_json=as_json)


def expire_password(
    account: AccountArgument, by: OfficerOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """Have an account choose a new password when it signs in next; its sessions end now.

    All passwords expire after TWINWARD_PASSWORD_DAYS days, if that is set. Exit codes: 0, 2 it has no password, 3 no
    such account, 6 policy says no, 7 the log cannot be written.

    Example: twinward account expire-password olga
    """
    with _desk(home, by, as_json=as_json) as (node, who):
        tell(node, node.account_desk.expire_password(account, who), as_json=as_json)


def days_of(text: str | None) -> int | None:
    """``90d`` as 90. Raises ``BadInput``."""
    if text is None:
        return None
    found = re.fullmatch(r"0*([1-9][0-9]{0,3})d", text, re.ASCII)
    if found:
        return int(found[1])
    if re.fullmatch(r"[0-9]+d", text, re.ASCII):
        raise BadInput("a token is good for 1 to 9999 days", hint="leave --expires out for one that does not end")
    raise BadInput(f"{text!r} is no number of days", hint="say it as 90d")


def password_of(file: Path | None) -> str:
    """A new password, from a file or typed twice. Raises ``BadInput``."""
    if file is None:
        return ask_secret("Password", option="--password-file", twice=True)
    try:
        return read_secret_input(file, "the password", most=PASSWORD_MAX_BYTES).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadInput("the password is not UTF-8 text") from None


@contextmanager
def _desk(home: Path | None, by: str | None, *, as_json: bool) -> Iterator[tuple[Node, AccessContext]]:
    with node_at(home, as_json=as_json) as node:
        yield node, doer_at(node, by)


def doer_at(node: Node, by: str | None = None) -> AccessContext:
    """Who changes accounts at this machine: an officer, if one is named, else whoever types. Raises ``NotFound``."""
    from twinward.access.interfaces import NODE, AccessContext

    who = NODE if by is None else node.accounts.named(by)
    return AccessContext(who, Purpose.COMPLIANCE, detail=typed_by())


def _json(node: Node, record: AccountRecord) -> dict[str, Any]:
    from twinward.access.shown_accounts import account_json

    return account_json(node.accounts, record)


def tell(node: Node, record: AccountRecord, *, as_json: bool, note: str = "") -> None:
    """Print an account as it stands now."""
    shown = _json(node, record)
    if as_json:
        show_json(shown)
        return
    state = "is disabled" if shown["disabled"] else "may be used"
    say(f"{shown['account']} ({shown['role']}) {state}" + (f"; {note}" if note else ""))
    if shown["twin"]:
        say(f"record    {shown['twin']}")
    if shown["password"]:
        used = shown["password"]["last_used"] or "never"
        say(f"password  {_password_state(shown['password'])}, last used {used}")
    if shown["second_factor"]:
        say(f"app       asked for beside the password, {shown['recovery_codes_left']} recovery codes left")
    if shown["codes_held"]:
        say("codes     held after too many wrong ones: somebody knows the password; reset it")
    for one in shown["passkeys"]:
        say(f"passkey   {one['name']}, since {one['made'][:10]}, {one['id']}")
    if shown["unit"]:
        say(f"units     {shown['unit']}")
    for one in shown["delegations"]:
        span = f"{one['from'][:16]} to {one['until'][:16]}"
        say(f"lent {one['number']:<4} the role {one['role']} by {one['by']}, {span}, {one['state']}: {one['reason']}")
    for one in shown["identities"]:
        say(f"linked    {one['subject']} at {one['issuer']}")
    for one in shown["links_by_one"]:
        say(f"waits     {one['by']} would link {one['subject']}; another officer has to agree")
    for one in shown["client_keys"]:
        say(f"key       {one['kid']}, {one['alg']}, since {one['made'][:10]}")
    if shown["enabled_by_one"]:
        say(f"waits     {shown['enabled_by_one']} would enable it; another officer has to agree")
    if shown["certificate_bound"] and not shown["certificates"]:
        say("unproven  it wants a certificate and has none: nobody is served in its name")
    for one in shown["certificates"]:
        say(f"proven by {one['thumbprint']}, {one['subject']}, good until {one['expires'][:10]}")
    for one in shown["tokens"]:
        until = f", good until {one['expires'][:10]}" if one["expires"] else ""
        say(f"token {one['number']:<3} {one['state']}{until}, last used {one['last_used'] or 'never'}")


def _password_state(password: dict[str, Any] | None) -> str:
    if password is None:
        return ""
    if password["must_change"]:
        return "to be changed"
    return f"since {password['since'][:10]}"
