"""An A4 page of a report: running foot, fonts, and text that anybody may have written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from twinward.audit.exports.document import AccessDocument
from twinward.audit.exports.typeface import Typeface

INK, QUIET, LINE, WARN = (22, 32, 43), (92, 104, 117), (205, 211, 218), (150, 50, 20)
SHADE: Final = (243, 245, 247)
FAMILY: Final = "DejaVu"
_MARGIN_MM: Final = 16


class Page(FPDF):
    """A4 with "page x of y" at the foot of each, in a typeface that has more than Latin letters."""

    def __init__(self, document: AccessDocument, typeface: Typeface) -> None:
        super().__init__(format="A4")
        self.typeface = typeface
        regular, bold, *extra = typeface.files
        self.add_font(FAMILY, "", regular)
        self.add_font(FAMILY, "B", bold)
        for number, path in enumerate(extra):
            self.add_font(f"extra{number}", "", path)
        self.set_fallback_fonts([f"extra{number}" for number in range(len(extra))], exact_match=False)
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

    def choose(self, size_pt: float, color: tuple[int, int, int] = INK, *, bold: bool = False) -> None:
        """Size, weight and colour of what is written next."""
        self.set_font(FAMILY, "B" if bold else "", size_pt)
        self.set_text_color(*color)

    def write_line(
        self,
        text: str,
        size_pt: float,
        color: tuple[int, int, int] = INK,
        *,
        bold: bool = False,
        width: float = 0,
        align: str = "L",
        last: bool = True,
    ) -> None:
        """A line of text, broken where it must be."""
        self.choose(size_pt, color, bold=bold)
        ends = {"new_x": XPos.LMARGIN, "new_y": YPos.NEXT} if last else {"new_x": XPos.RIGHT, "new_y": YPos.TOP}
        shown = self.typeface.printable(text)
        self.set_text_shaping(self.typeface.is_shaped(shown))
        self.multi_cell(width, size_pt * 0.52, shown, align=align, **ends)  # type: ignore[arg-type]

    def draw(self, x: float, y: float, height: float, baseline: float, line: str) -> None:
        """One printable line with its top at ``y``, in millimetres; it is not broken and moves nothing."""
        if self.typeface.is_plain(line):
            self.text(x, y + baseline, line)
            return
        self.set_text_shaping(self.typeface.is_shaped(line))
        self.set_xy(x - self.c_margin, y)
        self.cell(0, height, line)
