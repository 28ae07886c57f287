"""The plaintext partition tree: exact range search with few tests (hyperplane partition, principal-axis cuts).

Each inner node has a unit vector u and ``s(x) = <u, x> + c``, which is 1-Lipschitz as is the s of a pair of pivots
(Connor et al., "Hilbert exclusion", 2016): u is the first principal axis of its records (Sproull, "Refinements to
nearest-neighbor searching in k-dimensional trees", 1991), which cuts clusters apart where a pair of far points cuts
through them. Records are split at the widest gap of s; ``left_max`` and ``right_min`` are s at either side's edge.
A ball of radius r around q can hold records of the left side only where ``s(q) - r <= left_max``, of the right side
only where ``s(q) + r >= right_min``. Ties are cut in the order they were sorted in, so leaves never exceed their size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.errors import ParameterError

Reals = NDArray[np.float64]
Indices = NDArray[np.int64]

LEAF_SIZE = 16
_PROBES = 8
SLACK = 1e-5
"""Added to the radius in inner tests, in level units: rounding may cost a visit, never a result."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A search's rows (ascending) and what it cost: how many inner and leaf tests were made."""

    rows: Indices
    inner_tests: int
    leaf_tests: int


@dataclass(frozen=True, slots=True, eq=False)
class PartitionTree:
    """A tree over n records of d features.

    Attributes:
        directions: u, ``[inner, d]``.
        offsets: c, ``[inner]``.
        left_max, right_min: the edges of either side, ``[inner]``.
        children: ``[inner, 2]``: an inner node's number, or ``~leaf``.
        leaf_starts: ``[leaves + 1]``: leaf k holds ``order[leaf_starts[k] : leaf_starts[k + 1]]``.
        order: the rows in leaf order, ``[n]``.
        root: the root's number, or ``~0`` where one leaf holds everything.
    """

    directions: Reals
    offsets: Reals
    left_max: Reals
    right_min: Reals
    children: Indices
    leaf_starts: Indices
    order: Indices
    root: int

    @classmethod
    def build(cls, vectors: Reals, leaf_size: int = LEAF_SIZE) -> PartitionTree:
        """Build from ``float64[n, d]``. Deterministic.

        Raises:
            ParameterError: no record, no feature, or a value that is not finite.
        """
        if vectors.ndim != 2 or 0 in vectors.shape or not np.isfinite(vectors).all():
            raise ParameterError("at least one record of at least one finite feature is expected", part="vectors")
        if leaf_size < 1:
            raise ParameterError("at least one record a leaf", part="leaf_size")
        return _Builder(vectors, leaf_size).tree()

    def search(self, vectors: Reals, query: Reals, radius_squared: int) -> Found:
        """Every row with ``|x - q|^2 <= radius_squared``, exactly, for the vectors the tree was built from."""
        reach = math.sqrt(radius_squared) + SLACK
        frontier, leaves, inner_tests = [self.root], [], 0
        while frontier:
            leaves += [~node for node in frontier if node < 0]
            nodes = np.array([node for node in frontier if node >= 0], dtype=np.int64)
            inner_tests += 2 * len(nodes)
            place = self.directions[nodes] @ query + self.offsets[nodes]
            left, right = place - reach <= self.left_max[nodes], place + reach >= self.right_min[nodes]
            frontier = [*self.children[nodes[left], 0].tolist(), *self.children[nodes[right], 1].tolist()]
        rows = self.rows_of(leaves)
        near = ((vectors[rows] - query) ** 2).sum(axis=1) <= radius_squared
        return Found(np.sort(rows[near]), inner_tests, len(rows))

    def rows_of(self, leaves: list[int]) -> Indices:
        """The rows in some leaves."""
        parts = [self.order[self.leaf_starts[leaf] : self.leaf_starts[leaf + 1]] for leaf in leaves]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def share_of_a_scan(tree: PartitionTree, vectors: Reals) -> float:
    """How many tests searches make, of a scan's: measured on some of the records, each hitting one in a thousand.

    Clustered records take some hundredths of a scan. Of uniform ones in 16 features and more a search sees nearly all,
    and pays for the inner tests besides.
    """
    count, made = len(vectors), 0
    asked = vectors[:: max(1, count // _PROBES)][:_PROBES]
    for query in asked:
        distances = ((vectors - query) ** 2).sum(axis=1)
        wanted = count // 1000
        found = tree.search(vectors, query, int(np.partition(distances, wanted)[wanted]))
        made += found.inner_tests + found.leaf_tests
    return made / (count * len(asked))


class _Builder:
    """Grows a tree from an explicit stack: depth is no matter of Python's recursion limit."""

    def __init__(self, vectors: Reals, leaf_size: int) -> None:
        self._vectors, self._leaf_size = vectors, leaf_size
        self._inner: list[tuple[Reals, float, float, float]] = []
        self._children: list[list[int]] = []
        self._leaves: list[Indices] = []

    def tree(self) -> PartitionTree:
        stack: list[tuple[Indices, int, int]] = [(np.arange(len(self._vectors)), -1, 0)]
        root = ~0
        while stack:
            rows, parent, side = stack.pop()
            node = self._leaf(rows) if len(rows) <= self._leaf_size else self._split(rows, stack)
            if parent >= 0:
                self._children[parent][side] = node
            else:
                root = node
        d = self._vectors.shape[1]
        columns = list(zip(*self._inner, strict=True)) or [(), (), (), ()]
        return PartitionTree(
            directions=np.array(columns[0], dtype=np.float64).reshape(-1, d),
            offsets=np.array(columns[1], dtype=np.float64),
            left_max=np.array(columns[2], dtype=np.float64),
            right_min=np.array(columns[3], dtype=np.float64),
            children=np.array(self._children, dtype=np.int64).reshape(-1, 2),
            leaf_starts=np.cumsum([0, *map(len, self._leaves)], dtype=np.int64),
            order=np.concatenate(self._leaves),
            root=root,
        )

    def _leaf(self, rows: Indices) -> int:
        self._leaves.append(rows)
        return ~(len(self._leaves) - 1)

    def _split(self, rows: Indices, stack: list[tuple[Indices, int, int]]) -> int:
        points = self._vectors[rows]
        cut = cut_in_two(points)
        self._inner.append((cut.direction, cut.offset, cut.left_max, cut.right_min))
        self._children.append([0, 0])
        node = len(self._inner) - 1
        stack += [(rows[cut.right], node, 1), (rows[cut.left], node, 0)]
        return node


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One inner node over some points: its hyperplane, its edges, and which points lie on either side."""

    direction: Reals
    offset: float
    left_max: float
    right_min: float
    left: Indices
    right: Indices


def cut_in_two(points: Reals) -> Cut:
    """Split ``float64[k, d]``, k at least 2, across the direction of most variance, where the widest gap is.

    Of the gaps only those count that leave a fifth of the points on either side; where all are nothing, the median.
    """
    direction = _principal(points)
    place = points @ direction
    sorted_by_place = np.argsort(place, kind="stable")
    first, last = max(1, len(points) // 5), min(len(points) - 1, len(points) - len(points) // 5)
    gaps = np.diff(place[sorted_by_place])[first - 1 : last]
    middle = first + int(np.argmax(gaps)) if gaps.max() > 0 else len(points) // 2
    left, right = sorted_by_place[:middle], sorted_by_place[middle:]
    return Cut(direction, 0.0, float(place[left[-1]]), float(place[right[0]]), left, right)


def _principal(points: Reals) -> Reals:
    """The first principal axis, of length one; any axis where all points coincide."""
    away = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(away.T @ away)
    return np.ascontiguousarray(axes[:, -1])
