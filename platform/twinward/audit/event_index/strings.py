"""Texts of events, each kept once and known by a number; searched all together.

They are searched as one run of bytes, a piece at a time: where the word's rarest byte stands, then which of these
places have its others. That takes as long for a word that every text has as for one that none has.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_END: Final = b"\n"
PIECE_BYTES: Final = 1 << 20
"""How long a piece is: short enough for a processor's cache."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Texts in a row. ``first``: the number of the first; ``begins``: where in ``text`` each of them begins."""

    first: int
    text: NDArray[np.uint8]
    begins: NDArray[np.int64]


class _Open(NamedTuple):
    """The pieces that are full, and the one that is written: bytes, and where each text begins in them.

    Whoever looks takes the whole of it at once. A piece that is full makes another one of it; the old stays as it was.
    """

    full: tuple[_Piece, ...]
    text: bytearray
    begins: array[int]

    def pieces(self) -> tuple[_Piece, ...]:
        """All of them, the open one as it is now: copied in one step each, for others may add meanwhile."""
        text, begins = bytes(self.text), self.begins[:]
        first = self.full[-1].first + len(self.full[-1].begins) if self.full else 0
        return (*self.full, _Piece(first, np.frombuffer(text, np.uint8), np.frombuffer(begins, np.int64)))


class Strings:
    """A pool of texts. Not safe to share while it grows: the index holds a lock. ``holding`` may run meanwhile."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self.texts: list[str] = []
        self._open = _Open((), bytearray(), array("q"))
        self._counts = np.zeros(256, dtype=np.int64)
        """How often each byte stands in the full pieces."""

    def __len__(self) -> int:
        return len(self.texts)

    def code(self, text: str) -> int:
        """Its number; a new one for a new text."""
        found = self._codes.get(text)
        if found is None:
            found = self._codes[text] = len(self.texts)
            self.texts.append(text)
            self._open.begins.append(len(self._open.text))
            self._open.text.extend(folded(text) + _END)
            if len(self._open.text) >= PIECE_BYTES:
                full = self._open.pieces()
                self._counts += np.bincount(full[-1].text, minlength=256)
                self._open = _Open(full, bytearray(), array("q"))
        return found

    def known(self, text: str) -> int | None:
        """The number of exactly this text; None where no event has it."""
        return self._codes.get(text)

    def holding(self, part: str) -> NDArray[np.bool_]:
        """For each number, whether its text holds ``part``, letter case aside."""
        pieces, wanted = self._open.pieces(), np.frombuffer(folded(part), np.uint8)
        rarest_first = np.argsort(self._counts[wanted], kind="stable")
        hits = np.zeros(pieces[-1].first + len(pieces[-1].begins), dtype=np.bool_)
        for piece in pieces:
            places = _places(piece.text, wanted, rarest_first)
            if len(places):
                hits[piece.first + np.searchsorted(piece.begins, places, side="right") - 1] = True
        return hits

    def only(self, codes: Sequence[int]) -> tuple[Strings, NDArray[np.int32]]:
        """A pool of these alone, and for each old number the new one (0 for those that are gone)."""
        kept, numbers = Strings(), np.zeros(len(self.texts), dtype=np.int32)
        for code in codes:
            numbers[code] = kept.code(self.texts[code])
        return kept, numbers


def _places(text: NDArray[np.uint8], wanted: NDArray[np.uint8], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where ``wanted`` (one byte or more) begins in ``text``; its bytes are looked at in this order."""
    room = len(text) - len(wanted) + 1
    if room <= 0:
        return np.zeros(0, dtype=np.intp)
    first = order[0]
    found = np.flatnonzero(text[first : first + room] == wanted[first])
    for place in order[1:].tolist():
        if not len(found):
            break
        found = found[text[found + place] == wanted[place]]
    return found


def folded(text: str) -> bytes:
    """A text as it is searched: letter case aside, on one line."""
    return text.casefold().replace("\n", " ").encode("utf-8", "surrogatepass")
