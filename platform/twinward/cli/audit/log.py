"""``twinward audit``: read the access log, sign it, verify it. Proofs and the log's files have modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from twinward.cli.audit.proofs import MAX_INDEX
from twinward.cli.context import AsOption, audit_permit, context_of, node_at
from twinward.cli.input import confirm, require_file
from twinward.cli.output import HomeOption, JsonOption, YesOption, counted, err, say, show_json, show_table, table
from twinward.core.errors import BadInput, Conflict
from twinward.core.vocabulary import Action, Purpose, Role, TwinId

if TYPE_CHECKING:
    from twinward.audit.errors import LogTampered
    from twinward.audit.models import Page
    from twinward.audit.status import VerifyReport


def list_(
    account: AsOption,
    twin: Annotated[str | None, typer.Option(help="Only this twin's.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only this account's.")] = None,
    role: Annotated[Role | None, typer.Option(help="Only this role's.")] = None,
    action: Annotated[Action | None, typer.Option(help="Only this action.")] = None,
    decision: Annotated[str | None, typer.Option(help="Only permit, or only deny.")] = None,
    before: Annotated[
        int | None,
        typer.Option(min=0, max=MAX_INDEX, help="Go on below this index.", show_default="the newest"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Events on a page.")] = 50,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print events, newest first, as sentences. Reading the log is an access and is logged, too.

    Exit codes: 0, 2 a bad filter, 3 no such account, 6 the account is no officer's.

    Example: twinward audit list --as olga --decision deny --limit 20
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.audit.models import Filters

        if decision not in (None, "permit", "deny"):
            raise BadInput("a decision is permit or deny")
        filters = Filters(TwinId(twin) if twin else None, agent, role, action, decision)
        permit = audit_permit(node, account, "events")
        _show_page(node.audit_reader.events(permit, before=before, limit=limit, filters=filters), as_json=as_json)


def checkpoint(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Sign the log as it is, have the other hospitals co-sign it, anchor it on the chain.

    A chain that is down stops nothing: the checkpoint is kept and anchored later. Exit codes: 0, 7 too few witnesses
    signed or this machine's clock is far ahead, 8 the log is not what was signed before.

    Example: twinward audit checkpoint
    """
    with node_at(home, as_json=as_json) as node:
        done = node.audit.checkpoint_and_anchor()
        block = None if done.anchor is None else done.anchor.block_number
        if as_json:
            shown = {"size": done.checkpoint.size, "root": done.checkpoint.root.hex(), "cosigned": done.cosigned}
            rest = {"refusals": dict(done.refusals), "block": block, "pending": done.pending, "problem": done.problem}
            show_json(shown | rest)
            return
        say(f"{done.checkpoint.size} events under root {done.checkpoint.root.hex()}")
        say(f"co-signed by {', '.join(done.cosigned) or 'nobody'}")
        for name, reason in done.refusals:
            say(f"{name} refused: {reason}")
        at = "in which block is no longer known here" if block is None else f"block {block}"
        say(f"not anchored yet: {done.problem}" if done.problem else f"anchored, {at}")


def accept_clock(
    account: AsOption,
    justification: Annotated[str, typer.Option(help="Why: it stands in the log.")],
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on where the clock is doubted: it leapt far ahead, or was ahead when the log was last anchored.

    First look at the clock. If it is wrong, set it right, and do nothing here: checkpoints go on. If it is right and
    the log rested for long, this says so. If it was ahead once, anchors are dated as the last one until its time came.
    What is accepted, by whom and why stands in the log before anything changes. Exit codes: 0, 1 you said no, 2 nobody
    to ask and no --yes, 3 no such account, 4 the clock is not doubted, 6 the account is no officer's (also logged).

    Example: twinward audit accept-clock --as olga --justification "off for a quarter, clock compared with a phone"
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access import justification as reasons
        from twinward.node.errors import translated

        if not reasons.is_sufficient(justification):
            raise BadInput("say in a sentence why", hint='e.g. --justification "off for a quarter, clock compared"')
        with translated():
            doubt = node.audit.anchorer.clock_doubt()
        if doubt is None:
            raise Conflict("the clock is not doubted", hint="there is nothing to accept")
        if not as_json:
            say(str(doubt))
        confirm("Accept it? The log will say that you did.", yes=yes)
        context = context_of(node, account, Purpose.COMPLIANCE, justification)
        node.access.decide(context.request(Action.AUDIT, detail=(("page", "clock"), ("accepted", str(doubt)))))
        with translated():
            node.audit.anchorer.accept(doubt)
        if as_json:
            show_json(
                {"accepted": "clock" if doubt.leap else "anchor", "clock_s": doubt.clock_s, "known_s": doubt.known_s}
            )
        else:
            say("accepted; `twinward audit checkpoint` goes on")


def verify(
    file: Annotated[Path | None, typer.Option(help="A copy of log.db instead of the node's own.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also open every event and hold it against its leaf.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hash every leaf again and hold the log against everything that was ever signed. Shows no event.

    The consents, too, are held against what the log recorded of them. Exit codes: 0 sound, 3 no such file, 7 it cannot
    be read, 8 tampered with: the first bad index is named, or what is wrong with consents or accounts.

    Example: twinward audit verify --file ./backup/log.db --deep
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.audit.errors import LogTampered

        if file is not None:
            require_file(file, "a copy of log.db")
        try:
            report = node.audit.verify(file, deep=deep)
        except LogTampered as error:
            _tampered(error, as_json=as_json)
            raise typer.Exit(error.exit_code) from None
        if not as_json:
            _show_report(report, deep=deep)
        stores = node.verify_stores(report.heads) if file is None else {}
        if as_json:
            shown = {"sound": True, "size": report.size, "root": report.root.hex(), "signed": report.signed_size}
            shown |= {"map_heads": report.map_heads, "map_covered": report.map_covered}
            opened = {"opened": report.opened, "erased": report.erased} if deep else {}
            show_json(shown | {"checkpoints": report.checkpoints, "stores": stores} | opened)
            return
        for name, changes in stores.items():
            say(f"{name}: {changes} changes, chained, and none that the log recorded is missing")


def _show_report(report: VerifyReport, *, deep: bool) -> None:
    """What is sound about a log, for people."""
    say(f"sound: {report.size} leaves hashed again, {report.signed_size} of them signed")
    agree = counted(report.checkpoints, "signed checkpoint agrees", "signed checkpoints agree")
    say(f"root {report.root.hex()}; {agree}")
    maps = counted(report.map_heads, "completeness map", "completeness maps")
    say(f"{maps} built again; the newest covers {report.map_covered} entries")
    if deep:
        say(f"{report.opened} events opened and held against their leaves, {report.erased} erased")


def _show_page(page: Page, *, as_json: bool) -> None:
    from twinward.audit.events.wording import row_sentence
    from twinward.core.clock import iso
    from twinward.overview.log import event_json

    if as_json:
        show_json({"events": [event_json(row) for row in page.rows], "before": page.before})
        return
    shown = table("#", "when (UTC)", "decision", "what")
    for row in page.rows:
        verdict = row.event.decision if row.event else row.state.value
        shown.add_row(str(row.index), iso(row.minute_ms)[:16].replace("T", " "), verdict, row_sentence(row))
    show_table(shown)
    if page.before is not None:
        err.print(f"older ones: --before {page.before}", markup=False)


def _tampered(error: LogTampered, *, as_json: bool) -> None:
    if as_json:
        shown = {"sound": False, "first_bad_index": error.first_bad_index, "message": str(error)}
        show_json(shown | {"hint": error.hint})
        return
    where = "unknown: its own records of itself were changed"
    err.print(f"[bold red]tampered with[/]: {escape(str(error))}", soft_wrap=True)
    err.print(f"first bad index: {where if error.first_bad_index is None else error.first_bad_index}", soft_wrap=True)
    err.print(f"[dim]what to do[/]: {escape(error.hint)}", soft_wrap=True)
