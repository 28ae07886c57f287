"""Search by kernels: the narrow copy of a tree's ciphertexts, its upkeep, and the call. Needs no key.

The copy holds a quarter of the ciphertexts' bytes, and searching is bound by reading them. It is made of ciphertexts
alone, so its holder learns nothing by it. A sign that the copy cannot tell for certain is asked of the ciphertext.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.kernels import store
from twinward_crypto.matrix._entropy import Indices, Reals

LEAST_RECORDS: Final = 1024
"""Below it a search takes less than a millisecond, and a copy is not worth its making."""
_AT_ONCE: Final = 8192
_STEPS: Final = np.iinfo(np.int16).max
_BLOCK: Final = 64


class Found(NamedTuple):
    """What a walk saw: positions not in order, how many records were tested."""

    nodes: Indices
    leaves: Indices
    positions: Indices
    tested: int


class Screen:
    """A tree's ciphertexts beside their narrow copies. Not for two threads at once: the tree's lock is held."""

    def __init__(self, kernels: ModuleType, size: int) -> None:
        self._kernels = kernels
        self._inner, self._records = _Narrow(size * size), _Narrow(size * size)
        self._checked = False

    @classmethod
    def fitting(cls, size: int, records: int) -> Screen | None:
        """A screen where kernels are ready and a tree is large enough to gain by one."""
        kernels = store.load("screen") if records >= LEAST_RECORDS else None
        return cls(kernels, size) if kernels else None

    def copy(self, inner: Reals, records: Reals) -> None:
        """Make the copies now rather than with the first search."""
        self._inner.beside(inner)
        self._records.beside(records)

    def forget(self, tests: list[int], records: list[int]) -> None:
        """The tree has changed, and these rows of it."""
        self._checked = False
        self._inner.stale(tests)
        self._records.stale(records)

    def search(
        self, root: int, children: Indices, leaves: Indices, inner: Reals, records: Reals, token: Reals
    ) -> Found | None:
        """Walk the tree; None where the token's numbers are too large for a screen.

        Raises:
            MalformedBundle: children or leaves name what there is not, or the shape is no tree.
        """
        most = float(np.abs(token).max())
        if not 0 < most < 1e150:
            return None
        scaled = token / most  # the sign stays, and float32 neither overflows nor loses what counts
        if not self._checked:
            _require_tree(root, children, leaves, len(inner), len(records))
            self._checked = True
        narrow = np.zeros(self._inner.width, np.float32)
        narrow[: len(scaled)] = scaled
        queue = np.empty(2 * (len(children) + len(leaves)) + 4, np.int64)
        path, found = np.empty(len(children) + 1, np.int64), np.empty(leaves.size + leaves.shape[1], np.int64)
        nodes, ended, hits, tested = self._kernels.walk(
            root, np.ascontiguousarray(children), np.ascontiguousarray(leaves),
            *self._inner.beside(inner), *self._records.beside(records),
            narrow, scaled, float(np.linalg.norm(scaled)), queue, path, found,
        )  # fmt: skip
        if nodes < 0:
            raise MalformedBundle("an outsourced tree whose nodes form no tree")
        return Found(path[:nodes], queue[len(queue) - ended :][::-1], found[:hits], tested)


class _Narrow:
    """Rows of float64 as rows of int16, a scale each, and what a trace can lose by it for each unit of the token."""

    def __init__(self, width: int) -> None:
        self.width = -(-width // _BLOCK) * _BLOCK
        self._rows = np.zeros((0, self.width), np.int16)
        self._scales, self._slacks = np.zeros(0), np.zeros(0)
        self._stale: set[int] = set()

    def stale(self, places: list[int]) -> None:
        self._stale.update(place for place in places if place < len(self._rows))

    def beside(self, wide: Reals) -> tuple[NDArray[np.int16], Reals, Reals, Reals]:
        """The copy, brought up to date, and the rows it is of."""
        known = len(self._rows)
        if len(wide) > known:
            more = len(wide) - known
            self._rows = np.concatenate([self._rows, np.zeros((more, self.width), np.int16)])
            self._scales, self._slacks = (np.concatenate([one, np.zeros(more)]) for one in (self._scales, self._slacks))
        for start in range(known, len(wide), _AT_ONCE):
            self._take(wide, slice(start, min(start + _AT_ONCE, len(wide))))
        if self._stale:
            self._take(wide, np.array(sorted(self._stale)))
            self._stale.clear()
        return self._rows, self._scales, self._slacks, np.ascontiguousarray(wide)

    @np.errstate(over="ignore", invalid="ignore")
    def _take(self, wide: Reals, places: Any) -> None:
        rows = wide[places]
        scale = np.abs(rows).max(axis=1) / _STEPS
        scale[~((scale > 0) & np.isfinite(scale))] = 1.0
        steps = np.rint(np.nan_to_num(rows / scale[:, None], nan=0.0, posinf=0.0, neginf=0.0))
        lost = np.linalg.norm(rows - steps * scale[:, None], axis=1)
        norm, count = np.linalg.norm(rows, axis=1) + lost, rows.shape[1]
        # float32: the token's rounding, a product's, 63 sums' of a block; float64: any order's, here and plainly.
        rounded = norm * ((_BLOCK + 4) * 2.0**-24 + 2 * (count + 4) * 2.0**-53)
        self._rows[places, :count] = np.clip(steps, -_STEPS, _STEPS)
        self._scales[places], self._slacks[places] = scale, (lost + rounded) * (1 + 1e-6)


def _require_tree(root: int, children: Indices, leaves: Indices, tests: int, records: int) -> None:
    """Every number names what there is: the walk checks no index."""
    ends = (root, *((int(children.min()), int(children.max())) if len(children) else ()))
    in_tree = all(-len(leaves) <= one < len(children) for one in ends)
    if not in_tree or tests != 2 * len(children) or (leaves.size and int(leaves.max()) >= records):
        raise MalformedBundle("an outsourced tree that names nodes or records which are not there")
