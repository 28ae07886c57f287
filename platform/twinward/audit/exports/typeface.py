"""The fonts a page is printed in, and what becomes of characters that none of them has.

DejaVu, which matplotlib ships, has Latin, Greek, Cyrillic, Armenian, Hebrew and Arabic letters. Fonts of the hospital's
own (the setting ``print_fonts``) come after it, in their order: Chinese, Hindi or emoji are printed with them. What is
in no font is never left out: it is spelled out, as ``\\u60a3``.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from fontTools.ttLib import TTFont, TTLibError

from twinward.core.errors import Unavailable
from twinward.core.visible_text import spelled_out, visible

_SHAPED: Final = re.compile("[\u0590-\u08ff\u0900-\u109f\u1780-\u17ff\u1a20-\u1aaf\ufb1d-\ufdff\ufe70-\ufefc]")
"""Scripts that run from right to left, join their letters or stack their signs (Hebrew to Myanmar, Khmer, Tai Tham)."""


class Typeface:
    """Fonts in the order in which they are asked for a character.

    Args:
        extra: files (TrueType, OpenType, or the first face of a collection) after DejaVu.

    Attributes:
        files: DejaVu's regular and bold face, then ``extra``.

    Raises:
        Unavailable: a file is missing or no font.
    """

    def __init__(self, extra: Sequence[Path] = ()) -> None:
        folder = _dejavu()
        self.files = (folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf", *extra)
        self._plain = _advances(self.files[0])
        self._advances = dict(self._plain)
        for path in extra:
            self._advances = _advances(path) | self._advances

    def printable(self, text: str) -> str:
        """The text, made visible, with each character that no font has spelled out."""
        return "".join(one if ord(one) in self._advances or one == "\n" else spelled_out(one) for one in visible(text))

    def is_plain(self, text: str) -> bool:
        """Whether DejaVu alone prints this, one glyph a character, from left to right."""
        return text.isascii() or (all(ord(one) in self._plain for one in text) and not self.is_shaped(text))

    def is_shaped(self, text: str) -> bool:
        """Whether glyphs are to be joined, stacked or turned around (by HarfBuzz)."""
        return _SHAPED.search(text) is not None

    def wrapped(self, text: str, width_em: float) -> list[str]:
        """Printable text in lines of at most ``width_em``: broken at spaces, and within a word that is wider alone."""
        return [line for paragraph in text.split("\n") for line in self._lines(paragraph, width_em)]

    def _lines(self, paragraph: str, width_em: float) -> Iterator[str]:
        line, used, space = "", 0.0, self._advances[0x20]
        for word in paragraph.split(" "):
            width = self._width(word)
            if line and used + space + width > width_em:
                yield line
                line, used = word, width
            else:
                line, used = (f"{line} {word}", used + space + width) if line else (word, width)
            while used > width_em and len(line) > 1:
                head = self._head(line, width_em)
                yield line[:head]
                line = line[head:]
                used = self._width(line)
        yield line

    def _head(self, line: str, width_em: float) -> int:
        """How many characters of a line fit; at least one."""
        used = 0.0
        for place, one in enumerate(line):
            used += self._advances[ord(one)]
            if used > width_em and place:
                return place
        return len(line)

    def _width(self, text: str) -> float:
        return sum([self._advances[ord(one)] for one in text])


@lru_cache(maxsize=16)
def _advances(path: Path) -> dict[int, float]:
    """What a font has, and how wide each is in ems."""
    try:
        with path.open("rb") as file, TTFont(file, fontNumber=0, lazy=True) as font:
            widths, em = font["hmtx"], font["head"].unitsPerEm
            return {point: widths[glyph][0] / em for point, glyph in (font.getBestCmap() or {}).items()}
    except (OSError, TTLibError, KeyError) as error:
        hint = "name a TrueType or OpenType file in print_fonts"
        raise Unavailable(f"{path} cannot be read as a font: {type(error).__name__}", hint=hint) from None


@lru_cache(maxsize=1)
def _dejavu() -> Path:
    """DejaVu's folder, as matplotlib ships it; found without importing matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found and found.origin else None
    if folder is None or not (folder / "DejaVuSans.ttf").is_file():
        raise Unavailable("the PDF's font is missing: matplotlib ships it", hint="pip install 'twinward[node]'")
    return folder
