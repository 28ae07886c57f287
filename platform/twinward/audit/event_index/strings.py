"""Texts of events, each kept once and known by a number; searched all together.

They are searched as one run of bytes, a piece at a time: where the word's rarest byte stands, then which of these
places have its others. A piece that is full never changes: what a word was found in is kept for the next page of it.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from twinward.core.late_module import LateModule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LateModule("numpy")

_END: Final = b"\n"
PIECE_BYTES: Final = 1 << 20
"""How long a piece is: short enough for a processor's cache."""
KEPT_WORDS: Final = 16
"""Words whose findings are kept, a bit a text: of a million texts 2 MB."""

_COMMON: Final = 64
"""A byte that stands at one of so many places is looked for together with others, before places are listed."""
_TOGETHER: Final = 4


@dataclass(frozen=True, slots=True)
class _Piece:
    """Texts in a row. ``first``: the number of the first; ``begins``: where in ``text`` each of them begins."""

    first: int
    text: NDArray[np.uint8]
    begins: NDArray[np.int64]


class _Finding(NamedTuple):
    """Which of the first so many texts hold a word, a bit each."""

    texts: int
    bits: NDArray[np.uint8]


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
        self._counts = array("q", bytes(8 * 256))
        """How often each byte stands in the full pieces."""
        self._found: OrderedDict[bytes, _Finding] = OrderedDict()
        """By word, in the pieces that were full when it was looked for."""
        self._found_lock = threading.Lock()

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
                counts = np.frombuffer(self._counts, np.int64)
                counts += np.bincount(full[-1].text, minlength=256)
                self._open = _Open(full, bytearray(), array("q"))
        return found

    def known(self, text: str) -> int | None:
        """The number of exactly this text; None where no event has it."""
        return self._codes.get(text)

    def holding(self, part: str) -> NDArray[np.bool_]:
        """For each number, whether its text holds ``part``, letter case aside."""
        word = folded(part)
        pieces, wanted = self._open.pieces(), np.frombuffer(word, np.uint8)
        rarest_first = np.argsort(np.frombuffer(self._counts, np.int64)[wanted], kind="stable")
        hits = np.zeros(pieces[-1].first + len(pieces[-1].begins), dtype=np.bool_)
        known = self._known_findings(word, hits)
        for piece in pieces:
            if piece.first < known:
                continue
            places = _places(piece.text, wanted, rarest_first)
            if len(places):
                hits[piece.first + np.searchsorted(piece.begins, places, side="right") - 1] = True
        self._keep_findings(word, hits[: pieces[-1].first])
        return hits

    def _known_findings(self, word: bytes, hits: NDArray[np.bool_]) -> int:
        """Write into ``hits`` what is known of a word already; how many texts that is."""
        with self._found_lock:
            kept = self._found.get(word)
            if kept is None:
                return 0
            self._found.move_to_end(word)
        hits[: kept.texts] = np.unpackbits(kept.bits, count=kept.texts)
        return kept.texts

    def _keep_findings(self, word: bytes, hits: NDArray[np.bool_]) -> None:
        with self._found_lock:
            self._found[word] = _Finding(len(hits), np.packbits(hits))
            self._found.move_to_end(word)
            while len(self._found) > KEPT_WORDS:
                self._found.popitem(last=False)

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
    together, rest = order[:1], order[1:]
    fits = text[together[0] : together[0] + room] == wanted[together[0]]
    if np.count_nonzero(fits) > room // _COMMON:
        together, rest = rest[-_TOGETHER:], rest[:-_TOGETHER]  # the commonest last, for words share their rarest
        for place in together.tolist():
            fits &= text[place : place + room] == wanted[place]
    found = np.flatnonzero(fits)
    for place in rest.tolist():
        if not len(found):
            break
        found = found[text[found + place] == wanted[place]]
    return found


def folded(text: str) -> bytes:
    """A text as it is searched: letter case aside, on one line."""
    return text.casefold().replace("\n", " ").encode("utf-8", "surrogatepass")
