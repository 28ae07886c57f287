"""A case as a printed report. Imported where one is printed: what makes PDFs takes a server a sixth of its start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twinward.audit.exports.pdf_layout import INK, QUIET, WARN, Cell, Heading, Page, PrintedTable
from twinward.audit.exports.typeface import Typeface
from twinward.breach.affected import Affected, Subject
from twinward.breach.files import KNOWN, moment
from twinward.breach.models import Audience, BreachCase


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
    known = f"{KNOWN[one.known_by]}{': entries ' + entries if entries else ''}"
    return one.twin, str(len(one.indices)), ", ".join(sorted(one.categories)), times, known
