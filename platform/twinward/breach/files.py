"""A case as files: a table of who is affected, a printed report, and the proofs of what was counted."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from twinward.audit.exports.csv_table import cell
from twinward.audit.exports.pdf_layout import INK, QUIET, WARN, Cell, Heading, Page, PrintedTable
from twinward.audit.exports.typeface import Typeface
from twinward.breach.affected import LOGGED, Affected, Subject
from twinward.breach.errors import BreachInvalid
from twinward.breach.models import Audience, BreachCase
from twinward.core.clock import iso


class BreachFormat(StrEnum):
    """What a case can be written as."""

    PDF = "pdf"
    """The whole case: clocks, who is affected, timeline, drafts."""
    CSV = "csv"
    """Who is affected, one line each."""
    PROOFS = "proofs"
    """A ZIP with the proof of every event that was counted, for `twinward-verify`."""


MEDIA_TYPES: Final = {
    BreachFormat.PDF: "application/pdf",
    BreachFormat.CSV: "text/csv; charset=utf-8; header=present",
    BreachFormat.PROOFS: "application/zip",
}
ENDINGS: Final = {BreachFormat.PDF: ".pdf", BreachFormat.CSV: ".csv", BreachFormat.PROOFS: ".proofs.zip"}

MAX_PROOFS: Final = 5000
"""In one file; more are asked for event by event."""

COLUMNS: Final = (
    *("twin", "known_by", "accesses", "categories", "actions", "purposes"),
    *("altered", "first_utc", "last_utc", "log_entries"),
)
_KNOWN: Final = {LOGGED: "access log", "key": "sealed under the lost key"}


def as_csv(found: Affected) -> bytes:
    """Who is affected (RFC 4180, UTF-8 with a byte order mark, as reports of accesses are)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(value) for value in _values(one)] for one in found.subjects)
    return text.getvalue().encode("utf-8-sig")


def as_pdf(case: BreachCase, found: Affected, *, hospital: str, at_ms: int, fonts: Sequence[Path] = ()) -> bytes:
    """The case on A4 pages. Raises ``Unavailable`` where a font cannot be read."""
    heading = Heading(f"Breach {case.name}", hospital, at_ms, f"{hospital} · breach {case.name}")
    page = Page(heading, Typeface(fonts))
    page.add_page()
    page.write_line(hospital, 9, QUIET)
    page.write_line(f"Breach {case.name}", 18, bold=True)
    page.write_line(f"Printed {moment(at_ms)} UTC", 9, QUIET)
    page.ln(3)
    _facts(page, case, found, at_ms)
    _title(page, "Who is affected")
    if found.subjects:
        columns = ("Twin", "Accesses", "Categories", "First and last (UTC)", "How one knows")
        rows = ([Cell(text) for text in _printed(one)] for one in found.subjects)
        PrintedTable(page, columns, (66, 15, 38, 28, 31)).write(rows, lambda _: None)
    else:
        page.write_line("Nobody: no access that was permitted fits the case.", 9)
    _title(page, "What was done")
    steps = (
        [Cell(str(one.index)), Cell(moment(one.at_ms)), Cell(one.by), Cell(f"{one.kind}: {one.say}")]
        for one in case.steps
    )
    PrintedTable(page, ("Entry", "When (UTC)", "Who", "What"), (14, 30, 30, 104)).write(steps, lambda _: None)
    for audience in (Audience.AUTHORITY, Audience.PATIENTS):
        drafts = case.drafts_for(audience)
        if drafts:
            page.add_page()
            page.write_line(f"To the {audience.value}: version {drafts[-1].version}", 13, bold=True)
            page.ln(2)
            for line in drafts[-1].text.split("\n"):
                page.write_line(line or " ", 9)
    return bytes(page.output() or b"")


def as_proofs(found: Affected, prove: Callable[[int], bytes], told: Callable[[int], None] = lambda _: None) -> bytes:
    """A ZIP of proof files, one an event that was counted, and the table of who is affected.

    Raises:
        BreachInvalid: more than ``MAX_PROOFS`` events were counted.
    """
    indices = sorted({index for one in found.subjects for index in one.indices})
    if len(indices) > MAX_PROOFS:
        hint = "`twinward audit export INDEX --disclose` proves one; the table names each index"
        raise BreachInvalid(f"{len(indices)} events were counted, and one file proves {MAX_PROOFS} at most", hint=hint)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("affected.csv", as_csv(found))
        for done, index in enumerate(indices, start=1):
            archive.writestr(f"event-{index}.proof", prove(index))
            told(done)
    return made.getvalue()


def moment(at_ms: int) -> str:
    """A minute as people read it."""
    return iso(at_ms)[:16].replace("T", " ")


def _facts(page: Page, case: BreachCase, found: Affected, at_ms: int) -> None:
    told = case.notice(Audience.AUTHORITY)
    late = (told.at_ms if told else at_ms) > case.due_ms
    authority = f"told {moment(told.at_ms)} UTC" if told else "not told yet"
    facts = [
        ("What", case.title),
        ("Scope", case.scope.sentence()),
        ("Aware since", f"{moment(case.aware_ms)} UTC"),
        ("Authority", f"{authority}; due {moment(case.due_ms)} UTC{' (late)' if late else ''}"),
        ("Patients", f"due {moment(case.patients_due_ms)} UTC at the latest"),
        ("Affected", f"{len(found.subjects)} patients in {found.accesses} accesses"),
        (
            "Not counted",
            f"{found.refused} refused, {found.erased} erased since, {found.others} about no single patient",
        ),
        ("Read from", f"the first {found.size} entries of the access log"),
    ]
    if case.closed_ms is not None:
        facts.append(("Closed", f"{moment(case.closed_ms)} UTC, {case.outcome}: {case.reason}"))
    for name, value in facts:
        page.write_line(name, 9, QUIET, width=30, last=False)
        page.write_line(value, 9, WARN if name == "Authority" and late else INK)


def _title(page: Page, text: str) -> None:
    page.ln(5)
    page.write_line(text, 12, bold=True)
    page.ln(1)


def _printed(one: Subject) -> tuple[str, ...]:
    times = f"{moment(one.first_ms)}\n{moment(one.last_ms)}" if one.indices else ""
    entries = ", ".join(map(str, one.indices[:6])) + ("…" if len(one.indices) > 6 else "")
    known = f"{_KNOWN[one.known_by]}{': entries ' + entries if entries else ''}"
    return one.twin, str(len(one.indices)), ", ".join(sorted(one.categories)), times, known


def _values(one: Subject) -> tuple[str, ...]:
    return (
        one.twin,
        _KNOWN[one.known_by],
        str(len(one.indices)),
        " ".join(sorted(one.categories)),
        " ".join(sorted(one.actions)),
        " ".join(sorted(one.purposes)),
        "yes" if one.altered else "no",
        iso(one.first_ms) if one.indices else "",
        iso(one.last_ms) if one.indices else "",
        " ".join(map(str, one.indices)),
    )
