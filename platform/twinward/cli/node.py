"""``twinward node``: make a hospital's node, run it, see how it is, give accounts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from twinward.cli import backup, compacting
from twinward.cli.account import ExpiresOption, PasswordFileOption, days_of, doer_at, password_of
from twinward.cli.emergencies import emergency_lines
from twinward.cli.opening import node_at
from twinward.cli.screen import (
    HomeOption,
    HostOption,
    JsonOption,
    PortOption,
    errors_taught,
    out,
    read_input,
    say,
    show_json,
)
from twinward.core.config import Settings
from twinward.core.errors import BadInput, Conflict, NotFound, TwinwardError, Unavailable
from twinward.core.vocabulary import Role

if TYPE_CHECKING:
    from twinward.node import Node

app = typer.Typer(help="Make, run and look after a hospital's node.", no_args_is_help=True)

app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("activate")(backup.activate)
app.command("compact")(compacting.compact)

IdArgument = Annotated[str, typer.Argument(help="The account's id: letters, digits, '.', ':', '@', '-'.")]
NameOption = Annotated[str, typer.Option(help="Whose account it is, for people.")]
UnitOption = Annotated[str, typer.Option(help="The organisational unit, e.g. cardiology.")]


@app.callback()
def _node() -> None:
    """Make, run and look after a hospital's node."""


@app.command()
def init(
    hospital: Annotated[str | None, typer.Option(help="The hospital's name, for people.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Its short name: in key names and on the ledger.")] = None,
    witness_card: Annotated[
        list[Path] | None,
        typer.Option(help="A witness that is asked over HTTP, as `witness card` prints it; once for each."),
    ] = None,
    quorum: Annotated[int | None, typer.Option(min=1, help="How many witnesses must co-sign.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an empty node: keys, vault, access log, and a consortium.

    Without --witness-card the consortium is embedded: three hospitals' witnesses that sign on this machine. With cards,
    those witnesses are asked over HTTP, by the quorum policy that is written into the home.

    A passphrase for the keys comes from the file that TWINWARD_PASSPHRASE_FILE names; without one a key file in the
    home protects them. Exit codes: 0 made, 2 bad settings, 4 the home is not empty, 7 a backend does not answer.

    Example: twinward node init --home ./mercy --tenant mercy --hospital "Mercy Hospital"
    """
    with errors_taught(as_json=as_json):
        from twinward.consortium.membership import WitnessCard
        from twinward.node import create_node

        settings = _settings(home, {"hospital": hospital, "tenant": tenant, "quorum": quorum})
        node = create_node(settings, cards=[WitnessCard.parse(read_input(card)) for card in witness_card or ()])
        log_key, addresses = str(node.log.key), node.consortium.addresses
        anchor = f"{addresses.chain_id} {addresses.access_anchor}"
        node.close()
        if as_json:
            shown = {"home": str(settings.home), "tenant": settings.tenant, "hospital": settings.hospital}
            show_json(
                shown | {"log_key": log_key, "anchor": anchor, "passphrase": settings.passphrase_file is not None}
            )
            return
        at = "" if home is None else f" --home {settings.home}"
        say(f"{settings.hospital}: a new node in {settings.home}")
        say(f"log key (tell your auditors): {log_key}")
        say(_about_keys(settings))
        out.print("[bold]next[/]")
        if witness_card:
            say(f'  twinward witness add-log "{log_key}" --anchor "{anchor}"    (at each witness)')
        say(f"  twinward node add-person olga --role officer{at}")
        say(f"  twinward twin import ./bundles{at}")
        say(f"  twinward node serve{at}")


@app.command()
def serve(
    host: HostOption = None,
    port: PortOption = None,
    checkpoint_every: Annotated[
        float, typer.Option(min=0, max=86400, help="Seconds between checkpoints; 0 makes none.")
    ] = 30.0,
    home: HomeOption = None,
) -> None:
    """Serve the API and the officer's console, and sign the log as it grows, until Ctrl-C or SIGTERM.

    One line per request goes to standard error; none carries an id. Exit codes: 0 stopped, 2 an address that cannot be
    listened on, 3 no node in the home, 4 the port is taken, another process serves this home, or it was restored and
    not put to work (`twinward node activate`).

    Example: twinward node serve --port 8040
    """
    with node_at(home, as_json=False) as node:
        from twinward.cli.serving import serve_node
        from twinward.core.restored_home import NotAtWork

        if node.restored is not None:
            raise NotAtWork("it is not served")
        chosen_port = node.settings.listen_port if port is None else port
        serve_node(node, host or node.settings.listen_host, chosen_port, checkpoint_every)


@app.command()
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """How large the log is, how far it is signed and anchored, how its witnesses are, how many twins, who may ask.

    Also who can change the consortium, and each change that is proposed: a quorum of hospitals can stop it meanwhile.

    What the node knows by itself is shown as well where the consortium's contracts cannot be read; then the error comes
    last (--json: the member "error"). Exit codes: 0, 3 no node in the home, 4 the contracts are an earlier release's
    (`twinward consortium renew`), 7 the chain does not answer, 8 the log is not what was signed.

    Example: twinward node status --json
    """
    with node_at(home, as_json=as_json) as node:
        shown, problem = _status(node)
        if as_json:
            show_json(shown)
            if problem is not None:
                raise typer.Exit(problem.exit_code)
            return
        log = shown["log"]
        say(f"{shown['hospital']} ({shown['tenant']})")
        say(f"twins     {shown['twins']}, {shown['shredded']} shredded")
        say(f"log       {log['size']} events, {log['signed']} signed")
        say(f"cosigned  by {log['cosigned']} of {log['witnesses']} witnesses, {log['quorum']} needed")
        anchored = "nothing yet" if log["anchored_block"] is None else f"block {log['anchored_block']}"
        say(f"anchored  {log['anchored']} events, {anchored}")
        if log["waits"]:
            say(f"waiting   {log['pending']} events, since {log['waits']['since'][:16]}: {log['waits']['why']}")
        if log["journal"]["waiting"]:
            say(f"journal   {log['journal']['waiting']} events of emergencies wait for the log")
        for name in log["journal"]["evidence"]:
            say(f"journal   altered: examine {name}, then take it away")
        if log["journal"]["lost"]:
            lost = log["journal"]["lost"]
            say(f"journal   {lost} events of emergencies were cut off it: ask who could write that file")
        for line in emergency_lines(node.emergencies.standing()):
            say(f"emergency {line}")
        for witness in shown["witnesses"]:
            say(f"witness   {witness['say']}")
        if problem is not None:
            raise problem
        say(f"consortium {shown['consortium']['say']}")
        for proposal in shown["consortium"]["proposals"]:
            say(f"proposed  {proposal['say']}")
        say(f"epoch     {shown['epoch']}")
        for vendor in shown["vendors"]:
            say(f"vendor    {vendor['id']}: {vendor['queries_left']} queries left in this epoch")


@app.command()
def tables(
    owner: Annotated[str, typer.Option(help="The account that owns the databases.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lay the tables of PostgreSQL databases as their owner, or bring them up to date after an upgrade of Twinward.

    The node's own account, which TWINWARD_RECORDS, TWINWARD_KEYRING and TWINWARD_LOG or the home's settings name, needs
    no more than what platform/docs/postgresql.md grants it. Exit codes: 0, 2 no such database is named, 7 a server does
    not answer, or the owner may not.

    Example: twinward node tables --owner twinward_owner
    """
    with errors_taught(as_json=as_json):
        from twinward.node.tables import lay_all

        laid = lay_all(Settings.load(home), owner)
        if as_json:
            show_json({"owner": owner, "laid": sorted(laid)})
        else:
            say(f"laid by {owner}: {', '.join(laid)}; next: the grants of platform/docs/postgresql.md")


@app.command("add-person")
def add_person(
    account: IdArgument,
    role: Annotated[Role, typer.Option(help="What the person is to the hospital.")],
    name: NameOption = "",
    unit: UnitOption = "",
    password_file: PasswordFileOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a person an account with a password, asked for twice: 12 characters at least, and no common one.

    Exit codes: 0 added, 2 a bad id or password, 4 the id is taken.

    Example: twinward node add-person olga --role officer --name "Olga Officer"
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.interfaces import Principal

        principal = Principal(account, role, name, unit)
        node.accounts.add_person(principal, password_of(password_file), by=doer_at(node))
        if as_json:
            show_json({"account": account, "role": role.value})
        else:
            say(f"{account} may sign in as {role.value}")


@app.command("add-system")
def add_system(
    account: IdArgument,
    role: Annotated[Role, typer.Option(help="What the system is to the hospital.")],
    name: NameOption = "",
    unit: UnitOption = "",
    queries: Annotated[
        int | None,
        typer.Option(min=0, max=1_000_000, help="A vendor's queries per epoch.", show_default="of the settings"),
    ] = None,
    expires: ExpiresOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a system or a vendor an account; prints its bearer token, this once.

    A vendor's query budget is granted on the ledger: at once where this machine holds the keys of a quorum, else it is
    proposed, and every hospital sees it for days before `twinward consortium enact` grants it.

    Exit codes: 0 added, 2 a bad id, 4 the id is taken or the contract refuses, 7 the chain does not answer (no account
    is made).

    Example: twinward node add-system acme --role vendor --name "Acme Diagnostics"
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.interfaces import Principal

        granted = _grant(node, account, role, queries)
        until = node.accounts.in_days(days_of(expires))
        token = node.accounts.add_system(Principal(account, role, name, unit), expires_at_ms=until, by=doer_at(node))
        if as_json:
            grant = None if granted is None else granted.queries
            shown = {"account": account, "role": role.value, "token": token, "queries_per_epoch": grant}
            show_json(shown | ({"proposed": granted.proposed} if granted and granted.proposed else {}))
            return
        say(token)
        say("This token is shown once and not kept. Whoever has it is this account.")
        if granted is not None and granted.proposed is None:
            say(f"{account} may ask {granted.queries} queries per epoch")
        elif granted is not None:
            say(f"{granted.queries} queries per epoch are proposed as change {granted.proposed}: none until enacted")
            say(f"  twinward consortium enact {granted.proposed}    (once it is due: `twinward consortium show`)")


def _settings(home: Path | None, given: dict[str, Any]) -> Settings:
    settings = Settings.load(home, **{name: value for name, value in given.items() if value is not None})
    defaults: tuple[str, ...] = Settings.model_fields["witnesses"].default
    if settings.tenant not in settings.witnesses and settings.witnesses == defaults:
        # The embedded consortium's first hospital is this one, whatever it is called.
        settings = settings.model_copy(update={"witnesses": (settings.tenant, *defaults[1:])})
    return settings


def _about_keys(settings: Settings) -> str:
    """Where a new node's keys are, and what every command needs from now on to open them."""
    scheme, _, rest = settings.keys_uri.partition(":")
    if not scheme.startswith("local"):
        return f"the keys are in the key service {scheme}:{rest.partition('?')[0]}; every command on this node needs it"
    if settings.passphrase_file is not None:
        return (
            f"the keys are in {rest}; every command reads their passphrase from {settings.passphrase_file.absolute()}"
        )
    return f"the keys are in {rest}, protected by a key file there; TWINWARD_PASSPHRASE_FILE would name a passphrase's"


def _status(node: Node) -> tuple[dict[str, Any], TwinwardError | None]:
    """How things stand, and why the contracts cannot be read where they cannot."""
    from twinward.overview.status import agreed_status, own_status

    own = own_status(node).shown()
    try:
        return own | agreed_status(node).shown(node.clock.now_ms()), None
    except (Conflict, Unavailable) as error:
        told = {"kind": type(error).__name__, "message": str(error), "hint": error.hint}
        return own | {"consortium": None, "epoch": None, "vendors": None, "error": told}, error


class _Granted(NamedTuple):
    """A vendor's queries an epoch, and the change that is to grant them where it waits."""

    queries: int
    proposed: int | None


def _grant(node: Node, account: str, role: Role, queries: int | None) -> _Granted | None:
    """Grant a vendor's budget before the account exists, so that a chain that is down leaves no half-made vendor."""
    if role is not Role.VENDOR:
        if queries is not None:
            raise BadInput("only vendors have a budget of queries", hint="leave --queries out")
        return None
    try:
        node.accounts.named(account)
    except NotFound:
        granted = node.settings.vendor_budget if queries is None else queries
        change = node.consortium.grant_queries(account, granted)
        return _Granted(granted, change.number if change else None)
    raise Conflict(f"there is an account {account!r} already")
