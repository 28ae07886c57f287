"""``twinward node``: make a hospital's node, run it, see how it is, give accounts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from twinward.cli.account import ExpiresOption, OfficerOption, PasswordFileOption, days_of, doer_at, password_of
from twinward.cli.context import node_at
from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.keys.shred import DryRunOption
from twinward.cli.output import HomeOption, HostOption, JsonOption, PortOption, out, progress, say, show_json
from twinward.core import collector
from twinward.core.config import Settings
from twinward.core.errors import BadInput, Conflict, NotFound
from twinward.core.vocabulary import Role, TwinId

if TYPE_CHECKING:
    from twinward.node import Node
    from twinward.vault.segments.compaction import CompactionReport


IdArgument = Annotated[str, typer.Argument(help="The account's id: letters, digits, '.', ':', '@', '-'.")]
NameOption = Annotated[str, typer.Option(help="Whose account it is, for people.")]
UnitOption = Annotated[str, typer.Option(help="The organisational unit, e.g. cardiology.")]


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
    with collector.at_rest(), node_at(home, as_json=False) as node:
        from twinward.cli.node.serve import serve_node
        from twinward.core.errors import NotAtWork

        if node.restored is not None:
            raise NotAtWork("it is not served")
        chosen_port = node.settings.listen_port if port is None else port
        serve_node(node, host or node.settings.listen_host, chosen_port, checkpoint_every)


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


def add_person(
    account: IdArgument,
    role: Annotated[Role, typer.Option(help="What the person is to the hospital.")],
    name: NameOption = "",
    unit: UnitOption = "",
    patient: Annotated[
        str | None,
        typer.Option(help="A patient's twin: whose record the account sees. Wants --as.", show_default="none"),
    ] = None,
    by: OfficerOption = None,
    password_file: PasswordFileOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a person an account with a password, asked for twice: 12 characters at least, and no common one.

    A patient's account sees nothing until an officer has tied it to the patient's record: here by --patient and --as,
    or later by `twinward account tie`. Exit codes: 0 added, 2 a bad id or password, 3 no such patient or officer, 4 the
    id is taken, 6 policy says no.

    Example: twinward node add-person olga --role officer --name "Olga Officer"

    Example: twinward node add-person ann --role patient --patient 0198… --as olga
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.interfaces import Principal

        if patient is None:
            who = doer_at(node, by)
            node.account_desk.require_leave(account, who)
            node.accounts.add_person(Principal(account, role, name, unit), password_of(password_file), by=who)
        elif role is not Role.PATIENT:
            raise BadInput(f"a {role.value} has no record of their own here", hint="leave --patient out")
        else:
            password = password_of(password_file)
            node.account_desk.add_patient(account, name, password, TwinId(patient), doer_at(node, by))
        if as_json:
            show_json({"account": account, "role": role.value, "twin": patient})
        else:
            say(f"{account} may sign in as {role.value}" + (f", and sees the record {patient}" if patient else ""))


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

        granted = grant_budget(node, account, role, queries)
        until = node.accounts.in_days(days_of(expires))
        token = node.accounts.add_system(Principal(account, role, name, unit), expires_at_ms=until, by=doer_at(node))
        if as_json:
            grant = None if granted is None else granted.queries
            shown = {"account": account, "role": role.value, "token": token, "queries_per_epoch": grant}
            show_json(shown | ({"proposed": granted.proposed} if granted and granted.proposed else {}))
            return
        say(token)
        say("This token is shown once and not kept. Whoever has it is this account.")
        say_budget(account, granted)


def say_budget(account: str, granted: Granted | None) -> None:
    """What a vendor was granted, for whoever made its account."""
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


class Granted(NamedTuple):
    """A vendor's queries an epoch, and the change that is to grant them where it waits."""

    queries: int
    proposed: int | None


def grant_budget(node: Node, account: str, role: Role, queries: int | None) -> Granted | None:
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
        if node.settings.feasibility:
            node.consortium.grant_epsilon(
                node.settings.tenant,
                account,
                own_millis=round(node.settings.feasibility_vendor_epsilon * 1000),
                whole_millis=round(node.settings.feasibility_epsilon * 1000),
            )
        return Granted(granted, change.number if change else None)
    raise Conflict(f"there is an account {account!r} already")


def compact(dry_run: DryRunOption = False, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Seal what stands in single rows together: a tenth of the room, faster to read whole. Nothing else changes.

    It may run while the node serves; a twin that is being written to is left for the next run. Interrupted at any
    point, nothing is lost, and running it again goes on. Exit codes: 0, 3 no node in the home, 7 a database does not
    answer.

    Example: twinward node compact --dry-run
    """
    with node_at(home, as_json=as_json) as node:
        with progress() as bars:
            task = bars.add_task("compacting", total=None)
            report = node.compactor.run(
                dry_run=dry_run, progress=lambda done, total: bars.update(task, completed=done, total=total)
            )
        if as_json:
            show_json(_shown(report, dry_run=dry_run))
        elif dry_run:
            say(f"{report.rows} rows and {report.merged} small segments of {report.twins} twins would be compacted")
        else:
            before = f"{report.rows} rows and {report.merged} small segments of {report.twins} twins"
            say(f"{before}: {report.segments} segments")
            if report.bytes_before:
                say(f"sealed bytes {report.bytes_before:,} before, {report.bytes_after:,} after")
            if report.busy:
                say(f"{report.busy} twins were being written to; run it again for them")


def _shown(report: CompactionReport, *, dry_run: bool) -> dict[str, object]:
    shown: dict[str, object] = {**asdict(report), "done": not dry_run}
    if dry_run:
        for unknown in ("segments", "bytes_after"):
            shown[unknown] = None
    return shown
