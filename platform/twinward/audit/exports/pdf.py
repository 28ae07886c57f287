"""A report as a PDF that an officer hands to a patient: who, when, why, and what vouches for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from twinward.audit.events.wording import PURPOSES, deed
from twinward.audit.exports.document import AccessDocument, DocumentRow
from twinward.audit.exports.pdf_layout import INK, QUIET, WARN, Cell, Heading, Page, PrintedTable
from twinward.audit.exports.typeface import Typeface
from twinward.core.clock import iso

_COLUMNS: Final = ("No.", "When (UTC)", "Who", "What, and why", "Decision")
_WIDTHS_MM: Final = (12, 21, 31, 94, 20)


def as_pdf(document: AccessDocument, fonts: Sequence[Path], told: Callable[[int], None]) -> bytes:
    """The report on A4 pages, "page x of y" at the foot of each.

    Args:
        document: what is printed.
        fonts: files asked, in this order, for the characters that DejaVu lacks.
        told: called after each row with how many are done.

    Raises:
        Unavailable: a font cannot be read.
    """
    subject = document.report.subject
    heading = Heading(
        title=f"Accesses to the record of {subject}",
        author=document.hospital,
        at_ms=document.at_ms,
        foot=f"{document.hospital} · accesses to {subject}",
    )
    page = Page(heading, Typeface(fonts))
    page.add_page()
    _head(page, document)
    _summary(page, document)
    _table(page, document, told)
    _how_to_check(page, document)
    return bytes(page.output() or b"")


def _head(page: Page, document: AccessDocument) -> None:
    page.write_line(document.hospital, 9, QUIET)
    page.ln(1)
    page.write_line("Who looked at your record, and why", 18, bold=True)
    page.ln(1)
    page.write_line(f"Record {document.report.subject}", 9, QUIET)
    page.write_line(f"Printed {_moment(document.at_ms)} UTC", 9, QUIET)
    page.ln(4)


def _summary(page: Page, document: AccessDocument) -> None:
    verdict, anchor = document.verdict, document.anchor
    count = len(document.rows)
    page.write_line(f"{count} access{'' if count == 1 else 'es'}. None was left out.", 12, bold=True)
    page.ln(1)
    say = [
        f"This is every access to this record among the first {verdict.through} entries of the hospital's access log, "
        f"as of {_moment(document.complete_ms)} UTC.",
        f"The log was co-signed by {len(verdict.cosigned)} hospitals' witnesses: "
        f"{', '.join(name for name, _ in verdict.cosigned)}.",
        "It was not anchored on the chain when this was printed."
        if anchor is None
        else f"Its root is anchored on chain {anchor.statement.domain.chain_id}, block {anchor.block_number}.",
    ]
    if document.erased:
        say.append(f"{document.erased} of them were erased; that they happened, and when, still stands.")
    for line in say:
        page.write_line(line, 9)
        page.ln(0.6)
    page.ln(3)


def _table(page: Page, document: AccessDocument, told: Callable[[int], None]) -> None:
    if not document.rows:
        page.write_line("Nobody has accessed this record.", 10)
        page.ln(3)
        return
    PrintedTable(page, _COLUMNS, _WIDTHS_MM).write(map(_row, document.rows), told)
    page.ln(5)


def _row(row: DocumentRow) -> list[Cell]:
    refused = row.event is not None and row.event.decision != "permit"
    *cells, decision = _cells(row)
    return [*map(Cell, cells), Cell(decision, WARN if refused else INK)]


def _cells(row: DocumentRow) -> tuple[str, ...]:
    event = row.event
    if event is None:
        when = _moment(row.minute_ms)
        return str(row.index), when, "", "erased; that it happened, and when, still stands", ""
    who = "\n".join(part for part in (event.agent, ", ".join(filter(None, (event.role.value, event.unit)))) if part)
    what = ", ".join(category.value for category in event.categories)
    said = dict(event.detail).get("justification", "")
    lines = [f"{deed(event)}{': ' + what if what else ''}, for {PURPOSES[event.purpose]}", event.reason]
    lines += [f"“{said}”"] if said else []
    decision = "permitted" if event.decision == "permit" else "refused"
    return str(row.index), iso(event.at_ms)[:19].replace("T", "\n"), who, "\n".join(filter(None, lines)), decision


def _how_to_check(page: Page, document: AccessDocument) -> None:
    verdict = document.verdict
    if page.will_page_break(46):
        page.add_page()
    page.write_line("How to check this without believing the hospital", 10, bold=True)
    page.ln(1)
    page.write_line(
        "Ask for the same report as a proof file, and for the trust file from somebody else than this hospital. "
        "The program twinward-verify checks both on any computer, without a network: that these are all the rows, "
        "that each is in the log, who co-signed the log, and that nothing was changed since your last visit.",
        8.5,
    )
    page.ln(2)
    for name, value in (
        ("Log", document.report.origin),
        ("Entries", str(verdict.checkpoint.size)),
        ("Root of the log", verdict.checkpoint.root.hex()),
        ("Root of your rows", document.report.proof.root.hex()),
    ):
        page.write_line(name, 7.5, QUIET, width=34, last=False)
        page.write_line(value, 7.5)


def _moment(at_ms: int) -> str:
    return iso(at_ms)[:16].replace("T", " ")
