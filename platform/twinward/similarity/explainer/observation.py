"""What whoever holds an outsourced tree sees of one search, beside what only the hospital knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.matrix.encrypted_tree import NO_RECORD, EncryptedTree
from twinward_crypto.matrix.index import OutsourcedIndex
from twinward_crypto.matrix.token import Token

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """An inner node the search came to: its two encrypted test values; a side is entered where its value is <= 0."""

    number: int
    left: float
    right: float


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One search.

    Attributes:
        records, dimension: the cohort's size and its number of features.
        root: the root's number in ``children`` (``~leaf`` where a leaf is the root).
        children: ``int64[inner nodes, 2]``.
        leaf_sizes: records in each leaf.
        path: the inner nodes visited, in order.
        leaves: the leaves visited.
        hits: how many records of each visited leaf were accepted.
        tests: encrypted values of the leaf tests made, ``float64[k]``; accepted where <= 0.
        margins: of the same tests, the plain value ``|x - q|^2 - r^2 - 1/2``: the hospital alone knows it.
        ciphertext, token: m x m numbers: the first visited record's ciphertext, and the token.
    """

    records: int
    dimension: int
    root: int
    children: NDArray[np.int64] = field(repr=False)
    leaf_sizes: tuple[int, ...] = field(repr=False)
    path: tuple[NodeSeen, ...]
    leaves: tuple[int, ...]
    hits: tuple[int, ...]
    tests: Reals = field(repr=False)
    margins: Reals = field(repr=False)
    ciphertext: Reals = field(repr=False)
    token: Reals = field(repr=False)

    @property
    def accepted(self) -> int:
        """How many records the search accepted."""
        return int((self.tests <= 0).sum())

    @property
    def tests_made(self) -> int:
        """Inner and leaf tests together; a linear scan makes ``records``."""
        return 2 * len(self.path) + len(self.tests)

    @property
    def agrees(self) -> bool:
        """Whether every encrypted test made decided as the plain one does."""
        return bool(((self.tests <= 0) == (self.margins <= 0)).all())


def observe(
    index: OutsourcedIndex, token: Token, levels: NDArray[np.int64], query: NDArray[np.int64], radius_squared: int
) -> Observation:
    """Search, and write down what the tree's holder saw.

    Args:
        index: the hospital's side; ``levels[r]`` are the features of its row r.
        token: what the cloud was given for ``query`` and ``radius_squared``.
    """
    tree = index.tree
    visit = tree.search(token)
    m = tree.size
    held = [tree.leaves[leaf][tree.leaves[leaf] != NO_RECORD] for leaf in visit.leaves]
    positions = np.concatenate([np.empty(0, dtype=np.int64), *held])
    tests = tree.records[positions] @ token.flat
    near = ((levels[index.rows[positions]] - query) ** 2).sum(axis=1)
    first = tree.records[positions[0]] if len(positions) else np.zeros(m * m)
    return Observation(
        records=len(index),
        dimension=levels.shape[1],
        root=tree.root,
        children=tree.children.copy(),
        leaf_sizes=tuple(int(size) for size in (tree.leaves != NO_RECORD).sum(axis=1)),
        path=tuple(_seen(tree, node, token) for node in visit.nodes),
        leaves=visit.leaves,
        hits=tuple(int((tree.records[part] @ token.flat <= 0).sum()) for part in held),
        tests=tests,
        margins=near - radius_squared - 0.5,
        ciphertext=first.reshape(m, m),
        token=token.flat.reshape(m, m),
    )


def _seen(tree: EncryptedTree, node: int, token: Token) -> NodeSeen:
    left, right = tree.inner[node] @ token.flat
    return NodeSeen(node, float(left), float(right))
