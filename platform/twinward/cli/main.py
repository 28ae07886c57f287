"""``twinward``: the command line. What is typed is a noun and a verb, whose module is imported when it is asked for: so
``--help`` is quick, and a vendor's installation needs no server packages.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, Final

import click
import typer
from click.utils import PacifyFlushWrapper
from typer.core import TyperGroup

from twinward import __version__
from twinward.cli import standard_streams
from twinward.cli.demo import demo
from twinward.cli.errors import complain_about_defect
from twinward.cli.groups import MARKUP, Noun
from twinward.cli.output import out, tell
from twinward.cli.what_if import what_if

NOUNS: Final = (
    Noun(
        "node",
        "Make, run and look after a hospital's node.",
        {
            "backup": "node.backup:backup",
            "restore": "node.backup:restore",
            "activate": "node.backup:activate",
            "move": "node.move:move",
            "compact": "node.setup:compact",
            "init": "node.setup:init",
            "serve": "node.setup:serve",
            "status": "node.status:status",
            "doctor": "node.doctor:doctor",
            "tables": "node.setup:tables",
            "add-person": "node.setup:add_person",
            "add-system": "node.setup:add_system",
        },
    ),
    Noun(
        "twin",
        "Patients' twins: import, read now and then, follow, aim, consent, export, shred.",
        {
            "import": "twin.imports:import_",
            "list": "twin.records:list_",
            "show": "twin.records:show",
            "consent": "twin.records:consent",
            "state": "twin.state:state",
            "history": "twin.state:history",
            "export": "twin.records:export",
            "at-time": "twin.state:at_time",
            "set-target": "twin.state:set_target",
            "watch": "twin.watch:watch",
            "shred": "keys.shred:shred",
        },
    ),
    Noun(
        "consent",
        "A patient's consent: versions and what they come to, as FHIR Consent in and out.",
        {"show": "consent:show", "set": "consent:set_"},
    ),
    Noun(
        "live",
        "Live readings: take in, show, sources, quarantine, replay, hours that are over.",
        {
            "take": "live:take",
            "connect": "connect:connect",
            "series": "live:series",
            "sources": "live:sources",
            "quarantine": "live:quarantine",
            "replay": "live:replay",
            "close": "live:close",
        },
    ),
    Noun(
        "alerts",
        "Alerts on live readings: see, acknowledge, silence, try rules on history.",
        {
            "list": "alerts:list_",
            "acknowledge": "alerts:acknowledge",
            "silence": "alerts:silence",
            "rules": "alerts:rules",
            "back-test": "alerts:back_test",
            "webhook": "alerts:webhook",
        },
    ),
    Noun(
        "device",
        "Devices: with whom they are, from when, until when.",
        {"assign": "device:assign", "release": "device:release", "list": "device:list_"},
    ),
    Noun(
        "thing",
        "Things: devices, beds, wards, hospitals, stock; with which patients they are, what happens to them.",
        {
            "add": "thing:add",
            "list": "thing:list_",
            "show": "thing:show",
            "relate": "thing:relate",
            "end": "thing:end",
            "record": "thing:record",
            "history": "thing:history",
            "describe": "thing:describe",
        },
    ),
    Noun(
        "account",
        "See accounts and sessions; tie patients, disable, revoke tokens, reset passwords.",
        {
            "list": "account:list_accounts",
            "show": "account:show",
            "tie": "account:tie",
            "untie": "account:untie",
            "disable": "account:disable",
            "enable": "account:enable",
            "sessions": "account:sessions",
            "sign-out": "account:sign_out",
            "end-sessions": "account:end_sessions",
            "new-token": "account:new_token",
            "revoke-token": "account:revoke_token",
            "add-client": "client_keys:add_client",
            "client-keys": "client_keys:client_keys",
            "certificates": "client_certificates:certificates",
            "link": "identities:link",
            "unlink": "identities:unlink",
            "units": "delegations:units",
            "delegate": "delegations:delegate",
            "end-delegation": "delegations:end_delegation",
            "reset-password": "account:reset_password",
            "expire-password": "account:expire_password",
            "enrol": "second_factor:enrol",
            "unenrol": "second_factor:unenrol",
            "remove-passkey": "second_factor:remove_passkey",
        },
    ),
    Noun(
        "access",
        "Explain decisions of policy and consent; review emergencies.",
        {
            "emergencies": "access:emergencies",
            "review": "access:review",
            "allow": "access:allow",
            "check": "access:check",
        },
    ),
    Noun(
        "policy",
        "The hospital's policy: read it, preview a change, change it together.",
        {
            "show": "policy:show",
            "history": "policy:history",
            "preview": "policy:preview",
            "propose": "policy:propose",
            "approve": "policy:approve",
            "withdraw": "policy:withdraw",
        },
    ),
    Noun(
        "erasure",
        "Erase patients or parts of their records, two officers together, and prove it.",
        {
            "list": "erasure:list_",
            "propose": "erasure:propose",
            "approve": "erasure:approve",
            "withdraw": "erasure:withdraw",
            "receipt": "erasure:receipt",
        },
    ),
    Noun(
        "breach",
        "Breaches of personal data: who is affected, whom to tell, by when.",
        {
            "list": "breach:list_",
            "show": "breach:show",
            "open": "breach:open_",
            "assess": "breach:assess",
            "draft": "breach:draft",
            "note": "breach:note",
            "notify": "breach:notify",
            "close": "breach:close",
            "export": "breach:export",
        },
    ),
    Noun(
        "audit",
        "The access log: read, sign, verify, prove.",
        {
            "list": "audit.log:list_",
            "checkpoint": "audit.log:checkpoint",
            "accept-clock": "audit.log:accept_clock",
            "verify": "audit.log:verify",
            "export": "audit.proofs:export",
            "consistency": "audit.proofs:consistency",
            "verifier": "audit.proofs:verifier",
            "trust": "audit.proofs:trust",
            "check-proof": "audit.proofs:check_proof",
            "review": "audit.review:review",
            "tiles": "audit.files:tiles",
            "gaps": "audit.files:gaps",
            "policy": "audit.files:policy",
        },
    ),
    Noun(
        "witness",
        "Run a witness: co-sign other hospitals' logs, and only if they grew.",
        {
            "create": "witness.run:create",
            "card": "witness.run:card",
            "add-log": "witness.run:add_log",
            "serve": "witness.run:serve",
            "status": "witness.run:status",
            "remember": "witness.run:remember",
            "evidence": "witness.split_views:evidence",
            "compare": "witness.split_views:compare",
        },
    ),
    Noun(
        "consortium",
        "See and change what hospitals share on the chain.",
        {
            "show": "consortium:show",
            "propose": "consortium:propose",
            "enact": "consortium:enact",
            "cancel": "consortium:cancel",
            "renew": "consortium:renew",
        },
    ),
    Noun(
        "outbreak",
        "See outbreaks together: judge daily sums, sign and raise alerts.",
        {"open": "outbreak:open_", "raise": "outbreak:raise_"}
        | {verb: f"outbreak:{verb}" for verb in ("watch", "alerts", "simulate")},
    ),
    Noun(
        "exchange",
        "Lend and borrow what runs short, hospital to hospital.",
        {"open": "exchange.steps:open_", "list": "exchange.shown:list_"}
        | {verb: f"exchange.steps:{verb}" for verb in ("offer", "request", "withdraw", "promise", "ship", "receive")}
        | {verb: f"exchange.steps:{verb}" for verb in ("dispute", "settle", "cancel", "lapse")}
        | {verb: f"exchange.shown:{verb}" for verb in ("suggest", "surge")},
    ),
    Noun(
        "vendor",
        "Ask hospitals which patients are like this one, encrypted.",
        {
            "keygen": "vendor.keys:keygen",
            "schema": "vendor.query:schema",
            "query": "vendor.query:query",
            "feasibility": "vendor.feasibility:feasibility",
            "contact": "vendor.contact:contact",
            "contacts": "vendor.contact:contacts",
            "budget": "vendor.query:budget",
            "results": "vendor.query:results",
            "open": "vendor.releases:open_records",
            "statement": "vendor.statement:statement",
            "check-statement": "vendor.statement:check_statement",
        },
    ),
    Noun(
        "similarity",
        "Encrypted similarity queries, as the hospital sets them up.",
        {
            "rebuild-history": "similarity:rebuild_history",
            "key": "similarity:key",
            "plan": "similarity:plan",
            "refresh": "similarity:refresh",
            "freeze": "similarity:freeze",
            "thaw": "similarity:thaw",
        },
    ),
    Noun(
        "study",
        "Private studies across hospitals: write a protocol, see its cost, run it, report on it.",
        {
            "new": "study.protocol:new",
            "check": "study.protocol:check",
            "keygen": "study.invitations:keygen",
            "invite": "study.invitations:invite",
            "approve": "study.invitations:approve",
            "approvals": "study.invitations:approvals",
            "flower": "study.flower:flower",
            "run": "study.run:run",
            "suspects": "study.suspects:suspects",
            "quarantine": "study.suspects:quarantine",
            "report": "study.models:report",
            "score": "study.score:score",
            "export": "study.models:export",
            "models": "study.models:models",
            "card": "study.models:card",
        },
    ),
    Noun(
        "site",
        "This hospital's part in studies, as a daemon that answers approved ones.",
        {"serve": "site.serve:serve", "flower": "site.flower:flower"},
    ),
    Noun(
        "keys",
        "The keyring: state, rotation, erasing a person, officers' shares.",
        {
            "status": "keys.keyring:status",
            "rotate": "keys.keyring:rotate",
            "rotate-log": "keys.log_key:rotate_log",
            "retire": "keys.keyring:retire",
            "split": "keys.shares:split",
            "seal": "keys.shares:seal",
            "unseal": "keys.shares:unseal",
            "shred": "keys.shred:shred",
            "finish": "keys.shred:finish",
            "check-receipt": "keys.shred:check_receipt",
        },
    ),
    Noun(
        "disclosure",
        "Hand a patient's records to one recipient, sealed to the recipient's key.",
        {"public": "vendor.disclosure:public", "seal": "vendor.disclosure:seal", "open": "vendor.disclosure:open_"},
    ),
)


class _Root(TyperGroup):
    """The nouns, behind the verbs that stand alone."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for noun in NOUNS:
            self.add_command(noun)


app = typer.Typer(
    name="twinward",
    cls=_Root,
    help="Patients' digital twins: sealed at rest, every access logged, queried and trained on without being shown.",
    epilog="First time? `twinward demo` runs everything on this machine, then `twinward node serve` opens the console.",
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo)
app.command("what-if")(what_if)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Options before the subcommand."""
    del version  # it has been shown
    if context.obj is _ENTRY_POINT:
        from twinward.cli.logs import configure_logs  # not for --help: structlog is slow to load

        configure_logs()


_ENTRY_POINT: Final = object()
"""Marks a run of this process's own command line, not of a test in a process of its own."""


def run() -> None:
    """Entry point: the exit code says what went wrong (see twinward/core/errors.py), and nobody sees a traceback."""
    os.umask(0o077)  # whatever a command writes is for this user alone
    standard_streams.prepare()
    try:
        try:
            app(standalone_mode=True, obj=_ENTRY_POINT)
        finally:
            if isinstance(sys.stdout, PacifyFlushWrapper):  # click met a broken pipe
                raise BrokenPipeError
            standard_streams.flush()
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except (BrokenPipeError, standard_streams.ReaderGone):
        standard_streams.give_up()
        sys.exit(141)
    except standard_streams.OutputLost as lost:
        standard_streams.give_up()
        tell(f"error: {lost}; what the command did stands")
        sys.exit(74)  # EX_IOERR
    except Exception as error:  # noqa: BLE001 - the last resort; TWINWARD_DEBUG=1 shows the traceback
        complain_about_defect(error)
        sys.exit(70)  # EX_SOFTWARE of sysexits.h
