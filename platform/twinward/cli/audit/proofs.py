"""``twinward audit export``, ``consistency``, ``verifier`` and ``trust``: what an auditor is handed, as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.audit.exports import ExportFormat
from twinward.cli.audit.files import read_policy
from twinward.cli.context import audit_permit, node_at, trust_in
from twinward.cli.errors import errors_taught
from twinward.cli.input import read_input
from twinward.cli.output import HomeOption, JsonOption, OutputFile, progress, say, show_json
from twinward.core.errors import BadInput
from twinward.core.vocabulary import TwinId

if TYPE_CHECKING:
    from twinward.audit.proofs.trust import Proven
    from twinward.node import Node
    from twinward_ledger.proofs.report_verifier import ReportVerdict

MAX_INDEX = 2**53 - 1


def export(
    target: Annotated[Path, typer.Option("--out", help="Where to write it; must not exist. '-' prints it.")],
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
        to = OutputFile(target, as_json=as_json)
        if (index is None) == (patient is None):
            raise BadInput("give the index of an event, or --patient", hint="`twinward audit list` shows indices")
        if (disclose or patient is not None) and account is None:
            raise BadInput("whoever discloses an event says who: --as is missing")
        if patient is not None and account is not None:
            _export_patient(node, TwinId(patient), form, to, account)
        elif index is not None:
            _export_event(node, index, to, account if disclose else None)


def _export_patient(node: Node, twin: TwinId, form: ExportFormat, to: OutputFile, account: str) -> None:
    from twinward.audit.exports import Printing, render
    from twinward.core.clock import iso

    permit = audit_permit(node, account, f"export {form.value}", twin)
    with progress() as bars:
        proving = bars.add_task("opening and proving", total=None)
        document = node.audit_reader.document(
            permit,
            twin,
            hospital=node.settings.hospital,
            at_ms=node.clock.now_ms(),
            told=lambda done, rows: bars.update(proving, completed=done, total=rows),
        )
        task = bars.add_task(form.value, total=len(document.rows), visible=form is ExportFormat.PDF)
        printing = Printing(node.settings.print_fonts, lambda done: bars.update(task, completed=done))
        to.write(render(document, form, printing))
    as_of = iso(document.complete_ms)[:16].replace("T", " ")
    accesses, through = len(document.rows), document.verdict.through
    shown = {"patient": twin, "file": str(to), "format": form.value, "accesses": accesses}
    to.report(
        shown | {"erased": document.erased, "through": through, "as_of": as_of},
        f"{accesses} accesses in {to}, all there are among the first {through} entries",
        f"as of {as_of} UTC; newer ones come with the next `twinward audit checkpoint`",
    )


def _export_event(node: Node, index: int, to: OutputFile, account: str | None) -> None:
    if account is not None:
        bundle = node.audit_reader.disclose(audit_permit(node, account, f"disclose {index}"), index)
    else:
        bundle = node.audit.proofs.inclusion(index)
    to.write(bundle.encode())
    shown = {"index": index, "file": str(to), "disclosed": bundle.opening is not None}
    included = ", the event itself included" if account is not None else ""
    to.report(shown | {"anchored": bundle.anchor is not None}, f"event {index} proven in {to}{included}")


def consistency(
    old: Annotated[int, typer.Argument(min=1, max=MAX_INDEX, help="The size you saw last.")],
    new: Annotated[int, typer.Argument(min=1, max=MAX_INDEX, help="The size of the checkpoint you have now.")],
    target: Annotated[Path, typer.Option("--out", help="Where to write the proof; must not exist. '-' prints it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the proof that the log only grew from one size to another: for an auditor who keeps a receipt.

    Exit codes: 0, 3 the log is not that large, 4 the file exists.

    Example: twinward audit consistency 120 480 --out growth.json
    """
    with node_at(home, as_json=as_json) as node:
        to = OutputFile(target, as_json=as_json)
        to.write(node.audit.proofs.consistency_file(old, new))
        shown: dict[str, object] = {"old": old, "new": new, "file": str(to)}
        to.report(shown, f"the log's growth from {old} to {new} entries proven in {to}")


def verifier(
    target: Annotated[Path, typer.Option("--out", help="Where to write it; must not exist. '-' prints it.")],
    as_json: JsonOption = False,
) -> None:
    """Write the stand-alone verifier: one file of Python that checks proofs and reports without this software.

    It needs Python 3.11 and the package cryptography, no network. Exit codes: 0, 4 the file exists.

    Example: twinward audit verifier --out twinward-verify
    """
    with errors_taught(as_json=as_json):
        from importlib.resources import files

        to = OutputFile(target, as_json=as_json)
        to.write(files("twinward_ledger.standalone").joinpath("twinward_verify.py").read_bytes())
        if target.is_file():
            target.chmod(0o755)
        to.report({"file": str(to)}, f"written to {to}; try: python3 {target} --help")


def trust(
    target: Annotated[Path | None, typer.Option("--out", help="Where to write it instead of printing it.")] = None,
    home: HomeOption = None,
) -> None:
    """Print whom an auditor of this log believes: its keys, the witnesses', the contract. All of it is public.

    Hand it over some other way than the proofs: who could swap both could prove anything. Exit codes: 0, 3 no node in
    the home, 4 the file exists.

    Example: twinward audit trust --out st-anna.trust.json
    """
    with node_at(home, as_json=False) as node:
        content = node.trust().shown()
        if target is None:
            show_json(content)
            return
        import json

        to = OutputFile(target, as_json=False)
        to.write((json.dumps(content, indent=2) + "\n").encode())
        to.report({}, f"trust file written to {to}")


MAX_REPORT_BYTES = 256 << 20


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

    Exit codes: 0 it holds, 2 not a proof or trust file, 3 neither --trust nor a node, 8 it does not hold.

    Example: twinward audit check-proof event-17.proof --trust st-anna.trust.json
    """
    with errors_taught(as_json=as_json):
        from twinward.audit.proofs import trust as trusting

        raw = read_input(file, most=MAX_REPORT_BYTES)
        rule = None if policy is None else read_policy(policy)
        believed = trust_in(trust_file, home)
        if raw.startswith(b"{"):
            _show_report(trusting.check_report(raw, believed, rule), as_json=as_json)
        else:
            _show_proven(trusting.check_proof(raw, believed, rule), as_json=as_json)


def _show_proven(proven: Proven, *, as_json: bool) -> None:
    from twinward.audit.events.wording import event_sentence
    from twinward.core.clock import iso
    from twinward_ledger.formats.leaf import MINUTE_MS

    verdict, anchor = proven.verdict, proven.verdict.anchor
    minute = iso(verdict.leaf.minute * MINUTE_MS)[:16].replace("T", " ")
    names = [name for name, _ in verdict.cosigned]
    said = None if proven.event is None else f"{event_sentence(proven.event)} ({proven.event.decision})"
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
    from twinward.audit.events.wording import event_sentence
    from twinward.audit.proofs.trust import events_of

    origin, names = verdict.checkpoint.origin, [name for name, _ in verdict.cosigned]
    read = events_of(verdict)
    rows = [
        {"index": row.index, "event": None if event is None else f"{event_sentence(event)} ({event.decision})"}
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
