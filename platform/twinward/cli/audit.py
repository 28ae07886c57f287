"""``twinward audit``: read the access log, sign it, verify it, take proofs out and check them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.audit.export_format import ExportFormat
from twinward.cli.log_files import read_policy
from twinward.cli.opening import AsOption, audit_permit, node_at
from twinward.cli.screen import HomeOption, JsonOption, err, errors_taught, out, read_input, say, show_json, table
from twinward.errors import BadInput, Conflict, NotFound
from twinward.vocabulary import Action, Role, TwinId

if TYPE_CHECKING:
    from twinward.audit.errors import LogTampered
    from twinward.audit.trust import Proven
    from twinward.node import Node
    from twinward_ledger.report_verifier import ReportVerdict

app = typer.Typer(help="The access log: read, sign, verify, prove.", no_args_is_help=True)

MAX_INDEX = 2**53 - 1
MAX_REPORT_BYTES = 256 << 20


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
        int | None, typer.Option(min=0, max=MAX_INDEX, help="Go on below this index.", show_default="the newest")
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
        from twinward.api.audit import row_json
        from twinward.audit.reader import Filters
        from twinward.audit.wording import row_sentence
        from twinward.clock import iso

        if decision not in (None, "permit", "deny"):
            raise BadInput("a decision is permit or deny")
        filters = Filters(TwinId(twin) if twin else None, agent, role, action, decision)
        permit = audit_permit(node, account, "events")
        page = node.audit_reader.events(permit, before=before, limit=limit, filters=filters)
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


@app.command()
def export(
    target: Annotated[Path, typer.Option("--out", help="Where to write it; must not exist.")],
    index: Annotated[
        int | None, typer.Argument(min=0, max=MAX_INDEX, help="An event's place in the log.", show_default=False)
    ] = None,
    patient: Annotated[
        str | None, typer.Option("--patient", help="All accesses to this twin instead; needs --as.")
    ] = None,
    form: Annotated[
        ExportFormat, typer.Option("--format", help="How a patient's accesses are written.")
    ] = ExportFormat.PROOF,
    disclose: Annotated[
        bool, typer.Option("--disclose", help="Put the event itself into the file; needs --as.")
    ] = False,
    account: Annotated[str | None, typer.Option("--as", help="The officer who discloses it.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the proof that one event is in the log, or all accesses to one patient with the proof that none is missing.

    An auditor needs the proof file and `audit trust`, no node. A patient's export is itself an access and is logged;
    it is complete up to the newest `audit checkpoint`. Exit codes: 0, 2 --disclose or --patient without --as, 3 no
    such event, or no checkpoint covers it, 4 the file exists, 6 the account is no officer's.

    Example: twinward audit export 17 --out event-17.proof --disclose --as olga
    Example: twinward audit export --patient 01941f29-7c00-7000-8000-000000000001 --format pdf --out anna.pdf --as olga
    """
    with node_at(home, as_json=as_json) as node:
        if target.exists():
            raise Conflict(f"{target} exists", hint="give another --out")
        if (index is None) == (patient is None):
            raise BadInput("give the index of an event, or --patient", hint="`twinward audit list` shows indices")
        if (disclose or patient is not None) and account is None:
            raise BadInput("whoever discloses an event says who: --as is missing")
        if patient is not None and account is not None:
            _export_patient(node, TwinId(patient), form, target, account, as_json=as_json)
        elif index is not None:
            _export_event(node, index, target, account if disclose else None, as_json=as_json)


def _export_patient(node: Node, twin: TwinId, form: ExportFormat, target: Path, account: str, *, as_json: bool) -> None:
    from twinward.audit.exports import render
    from twinward.clock import iso

    permit = audit_permit(node, account, f"export {form.value}", twin)
    document = node.audit_reader.document(permit, twin, hospital=node.settings.hospital, at_ms=node.clock.now_ms())
    _write(target, render(document, form))
    as_of = iso(document.complete_ms)[:16].replace("T", " ")
    if as_json:
        shown = {"patient": twin, "file": str(target), "format": form.value, "accesses": len(document.rows)}
        show_json(shown | {"erased": document.erased, "through": document.verdict.through, "as_of": as_of})
        return
    say(f"{len(document.rows)} accesses in {target}, all there are among the first {document.verdict.through} entries")
    say(f"as of {as_of} UTC; newer ones come with the next `twinward audit checkpoint`")


def _export_event(node: Node, index: int, target: Path, account: str | None, *, as_json: bool) -> None:
    if account is not None:
        bundle = node.audit_reader.disclose(audit_permit(node, account, f"disclose {index}"), index)
    else:
        bundle = node.audit.proofs.inclusion(index)
    _write(target, bundle.encode())
    if as_json:
        disclosed = bundle.opening is not None
        show_json({"index": index, "file": str(target), "disclosed": disclosed, "anchored": bundle.anchor is not None})
    else:
        say(f"event {index} proven in {target}" + (", the event itself included" if account is not None else ""))


@app.command()
def consistency(
    old: Annotated[int, typer.Argument(min=1, max=MAX_INDEX, help="The size you saw last.")],
    new: Annotated[int, typer.Argument(min=1, max=MAX_INDEX, help="The size of the checkpoint you have now.")],
    target: Annotated[Path, typer.Option("--out", help="Where to write the proof; must not exist.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the proof that the log only grew from one size to another: for an auditor who keeps a receipt.

    Exit codes: 0, 3 the log is not that large, 4 the file exists.

    Example: twinward audit consistency 120 480 --out growth.json
    """
    with node_at(home, as_json=as_json) as node:
        if target.exists():
            raise Conflict(f"{target} exists", hint="give another --out")
        from twinward.audit.growth import growth_file

        _write(target, growth_file(node.log.origin, old, new, node.audit.proofs.consistency(old, new)))
        if as_json:
            show_json({"old": old, "new": new, "file": str(target)})
        else:
            say(f"the log's growth from {old} to {new} entries proven in {target}")


@app.command()
def verifier(
    target: Annotated[Path, typer.Option("--out", help="Where to write it; must not exist.")],
    as_json: JsonOption = False,
) -> None:
    """Write the stand-alone verifier: one file of Python that checks proofs and reports without this software.

    It needs Python 3.11 and the package cryptography, no network. Exit codes: 0, 4 the file exists.

    Example: twinward audit verifier --out twinward-verify
    """
    with errors_taught(as_json=as_json):
        from importlib.resources import files

        if target.exists():
            raise Conflict(f"{target} exists", hint="give another --out")
        _write(target, files("twinward_ledger").joinpath("twinward_verify.py").read_bytes())
        target.chmod(0o755)
        if as_json:
            show_json({"file": str(target)})
        else:
            say(f"written to {target}; try: python3 {target} --help")


@app.command()
def trust(
    target: Annotated[Path | None, typer.Option("--out", help="Where to write it instead of printing it.")] = None,
    home: HomeOption = None,
) -> None:
    """Print whom an auditor of this log believes: its key, the witnesses', the contract. All of it is public.

    Hand it over some other way than the proofs: who could swap both could prove anything. Exit codes: 0, 3 no node in
    the home, 4 the file exists.

    Example: twinward audit trust --out st-anna.trust.json
    """
    with node_at(home, as_json=False) as node:
        from twinward.node.trust import trust_of

        content = trust_of(node).model_dump(mode="json", exclude_none=True)
        if target is None:
            show_json(content)
            return
        if target.exists():
            raise Conflict(f"{target} exists", hint="give another --out")
        import json

        _write(target, (json.dumps(content, indent=2) + "\n").encode())
        say(f"trust file written to {target}")


@app.command("check-proof")
def check_proof(
    file: Annotated[Path, typer.Argument(help="What `audit export` wrote.")],
    trust_file: Annotated[
        Path | None, typer.Option("--trust", help="What `audit trust` wrote.", show_default="the node in the home")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A quorum policy: who must have co-signed.", show_default="a number of them")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check an exported proof or report offline: leaves, paths, completeness, signatures, anchor, disclosed events.

    Exit codes: 0 it holds, 2 not a proof or trust file, 8 it does not hold.

    Example: twinward audit check-proof event-17.proof --trust st-anna.trust.json
    """
    with errors_taught(as_json=as_json):
        from twinward.audit import trust as trusting

        raw = read_input(file, most=MAX_REPORT_BYTES)
        rule = None if policy is None else read_policy(policy)
        if trust_file is not None:
            believed = trusting.Trust.parse(read_input(trust_file))
        else:
            with node_at(home, as_json=as_json) as node:
                from twinward.node.trust import trust_of

                believed = trust_of(node)
        if raw.startswith(b"{"):
            _show_report(trusting.check_report(raw, believed, rule), as_json=as_json)
        else:
            _show_proven(trusting.check_proof(raw, believed, rule), as_json=as_json)


def _show_proven(proven: Proven, *, as_json: bool) -> None:
    from twinward.audit.wording import sentence
    from twinward.clock import iso
    from twinward_ledger.leaf import MINUTE_MS

    verdict, anchor = proven.verdict, proven.verdict.anchor
    minute = iso(verdict.leaf.minute * MINUTE_MS)[:16].replace("T", " ")
    names = [name for name, _ in verdict.cosigned]
    said = None if proven.event is None else f"{sentence(proven.event)} ({proven.event.decision})"
    block = None if anchor is None else anchor.block_number
    if as_json:
        shown: dict[str, Any] = {"holds": True, "index": verdict.index, "minute": minute, "cosigned": names}
        show_json(shown | {"size": verdict.checkpoint.size, "block": block, "event": said})
        return
    say(f"holds: event {verdict.index} of {verdict.checkpoint.origin}, logged {minute} UTC")
    say(f"under a checkpoint of {verdict.checkpoint.size} events, co-signed by {', '.join(names)}")
    say("not anchored when it was exported" if anchor is None else f"a quorum signed its anchor; block {block}")
    say(f"it says: {said}" if said else "the event itself is not disclosed")


def _show_report(verdict: ReportVerdict, *, as_json: bool) -> None:
    from twinward.audit import event_format
    from twinward.audit.wording import sentence

    origin, names = verdict.checkpoint.origin, [name for name, _ in verdict.cosigned]
    read = [None if row.event is None else event_format.decode(row.event, origin) for row in verdict.rows]
    rows = [
        {"index": row.index, "event": None if event is None else f"{sentence(event)} ({event.decision})"}
        for row, event in zip(verdict.rows, read, strict=True)
    ]
    if as_json:
        shown: dict[str, Any] = {"holds": True, "patient": verdict.subject, "through": verdict.through}
        show_json(shown | {"size": verdict.checkpoint.size, "cosigned": names, "rows": rows})
        return
    say(
        f"holds: {len(rows)} accesses to {verdict.subject}, all there are among the first {verdict.through} of {origin}"
    )
    say(f"under a checkpoint of {verdict.checkpoint.size} entries, co-signed by {', '.join(names)}")
    for row in rows:
        say(f"{row['index']:>8}  {row['event'] or 'erased; that it happened still stands'}")


def _tampered(error: LogTampered, *, as_json: bool) -> None:
    if as_json:
        shown = {"sound": False, "first_bad_index": error.first_bad_index, "message": str(error)}
        show_json(shown | {"hint": error.hint})
        return
    where = "unknown: its own records of itself were changed"
    err.print(f"[bold red]tampered with[/]: {_plain(str(error))}", soft_wrap=True)
    err.print(f"first bad index: {where if error.first_bad_index is None else error.first_bad_index}", soft_wrap=True)
    err.print(f"[dim]what to do[/]: {_plain(error.hint)}", soft_wrap=True)


def _write(target: Path, content: bytes) -> None:
    from twinward.node import write_private

    try:
        write_private(target, content)
    except OSError as error:
        raise BadInput(f"{target} cannot be written: {error.strerror}") from None


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
