"""Texts of events, each kept once and known by a number; searched all together."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_END: Final = b"\n"


class Strings:
    """A pool of texts. Not safe to share while it grows: the index holds a lock."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self.texts: list[str] = []
        self._folded = bytearray()
        self._starts = array("q")

    def __len__(self) -> int:
        return len(self.texts)

    def code(self, text: str) -> int:
        """Its number; a new one for a new text."""
        found = self._codes.get(text)
        if found is None:
            found = self._codes[text] = len(self.texts)
            self.texts.append(text)
            self._starts.append(len(self._folded))
            self._folded += folded(text) + _END
        return found

    def known(self, text: str) -> int | None:
        """The number of exactly this text; None where no event has it."""
        return self._codes.get(text)

    def holding(self, part: str) -> NDArray[np.bool_]:
        """For each number, whether its text holds ``part``, letter case aside."""
        count, end = len(self.texts), len(self._folded)  # others may add while this looks
        hits = np.zeros(count, dtype=np.bool_)
        blob, wanted, found = bytes(self._folded[:end]), folded(part), array("q")
        place = blob.find(wanted)
        while place >= 0:
            found.append(place)
            place = blob.find(wanted, blob.find(_END, place))  # one is enough in a text: on to the next
        starts = np.array(self._starts, dtype=np.int64)[:count]
        hits[np.searchsorted(starts, np.array(found, dtype=np.int64), side="right") - 1] = True
        return hits

    def only(self, codes: Sequence[int]) -> tuple[Strings, NDArray[np.int32]]:
        """A pool of these alone, and for each old number the new one (0 for those that are gone)."""
        kept, numbers = Strings(), np.zeros(len(self.texts), dtype=np.int32)
        for code in codes:
            numbers[code] = kept.code(self.texts[code])
        return kept, numbers


def folded(text: str) -> bytes:
    """A text as it is searched: letter case aside, on one line."""
    return text.casefold().replace("\n", " ").encode("utf-8", "surrogatepass")
