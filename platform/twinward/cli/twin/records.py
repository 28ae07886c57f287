"""``twinward twin``: bring patients in, list their twins, read through access control, set consent."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import AsOption, TwinArgument, await_server, context_of, node_at, twin_of
from twinward.cli.input import read_input
from twinward.cli.output import (
    HomeOption,
    JsonOption,
    OutputFile,
    err,
    out,
    progress,
    say,
    show_json,
)
from twinward.core.vocabulary import RECORD_CATEGORIES, Action, Category, Purpose

if TYPE_CHECKING:
    from twinward.vault.interfaces import Record


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


def show(
    twin: TwinArgument,
    account: AsOption,
    category: Annotated[list[Category], typer.Option(help="What to read; may be repeated. All or none is shown.")],
    purpose: Annotated[Purpose, typer.Option(help="Why, as an HL7 v3 ActReason code.")] = Purpose.TREATMENT,
    justification: Annotated[str, typer.Option(help="Why an emergency (ETREAT) is one.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a twin's records through access control, as an account. The access is in the log before anything is shown.

    Features are no records: `twinward twin state` shows them. Exit codes: 0, 3 no such twin or account, 6 policy or
    consent says no (also logged).

    Example: twinward twin show 0198… --as dr-lee --category labs --category vitals --purpose TREAT
    """
    from twinward.access.interfaces import require_records
    from twinward.twins import references

    with node_at(home, as_json=as_json) as node:
        context = context_of(node, account, purpose, justification)
        require_records(category)
        permit = node.access.decide(context.request(Action.READ, twin_of(node, twin), category))
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


def consent(
    twin: TwinArgument,
    account: AsOption,
    file: Annotated[Path | None, typer.Option(help="Set this: a JSON list of provisions; '-' reads it.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a twin's consent, or set it with --file: the new version is in force at the next decision.

    A provision: "effect" permit or deny; absent "roles", "actors", "categories", "purposes" mean all; "valid_from_ms",
    "valid_until_ms" bound it in time. A deny that matches wins; it also covers every kind of a purpose (HRESCH:
    CLINTRCH) and what is made of a category (labs: features). Exit codes: 0, 2 not a consent, or one that could never
    be in force, 3 no such twin or account, 6 this account may not, 8 the consents were altered or turned back.

    Example file: [{"effect": "permit", "roles": ["vendor", "system"], "purposes": ["CLINTRCH"],
    "categories": ["features"]}]

    Example: twinward twin consent 0198… --as olga --file yes-to-similarity.json
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.consent_entry import parse_provisions

        context = context_of(node, account, Purpose.COMPLIANCE if file is None else Purpose.RECORD_MANAGEMENT)
        if file is None:
            kept = twin_of(node, twin)
            node.access.decide(context.request(Action.CONSENT, kept))
            found = node.access.consent_of(kept)
        else:
            provisions = parse_provisions(read_input(file, most=64 * 1024))
            found = node.access.set_consent(context, twin_of(node, twin), provisions)
            await_server(node)
        if as_json:
            show_json(found.model_dump(mode="json", exclude_defaults=True))
        elif not found.version:
            say("no consent: policy decides what that means, and for vendors and studies it means no")
        else:
            say(f"version {found.version}, {len(found.provisions)} provisions")
            for provision in found.provisions:
                say(json.dumps(provision.model_dump(mode="json", exclude_defaults=True)))


def export(
    twin: TwinArgument,
    account: AsOption,
    to: Annotated[Path, typer.Option("--out", help="The NDJSON file to be; it must not be there yet. '-' prints it.")],
    purpose: Annotated[Purpose, typer.Option(help="PATRQT (the patient asks) or RECORDMGT.")] = Purpose.PATIENT_REQUEST,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what policy thinks of it.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one twin's records in the clear, one JSON object a line: for the patient, or to move the archive.

    Categories that this account may not export are left out and named. The file is readable by you alone. Exit codes:
    0, 3 no such twin or account, 4 the file is there already, 6 nothing of it may be exported (also logged).

    Example: twinward twin export 0198… --as olga --out ./patient.ndjson
    """
    with node_at(home, as_json=as_json) as node:
        from twinward.access.interfaces import categories_in
        from twinward.twins import references

        file = OutputFile(to, as_json=as_json)
        context = context_of(node, account, purpose)
        request = context.request(Action.EXPORT, twin_of(node, twin), RECORD_CATEGORIES)
        allowed = node.access.permitted(request)
        withheld = sorted(one.value for one in RECORD_CATEGORIES - categories_in(allowed))
        if dry_run:
            _say_export(None, withheld, file)
            raise typer.Exit(0 if allowed else 6)
        records = [one for permit in node.access.decide_part(request) for one in node.vault.read_twin(permit)]
        lines = []
        with progress() as bars:
            task = bars.add_task("writing", total=len(records))
            for record in records:
                if record.content != references.DELETED:
                    lines.append(_line(record.record_type, record.category, record.version, record.content))
                bars.advance(task)
        file.write(b"".join(lines))
        _say_export(len(lines), withheld, file)


def _say_export(number: int | None, withheld: list[str], to: OutputFile) -> None:
    done = number is not None
    said = f"{number} records in {to}, in the clear" if done else "nothing was written or logged"
    to.report({"file": str(to), "records": number, "withheld": withheld, "done": done}, said)
    if withheld and not to.as_json:
        err.print(f"withheld: {', '.join(withheld)}", markup=False, soft_wrap=True)


def _line(record_type: str, category: Category, version: int, content: bytes) -> bytes:
    """One record; a content that is JSON stays as it is, byte for byte."""
    head = json.dumps({"type": record_type, "category": category.value, "version": version})
    try:
        json.loads(content)
        text = content.replace(b"\n", b" ").replace(b"\r", b" ")  # in JSON a bare line break is white space
    except ValueError:
        text = json.dumps({"bytes": content.hex()}).encode()
    return head[:-1].encode() + b', "content": ' + text + b"}\n"


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
