"""A report as a PDF that an officer hands to a patient: who, when, why, and what vouches for it."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from fpdf import FPDF
from fpdf.enums import TableBordersLayout, XPos, YPos
from fpdf.fonts import FontFace

from twinward.audit.exports.document import AccessDocument, DocumentRow
from twinward.audit.wording import PURPOSES, deed
from twinward.clock import iso
from twinward.errors import Unavailable

INK, QUIET, LINE, WARN = (22, 32, 43), (92, 104, 117), (205, 211, 218), (150, 50, 20)
SHADE: Final = (243, 245, 247)
FAMILY: Final = "DejaVu"
_COLUMNS: Final = ("No.", "When (UTC)", "Who", "What, and why", "Decision")
_WIDTHS: Final = (10, 21, 29, 92, 18)
_MARGIN_MM: Final = 16


def as_pdf(document: AccessDocument) -> bytes:
    """The report on A4 pages, "page x of y" at the foot of each."""
    page = _Page(document)
    page.add_page()
    _head(page, document)
    _summary(page, document)
    _table(page, document)
    _how_to_check(page, document)
    return bytes(page.output() or b"")


class _Page(FPDF):
    """A4 with a foot on each page, in a font that has more than Latin letters."""

    def __init__(self, document: AccessDocument) -> None:
        super().__init__(format="A4")
        for style, name in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            self.add_font(FAMILY, style, _fonts() / name)
        self._foot = f"{document.hospital} · accesses to {document.report.subject}"
        self.set_margin(_MARGIN_MM)
        self.set_auto_page_break(True, 20)
        self.set_title(f"Accesses to the record of {document.report.subject}")
        self.set_author(document.hospital)
        self.set_creator("Twinward")
        self.set_lang("en")
        self.set_creation_date(datetime.fromtimestamp(document.at_ms / 1000, UTC))

    def footer(self) -> None:
        """The running foot."""
        self.set_y(-14)
        self.write_line(self._foot, 7, QUIET, width=130, last=False)
        self.write_line(f"page {self.page_no()} of {{nb}}", 7, QUIET, align="R")

    def write_line(
        self,
        text: str,
        size: float,
        color: tuple[int, int, int] = INK,
        *,
        bold: bool = False,
        width: float = 0,
        align: str = "L",
        last: bool = True,
    ) -> None:
        """A line of text, broken where it must be."""
        self.set_font(FAMILY, "B" if bold else "", size)
        self.set_text_color(*color)
        ends = {"new_x": XPos.LMARGIN, "new_y": YPos.NEXT} if last else {"new_x": XPos.RIGHT, "new_y": YPos.TOP}
        self.multi_cell(width, size * 0.52, _printable(text), align=align, **ends)  # type: ignore[arg-type]


def _head(page: _Page, document: AccessDocument) -> None:
    page.write_line(document.hospital, 9, QUIET)
    page.ln(1)
    page.write_line("Who looked at your record, and why", 18, bold=True)
    page.ln(1)
    page.write_line(f"Record {document.report.subject}", 9, QUIET)
    page.write_line(f"Printed {_moment(document.at_ms)} UTC", 9, QUIET)
    page.ln(4)


def _summary(page: _Page, document: AccessDocument) -> None:
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


def _table(page: _Page, document: AccessDocument) -> None:
    if not document.rows:
        page.write_line("Nobody has accessed this record.", 10)
        page.ln(3)
        return
    page.set_font(FAMILY, "", 7.5)
    page.set_text_color(*INK)
    page.set_draw_color(*LINE)
    heading = FontFace(emphasis="BOLD", color=INK, fill_color=SHADE)
    with page.table(
        col_widths=_WIDTHS,
        headings_style=heading,
        line_height=4.1,
        padding=1.2,
        text_align="LEFT",
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
    ) as table:
        table.row(_COLUMNS)
        for one in document.rows:
            line = table.row()
            refused = one.event is not None and one.event.decision != "permit"
            for place, text in enumerate(_cells(one)):
                style = FontFace(color=WARN) if refused and place == len(_COLUMNS) - 1 else None
                line.cell(_printable(text), style=style)
    page.ln(5)


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


def _how_to_check(page: _Page, document: AccessDocument) -> None:
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


def _printable(text: str) -> str:
    """No control characters, and nothing that would turn the line around: text comes from people."""
    return "".join(char if char == "\n" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _moment(at_ms: int) -> str:
    return iso(at_ms)[:16].replace("T", " ")


@lru_cache(maxsize=1)
def _fonts() -> Path:
    """DejaVu, as matplotlib ships it; found without importing matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found and found.origin else None
    if folder is None or not (folder / "DejaVuSans.ttf").is_file():
        raise Unavailable("the PDF's font is missing: matplotlib ships it", hint="pip install 'twinward[node]'")
    return folder
