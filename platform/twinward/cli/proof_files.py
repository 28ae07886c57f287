"""``twinward audit export``, ``consistency``, ``verifier`` and ``trust``: what an auditor is handed, as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.audit.export_format import ExportFormat
from twinward.cli.opening import audit_permit, node_at
from twinward.cli.screen import HomeOption, JsonOption, errors_taught, say, show_json
from twinward.errors import BadInput, Conflict
from twinward.vocabulary import TwinId

if TYPE_CHECKING:
    from twinward.node import Node

MAX_INDEX = 2**53 - 1


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
        _require_new(target)
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
        _require_new(target)
        from twinward.audit.growth import growth_file

        _write(target, growth_file(node.log.origin, old, new, node.audit.proofs.consistency(old, new)))
        if as_json:
            show_json({"old": old, "new": new, "file": str(target)})
        else:
            say(f"the log's growth from {old} to {new} entries proven in {target}")


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

        _require_new(target)
        _write(target, files("twinward_ledger").joinpath("twinward_verify.py").read_bytes())
        target.chmod(0o755)
        if as_json:
            show_json({"file": str(target)})
        else:
            say(f"written to {target}; try: python3 {target} --help")


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
        _require_new(target)
        import json

        _write(target, (json.dumps(content, indent=2) + "\n").encode())
        say(f"trust file written to {target}")


def _require_new(target: Path) -> None:
    if target.exists():
        raise Conflict(f"{target} exists", hint="give another --out")


def _write(target: Path, content: bytes) -> None:
    from twinward.node import write_private

    try:
        write_private(target, content)
    except OSError as error:
        raise BadInput(f"{target} cannot be written: {error.strerror}") from None
