"""How a report is laid out: A4 pages with a running foot, and a long table on them, written line by line.

fpdf2 lays its own tables out twice and keeps every cell: 9,171 rows took a minute. Here a row is broken into lines,
drawn, and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from twinward.audit.exports.typeface import Typeface

INK, QUIET, LINE, WARN = (22, 32, 43), (92, 104, 117), (205, 211, 218), (150, 50, 20)
SHADE: Final = (243, 245, 247)
FAMILY: Final = "DejaVu"
_MARGIN_MM: Final = 16


@dataclass(frozen=True, slots=True)
class Heading:
    """What every page of a document says of it: its title, who hands it out, when (ms), and its running foot."""

    title: str
    author: str
    at_ms: int
    foot: str


class Page(FPDF):
    """A4 with "page x of y" at the foot of each, in a typeface that has more than Latin letters."""

    def __init__(self, heading: Heading, typeface: Typeface) -> None:
        super().__init__(format="A4")
        self.typeface = typeface
        regular, bold, *extra = typeface.files
        self.add_font(FAMILY, "", regular)
        self.add_font(FAMILY, "B", bold)
        for number, path in enumerate(extra):
            self.add_font(f"extra{number}", "", path)
        self.set_fallback_fonts([f"extra{number}" for number in range(len(extra))], exact_match=False)
        self._foot = heading.foot
        self.set_margin(_MARGIN_MM)
        self.set_auto_page_break(True, 20)
        self.set_title(heading.title)
        self.set_author(heading.author)
        self.set_creator("Twinward")
        self.set_lang("en")
        self.set_creation_date(datetime.fromtimestamp(heading.at_ms / 1000, UTC))

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


SIZE_PT: Final = 7.5
LINE_MM: Final = 4.1
PADDING_MM: Final = 1.2
_BASELINE: Final = 0.72
"""Where in a line's height its letters stand."""

_MM_PER_PT: Final = 25.4 / 72


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text, and its colour."""

    text: str
    color: tuple[int, int, int] = INK


class PrintedTable:
    """A table at the page's current place. ``widths`` are in millimetres."""

    def __init__(self, page: Page, columns: Sequence[str], widths: Sequence[float]) -> None:
        self._page, self._widths = page, widths
        self._broken = lru_cache(maxsize=4096)(self._break)  # a patient's accesses are much alike
        self._heads = [Cell(one) for one in columns]

    def write(self, rows: Iterable[Sequence[Cell]], told: Callable[[int], None]) -> None:
        """The head, then each row; a row moves to the next page rather than break, unless it is longer than a page.

        ``told`` hears after each how many are done.
        """
        self._head()
        for done, row in enumerate(rows, start=1):
            self._row([self._broken(cell.text, width) for cell, width in zip(row, self._widths, strict=True)], row)
            told(done)

    def _row(self, lines: list[list[str]], row: Sequence[Cell]) -> None:
        left = max(map(len, lines))
        if not self._room(left) and self._page.get_y() > self._page.t_margin + 2 * LINE_MM + 4 * PADDING_MM:
            self._turn()
        done = 0
        while left:
            now = min(left, max(1, self._fitting()))
            self._draw([one[done : done + now] for one in lines], row, now)
            done, left = done + now, left - now
            if left:
                self._turn()

    def _head(self) -> None:
        page = self._page
        page.set_fill_color(*SHADE)
        page.rect(page.l_margin, page.get_y(), sum(self._widths), LINE_MM + 2 * PADDING_MM, style="F")
        self._draw([[one.text] for one in self._heads], self._heads, 1, bold=True)

    def _turn(self) -> None:
        self._page.add_page()
        self._head()

    def _draw(self, lines: list[list[str]], row: Sequence[Cell], height: int, *, bold: bool = False) -> None:
        page = self._page
        x, top = page.l_margin, page.get_y()
        for cell, width, texts in zip(row, self._widths, lines, strict=True):
            page.choose(SIZE_PT, cell.color, bold=bold)
            for place, text in enumerate(texts):
                if text:
                    page.draw(x + PADDING_MM, top + PADDING_MM + place * LINE_MM, LINE_MM, LINE_MM * _BASELINE, text)
            x += width
        bottom = top + height * LINE_MM + 2 * PADDING_MM
        page.set_draw_color(*LINE)
        page.line(page.l_margin, bottom, x, bottom)
        page.set_y(bottom)

    def _break(self, text: str, width: float) -> list[str]:
        typeface = self._page.typeface
        return typeface.wrapped(typeface.printable(text), (width - 2 * PADDING_MM) / (SIZE_PT * _MM_PER_PT))

    def _room(self, lines: int) -> bool:
        return lines <= self._fitting()

    def _fitting(self) -> int:
        """How many lines a row may have that still fits on this page."""
        return int((self._page.page_break_trigger - self._page.get_y() - 2 * PADDING_MM) / LINE_MM)
