"""``twinward audit``: read the access log, sign it, verify it. Proofs and the log's files have modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli import proof_checking, proof_files
from twinward.cli.opening import AsOption, audit_permit, node_at
from twinward.cli.proof_files import MAX_INDEX
from twinward.cli.screen import HomeOption, JsonOption, err, out, say, show_json, table
from twinward.errors import BadInput, NotFound
from twinward.vocabulary import Action, Role, TwinId

if TYPE_CHECKING:
    from twinward.audit.errors import LogTampered
    from twinward.audit.reader import Page

app = typer.Typer(help="The access log: read, sign, verify, prove.", no_args_is_help=True)


@app.callback()
def _audit() -> None:
    """The access log: read, sign, verify, prove."""


@app.command("list")
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
        from twinward.audit.reader import Filters

        if decision not in (None, "permit", "deny"):
            raise BadInput("a decision is permit or deny")
        filters = Filters(TwinId(twin) if twin else None, agent, role, action, decision)
        permit = audit_permit(node, account, "events")
        _show_page(node.audit_reader.events(permit, before=before, limit=limit, filters=filters), as_json=as_json)


@app.command()
def checkpoint(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Sign the log as it is, have the other hospitals co-sign it, anchor it on the chain.

    A chain that is down stops nothing: the checkpoint is kept and anchored later. Exit codes: 0, 7 too few witnesses
    signed, 8 the log is not what was signed before.

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
        say(f"not anchored yet: {done.problem}" if done.problem else f"anchored, block {block}")


@app.command()
def verify(
    file: Annotated[Path | None, typer.Option(help="A copy of log.db instead of the node's own.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also open every event and hold it against its leaf.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hash every leaf again and hold the log against everything that was ever signed. Shows no event.

    Exit codes: 0 sound, 3 no such file, 7 it cannot be read, 8 tampered with: the first bad index is named.

    Example: twinward audit verify --file ./backup/log.db --deep
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.audit.errors import LogTampered

        if file is not None and not file.is_file():
            raise NotFound(f"there is no file {file}")
        try:
            report = node.audit.verify(file, deep=deep)
        except LogTampered as error:
            _tampered(error, as_json=as_json)
            raise typer.Exit(error.exit_code) from None
        if as_json:
            shown = {"sound": True, "size": report.size, "root": report.root.hex(), "signed": report.signed_size}
            shown |= {"map_heads": report.map_heads, "map_covered": report.map_covered}
            opened = {"opened": report.opened, "erased": report.erased} if deep else {}
            show_json(shown | {"checkpoints": report.checkpoints} | opened)
            return
        say(f"sound: {report.size} leaves hashed again, {report.signed_size} of them signed")
        say(f"root {report.root.hex()}; {report.checkpoints} signed checkpoints agree")
        say(f"{report.map_heads} completeness maps built again; the newest covers {report.map_covered} entries")
        if deep:
            say(f"{report.opened} events opened and held against their leaves, {report.erased} erased")


app.command("export")(proof_files.export)
app.command("consistency")(proof_files.consistency)
app.command("verifier")(proof_files.verifier)
app.command("trust")(proof_files.trust)
app.command("check-proof")(proof_checking.check_proof)


def _show_page(page: Page, *, as_json: bool) -> None:
    from twinward.api.audit import row_json
    from twinward.audit.wording import row_sentence
    from twinward.clock import iso

    if as_json:
        show_json({"events": [row_json(row) for row in page.rows], "before": page.before})
        return
    shown = table("#", "when (UTC)", "decision", "what")
    for row in page.rows:
        verdict = row.event.decision if row.event else row.state.value
        shown.add_row(str(row.index), iso(row.minute_ms)[:16].replace("T", " "), verdict, _plain(row_sentence(row)))
    out.print(shown)
    if page.before is not None:
        err.print(f"older ones: --before {page.before}", markup=False)


def _tampered(error: LogTampered, *, as_json: bool) -> None:
    if as_json:
        shown = {"sound": False, "first_bad_index": error.first_bad_index, "message": str(error)}
        show_json(shown | {"hint": error.hint})
        return
    where = "unknown: its own records of itself were changed"
    err.print(f"[bold red]tampered with[/]: {_plain(str(error))}", soft_wrap=True)
    err.print(f"first bad index: {where if error.first_bad_index is None else error.first_bad_index}", soft_wrap=True)
    err.print(f"[dim]what to do[/]: {_plain(error.hint)}", soft_wrap=True)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
