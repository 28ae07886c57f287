"""How names and addresses are compared: by their letters, however they were typed.

https://hl7.org/fhir/R4/search.html#string: case and accents do not matter, nor do punctuation and the width of blanks.
"""

from __future__ import annotations

import re
import unicodedata

_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i", "ŋ": "n"}
) | str.maketrans({"æ": "ae", "œ": "oe", "þ": "th"})
"""Letters that Unicode does not take apart into a letter and a mark."""

_PART_OF_LETTER = frozenset({0, 7, 8, 9})
"""Combining classes of marks that make another letter (nukta, voicing of kana, virama) and not an accented one."""


MOST_MARKS = 30
"""In a row on one letter: the Stream-Safe Text Format of Unicode, https://www.unicode.org/reports/tr15/ section 13."""

_MARKS = re.compile(rf"[^\x00-\x7f\w]{{{MOST_MARKS + 1},}}")
"""Where there may be more: to ``re`` a mark is no letter, but for two of half-width katakana's."""

_HALF_WIDTH_MARKS = str.maketrans("\uff9e\uff9f", "\u3099\u309a")


def stream_safe(text: str) -> str:
    """A text to be brought into a compatibility form, without the marks that no letter has in such a number.

    Every normal form sorts the marks of a letter, in time by their square, within one call that lets no other thread
    have a word: half a million of them stopped a node for an hour.
    """
    return text if text.isascii() else _MARKS.sub(_first_marks, text.translate(_HALF_WIDTH_MARKS))


def _first_marks(run: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for one in run[0]:
        # Some have no combining class of their own and are taken apart into marks.
        marks = marks + 1 if unicodedata.combining(unicodedata.normalize("NFKD", one)[0]) else 0
        if marks <= MOST_MARKS:
            kept.append(one)
    return "".join(kept)


def folded(text: str) -> str:
    """The text without case, accents, width, punctuation and superfluous blanks; empty where nothing is left."""
    # Twice: folding case makes new marks (of a Turkish capital İ, say).
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", stream_safe(text)).casefold())
    plain = "".join(map(_spoken, apart)).translate(_PLAIN)
    return unicodedata.normalize("NFC", " ".join(plain.split()))


def _spoken(letter: str) -> str:
    kind = unicodedata.category(letter)
    if unicodedata.combining(letter) not in _PART_OF_LETTER or kind == "Cf":
        return ""
    if kind == "Pd" or kind == "Cc":
        return " "
    return "" if kind.startswith("P") else letter
