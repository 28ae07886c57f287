"""What justifies an emergency: one sentence, in any script, that a person could have meant.

The rule must never refuse a real sentence, whatever its language, and never take what is typed to get past it. So it
counts letters and the vowel signs on them (Unicode general categories L and M), not characters: different ones,
because "aaaaaaaaaa" has only one. A letter of a script that writes words or syllables with one sign (Han, Hangul,
Kana, Yi, Ethiopic and the like) says more than one of an alphabet and counts for more.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from twinward.core.errors import BadInput
from twinward.core.sentences import sentence

MAX_CHARS: Final = 1000
LEAST_LETTERS: Final = 8
"""How many letters, in an alphabet's measure; a sign for a word or a syllable counts as three or two."""

LEAST_DISTINCT: Final = 4
"""How many different letters, in an alphabet's measure."""

_WORD_SIGN, _SYLLABLE_SIGN = 3, 2
_WORD_SCRIPTS: Final = (
    "CJK UNIFIED IDEOGRAPH",
    "CJK COMPATIBILITY IDEOGRAPH",
    "TANGUT",
    "NUSHU",
    "EGYPTIAN",
    "CUNEIFORM",
)
_SYLLABLE_SCRIPTS: Final = (
    *("HANGUL SYLLABLE", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "YI SYLLABLE", "ETHIOPIC SYLLABLE"),
    *("CHEROKEE", "CANADIAN SYLLABICS", "VAI SYLLABLE", "LINEAR", "BAMUM"),
)
_REORDERING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Bidi embeddings, overrides and isolates (UAX #9): they could show an officer another sentence than was written."""


def tidy(text: str) -> str:
    """The text as it is judged and logged: NFC, one space between words, no control or reordering characters."""
    cleaned = "".join(" " if unicodedata.category(char) == "Cc" else char for char in text if char not in _REORDERING)
    return " ".join(unicodedata.normalize("NFC", cleaned).split())


@lru_cache(maxsize=256)
def fault(text: str) -> str:
    """What a justification lacks, as a sentence; empty where nothing is missing."""
    words = tidy(text).casefold().split()
    if not words:
        return "an emergency needs a justification: one sentence that says what happened"
    letters = [char for word in words for char in _letters(word)]
    if not any(unicodedata.category(char).startswith("L") for char in letters):
        return "the justification has no words, only digits or punctuation: say in a sentence what happened"
    if sum(map(_weight, letters)) < LEAST_LETTERS:
        return "the justification is too short: say in a sentence what happened"
    if sum(map(_weight, set(letters))) < LEAST_DISTINCT or _is_repeated("".join(letters)):
        return "the justification repeats the same letters or word: say in a sentence what happened"
    return ""


def is_sufficient(text: str) -> bool:
    """Whether this justifies an emergency."""
    return not fault(text)


def bounded(text: str) -> str:
    """The tidy text. Raises ``BadInput`` where it is longer than the log takes."""
    tidied = tidy(text)
    if len(tidied) > MAX_CHARS:
        raise BadInput(
            sentence("a justification has {most} characters at most", most=MAX_CHARS), hint="one sentence is enough"
        )
    return tidied


def _letters(word: str) -> Iterator[str]:
    return (char for char in word if unicodedata.category(char)[0] in "LM")


def _weight(letter: str) -> int:
    name = unicodedata.name(letter, "")
    if name.startswith(_WORD_SCRIPTS):
        return _WORD_SIGN
    return _SYLLABLE_SIGN if name.startswith(_SYLLABLE_SCRIPTS) else 1


def _is_repeated(letters: str) -> bool:
    """Whether this is one shorter text over and over: a string is so where it occurs in itself doubled, inside."""
    return letters in (letters + letters)[1:-1]
