"""The facts of events as columns of numbers; an event's row is its index in the log.

They are written into Python's arrays and read as numpy's, over the same memory: a node takes its log in by itself, and
loads numpy when somebody searches it.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final

from twinward.audit.event_index.strings import Strings
from twinward.core.late_module import LateModule
from twinward.core.vocabulary import Action, Category, Purpose, Role

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LateModule("numpy")

ROLES: Final = tuple(Role)
ACTIONS: Final = tuple(Action)
PURPOSES: Final = tuple(Purpose)
CATEGORIES: Final = tuple(Category)
ROLE_CODES: Final = {one.value: code for code, one in enumerate(ROLES)}
ACTION_CODES: Final = {one.value: code for code, one in enumerate(ACTIONS)}
PURPOSE_CODES: Final = {one.value: code for code, one in enumerate(PURPOSES)}
CATEGORY_BITS: Final = {one.value: 1 << code for code, one in enumerate(CATEGORIES)}

OPEN, ERASED, DAMAGED, QUIET, HIDDEN = range(5)
"""What a row is: an event; erased; not what was committed to; a heartbeat; nothing that is shown (a map's root)."""

NOBODY: Final = -1
"""The code where no text applies: an event about no twin, say."""

_TYPES: Final = {
    "state": "B",
    "at_ms": "q",
    "agent": "i",
    "role": "b",
    "unit": "i",
    "action": "b",
    "purpose": "b",
    "twin": "i",
    "categories": "Q",
    "permitted": "b",
    "reason": "i",
    "detail": "i",
}
"""Codes of numbers, the same for ``array`` and for numpy."""
_TRUTHS: Final = frozenset({"permitted"})
_TEXTS: Final = ("agent", "unit", "twin", "reason", "detail")
Row = tuple[int, int, int, int, int, int, int, int, int, bool, int, int]
"""One event's numbers, in the order of the columns."""


class Columns:
    """A growing table. What was read out of it stays as it was: growing makes new arrays."""

    def __init__(self, capacity: int = 0) -> None:
        self._arrays = {
            name: array(kind, [HIDDEN if name == "state" else NOBODY if name in _TEXTS else 0]) * capacity
            for name, kind in _TYPES.items()
        }

    def __getitem__(self, name: str) -> NDArray[Any]:
        return np.frombuffer(self._arrays[name], "?" if name in _TRUTHS else _TYPES[name])

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return len(self._arrays["state"])

    def reserve(self, rows: int) -> None:
        """Make room for so many rows."""
        if rows <= self.capacity:
            return
        larger = Columns(max(rows, 1024, self.capacity + self.capacity // 4))
        for name, numbers in self._arrays.items():
            larger._arrays[name][: self.capacity] = numbers
        self._arrays = larger._arrays

    def put(self, start: int, rows: list[Row]) -> None:
        """Write rows from ``start`` on."""
        self.reserve(start + len(rows))
        for (name, kind), values in zip(_TYPES.items(), zip(*rows, strict=True), strict=False):
            self._arrays[name][start : start + len(rows)] = array(kind, values)

    def snapshot(self) -> Columns:
        """The arrays as they are now: rows are only ever added beside those that were handed out."""
        taken = Columns()
        taken._arrays = dict(self._arrays)
        return taken

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Keep of these rows only that they were, when, and of whom: their events were erased."""
        for name in _TYPES.keys() - {"at_ms", "twin"}:
            self._arrays[name] = self._arrays[name][:]
            self[name][rows] = (
                ERASED if name == "state" else NOBODY if name in ("agent", "unit", "reason", "detail") else 0
            )

    def compacted(self, strings: Strings) -> Strings:
        """The texts that a row still names, in a pool of their own; the columns name those from now on."""
        used = [np.flatnonzero(np.bincount(codes[codes >= 0], minlength=1)) for codes in map(self.__getitem__, _TEXTS)]
        kept, numbers = strings.only(np.unique(np.concatenate(used)).tolist())
        for name in _TEXTS:
            codes = self[name]
            self._arrays[name] = array(
                _TYPES[name], np.where(codes < 0, codes, numbers[codes]).astype(np.int32).tobytes()
            )
        return kept
