"""``twinward twin``: bring patients in, list their twins, read through the gate, set consent; see ``twin_state``."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from twinward.cli import shredding, watching
from twinward.cli.opening import AsOption, TwinArgument, node_at, request_of, twin_of
from twinward.cli.screen import HomeOption, JsonOption, err, out, progress, read_input, say, show_json
from twinward.cli.twin_state import add_state
from twinward.errors import BadInput, Conflict, NotFound, TwinwardError
from twinward.vocabulary import Action, Category, Purpose, TwinId

if TYPE_CHECKING:
    from rich.progress import Progress

    from twinward.fhir.importer import BadFile
    from twinward.fhir.validate import Depth
    from twinward.node import Node
    from twinward.twins.models import PatientImport, Receipt
    from twinward.vault.interfaces import Record

_SHRED_HELP = (shredding.shred.__doc__ or "").replace("twinward keys shred", "twinward twin shred")

SHOWN_OF_A_REASON = 5
"""How many of an import's items that were refused for one and the same reason are named one by one."""

app = typer.Typer(
    help="Patients' twins: import, read now and then, follow, aim, consent, export, shred.", no_args_is_help=True
)


@app.callback()
def _twin() -> None:
    """Patients' twins: import, read, follow, set aims, consent, export, shred."""


@dataclass
class _Tally:
    """What became of an import."""

    patients: int = 0
    new_twins: int = 0
    changes: dict[str, int] = field(default_factory=lambda: {"created": 0, "updated": 0, "unchanged": 0})
    refused: list[dict[str, str]] = field(default_factory=list)

    def landed(self, receipt: Receipt, *, is_patient: bool) -> None:
        self.patients += is_patient
        self.new_twins += receipt.created and is_patient
        for change in self.changes:
            self.changes[change] += receipt.count(change)

    def refuse(self, source: str, error: TwinwardError) -> None:
        self.refused.append({"file": source, "message": str(error), "hint": error.hint})


@app.command("import")
def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(help="FHIR R4 bundles (.json), bulk NDJSON (.ndjson), also .gz; folders of them."),
    ],
    full: Annotated[bool, typer.Option("--full", help="Validate every field, not only the structure; slower.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal patients' bundles and NDJSON. What is bad is named and left out; the rest lands. Twice changes nothing.

    A bundle is taken whole or not at all, NDJSON line by line. Killed at any point, the same import goes on.

    Exit codes: 0 all landed, 2 some were refused (or nothing to import), 3 no node in the home.

    Example: twinward twin import ./bundles Patient.ndjson Observation.ndjson.gz
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.fhir.importer import find_files
        from twinward.fhir.ndjson import find_ndjson

        tally = _Tally()
        depth: Depth = "full" if full else "structure"
        lines = find_ndjson(paths)
        others = [path for path in paths if path not in lines]
        # A folder that holds NDJSON alone has no bundles to be found.
        files = find_files(others) if others and not (lines and _only_folders_without_bundles(others)) else []
        with progress() as bars:
            if files:
                _import_bundles(node, files, depth, tally, bars)
            if lines:
                _import_ndjson(node, lines, depth, tally, bars)
        _report(tally, as_json=as_json)
        if tally.refused:
            raise typer.Exit(2)


@app.command("list")
def list_(
    count: Annotated[bool, typer.Option("--count", help="Print how many there are, nothing else.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the opaque ids of all twins, one a line. Nothing is opened: who they are, the ids do not say.

    Exit codes: 0, 3 no node in the home.

    Example: twinward twin list --count
    """
    with node_at(home, as_json=as_json) as node:
        shredded = node.keyring.census().shredded
        twins = [twin for twin in node.twins.all() if twin not in shredded]
        if as_json:
            show_json({"count": len(twins)} if count else {"count": len(twins), "twins": twins})
        elif count:
            say(str(len(twins)))
        else:
            for twin in twins:
                say(twin)


@app.command()
def show(
    twin: TwinArgument,
    account: AsOption,
    category: Annotated[list[Category], typer.Option(help="What to read; may be repeated. All or none is shown.")],
    purpose: Annotated[Purpose, typer.Option(help="Why, as an HL7 v3 ActReason code.")] = Purpose.TREATMENT,
    justification: Annotated[str, typer.Option(help="Why an emergency (ETREAT) is one.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a twin's records through the gate, as an account. The access is in the log before anything is shown.

    Exit codes: 0, 3 no such twin or account, 6 policy or consent says no (also logged).

    Example: twinward twin show 0198… --as dr-lee --category labs --category vitals --purpose TREAT
    """
    from twinward.twins import references

    with node_at(home, as_json=as_json) as node:
        principal = node.accounts.named(account)
        request = request_of(principal, Action.READ, purpose, twin_of(node, twin), category, justification)
        permit = node.access.decide(request)
        records = [record for record in node.vault.read_twin(permit) if record.content != references.DELETED]
        if as_json:
            show_json({"twin": twin, "log_index": permit.log_index, "records": [_shown(one) for one in records]})
            return
        for one in records:
            out.print(f"[bold]{one.category.value}[/] {one.record_type} v{one.version}", highlight=False)
            content = _content(one)
            say(
                f"({len(one.content)} bytes, not text)"
                if content is None
                else json.dumps(content, indent=2, ensure_ascii=False)
            )
        where = f"event {permit.log_index} of the access log"
        if permit.log_index < 0:
            where = f"number {-1 - permit.log_index} of the break-glass journal: the access log cannot be written"
        err.print(f"{len(records)} records; {where}", markup=False)


@app.command()
def consent(
    twin: TwinArgument,
    account: AsOption,
    file: Annotated[Path | None, typer.Option(help="Set this: a JSON list of provisions; '-' reads it.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a twin's consent, or set it with --file: the new version is in force at the next decision.

    A provision: "effect" permit or deny; empty or absent "roles", "actors", "categories", "purposes" mean all;
    "valid_from_ms", "valid_until_ms" bound it in time. A deny that matches wins. Exit codes: 0, 2 not a consent, 3 no
    such twin or account, 6 this account may not.

    Example file: [{"effect": "permit", "roles": ["vendor", "system"], "purposes": ["CLINTRCH"],
    "categories": ["features"]}]

    Example: twinward twin consent 0198… --as olga --file yes-to-similarity.json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.consent import parse_provisions

        principal = node.accounts.named(account)
        if file is None:
            kept = twin_of(node, twin)
            node.access.decide(request_of(principal, Action.CONSENT, Purpose.COMPLIANCE, kept))
            found = node.access.consent_of(kept)
        else:
            provisions = parse_provisions(read_input(file, most=64 * 1024))
            found = node.access.set_consent(principal, twin_of(node, twin), provisions)
        if as_json:
            show_json(found.model_dump(mode="json"))
        elif not found.version:
            say("no consent: policy decides what that means, and for vendors and studies it means no")
        else:
            say(f"version {found.version}, {len(found.provisions)} provisions")
            for provision in found.provisions:
                say(json.dumps(provision.model_dump(mode="json", exclude_defaults=True)))


add_state(app)
app.command("watch")(watching.watch)
app.command("shred", help=_SHRED_HELP)(shredding.shred)


def _only_folders_without_bundles(paths: list[Path]) -> bool:
    from twinward.fhir.importer import SUFFIXES

    return all(path.is_dir() and not any(one.name.endswith(SUFFIXES) for one in path.iterdir()) for path in paths)


def _import_bundles(node: Node, files: list[Path], depth: Depth, tally: _Tally, bars: Progress) -> None:
    from twinward.fhir.importer import import_bundles

    task = bars.add_task("sealing", total=len(files))

    def refuse(bad: BadFile) -> None:
        tally.refuse(str(bad.path), bad.error)
        bars.advance(task)

    touched: set[TwinId] = set()
    imports = import_bundles(files, depth=depth, on_bad_file=refuse)
    for one in _advancing(imports, lambda: bars.advance(task)):
        touched |= _take_in(node, one, tally)
    bars.update(task, completed=len(files))
    node.compactor.run(sorted(touched), tidy=False)


def _import_ndjson(node: Node, files: list[Path], depth: Depth, tally: _Tally, bars: Progress) -> None:
    from twinward.fhir.ndjson import BadLine, NdjsonTally, import_ndjson
    from twinward.node import SYSTEM

    task = bars.add_task("sealing lines", total=None)

    def refuse(bad: BadLine) -> None:
        tally.refuse(f"{bad.path}:{bad.number}", bad.error)

    def show(so_far: NdjsonTally) -> None:
        bars.update(task, completed=so_far.lines)

    done = import_ndjson(files, node.twins.bulk_import(SYSTEM), depth=depth, on_bad_line=refuse, progress=show)
    bars.update(task, completed=done.lines, total=done.lines)
    tally.patients += done.patients
    tally.new_twins += done.new_twins
    for change in tally.changes:
        tally.changes[change] += getattr(done, change)


def _advancing(imports: Iterable[PatientImport], advance: Callable[[], None]) -> Iterator[PatientImport]:
    """The imports, telling when a file is done: one file may hold several patients."""
    source = ""
    for one in imports:
        if source and one.source != source:
            advance()
        source = one.source
        yield one


def _take_in(node: Node, one: PatientImport, tally: _Tally) -> set[TwinId]:
    """Take one import in; the twin it changed, if it did."""
    from twinward.node import SYSTEM
    from twinward.twins.models import DIRECTORY

    try:
        receipt = node.twins.ingest(SYSTEM, one)
    except (BadInput, Conflict, NotFound) as error:
        tally.refuse(one.source, error)
        return set()
    tally.landed(receipt, is_patient=one.reference != DIRECTORY)
    return {receipt.twin} if receipt.count("unchanged") < len(receipt.stored) else set()


def _report(tally: _Tally, *, as_json: bool) -> None:
    if as_json:
        shown: dict[str, Any] = {"patients": tally.patients, "new_twins": tally.new_twins, "records": tally.changes}
        show_json(shown | {"refused": tally.refused})
        return
    changes = ", ".join(f"{number} {change}" for change, number in tally.changes.items())
    say(f"{tally.patients} patients, {tally.new_twins} of them new; records: {changes}")
    reasons: Counter[str] = Counter()
    for one in tally.refused:
        reason = one["message"] + (f" ({one['hint']})" if one["hint"] else "")
        reasons[reason] += 1
        if reasons[reason] <= SHOWN_OF_A_REASON:
            err.print(f"[red]refused[/] {escape(one['file'])}: {escape(reason)}", soft_wrap=True)
    for reason, number in reasons.items():
        if number > SHOWN_OF_A_REASON:
            more = f"{number - SHOWN_OF_A_REASON} more: {reason}; --json names each"
            err.print(f"[red]refused[/] {escape(more)}", soft_wrap=True)


def _shown(record: Record) -> dict[str, Any]:
    content = _content(record)
    shown: dict[str, Any] = {
        "id": record.record_id,
        "version": record.version,
        "type": record.record_type,
        "category": record.category.value,
    }
    if content is None:
        return shown | {"content_base64": base64.b64encode(record.content).decode()}
    return shown | {"content": content}


def _content(record: Record) -> Any:
    """A record's content as JSON; None where it is something else."""
    try:
        return json.loads(record.content)
    except ValueError:
        return None
