"""The facts of events as columns of numbers; an event's row is its index in the log."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twinward.audit.event_index.strings import Strings
from twinward.core.vocabulary import Action, Category, Purpose, Role

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

_TYPES: Final[dict[str, Any]] = {
    "state": np.uint8,
    "at_ms": np.int64,
    "agent": np.int32,
    "role": np.int8,
    "unit": np.int32,
    "action": np.int8,
    "purpose": np.int8,
    "twin": np.int32,
    "categories": np.uint64,
    "permitted": np.bool_,
    "reason": np.int32,
    "detail": np.int32,
}
_TEXTS: Final = ("agent", "unit", "twin", "reason", "detail")
Row = tuple[int, int, int, int, int, int, int, int, int, bool, int, int]
"""One event's numbers, in the order of the columns."""


class Columns:
    """A growing table. What was read out of it stays as it was: growing makes new arrays."""

    def __init__(self, capacity: int = 0) -> None:
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.full(capacity, HIDDEN if name == "state" else NOBODY if name in _TEXTS else 0, dtype=kind)
            for name, kind in _TYPES.items()
        }

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return len(self._arrays["state"])

    def reserve(self, rows: int) -> None:
        """Make room for so many rows."""
        if rows <= self.capacity:
            return
        larger = Columns(max(rows, 1024, self.capacity + self.capacity // 4))
        for name, array in self._arrays.items():
            larger[name][: self.capacity] = array
        self._arrays = larger._arrays

    def put(self, start: int, rows: list[Row]) -> None:
        """Write rows from ``start`` on."""
        self.reserve(start + len(rows))
        for name, values in zip(_TYPES, zip(*rows, strict=True), strict=False):
            self._arrays[name][start : start + len(rows)] = values

    def snapshot(self) -> Columns:
        """The arrays as they are now: rows are only ever added beside those that were handed out."""
        taken = Columns()
        taken._arrays = dict(self._arrays)
        return taken

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Keep of these rows only that they were, when, and of whom: their events were erased."""
        for name in _TYPES.keys() - {"at_ms", "twin"}:
            array = self._arrays[name].copy()
            array[rows] = ERASED if name == "state" else NOBODY if name in ("agent", "unit", "reason", "detail") else 0
            self._arrays[name] = array

    def compacted(self, strings: Strings) -> Strings:
        """The texts that a row still names, in a pool of their own; the columns name those from now on."""
        used = [np.flatnonzero(np.bincount(codes[codes >= 0], minlength=1)) for codes in map(self.__getitem__, _TEXTS)]
        kept, numbers = strings.only(np.unique(np.concatenate(used)).tolist())
        for name in _TEXTS:
            codes = self._arrays[name]
            self._arrays[name] = np.where(codes < 0, codes, numbers[codes])
        return kept
