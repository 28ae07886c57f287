"""Obfuscation-grade outsourced tree: every node and record encrypted, searched by whoever holds it, without a key.

What the holder sees: the tree's shape, the path a query takes, the scaled value of each test, how many records match
and which (as positions of its own order), and whether two queries take the same path. What it can compute from that:
see the package's two breaks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.matrix._entropy import SYSTEM, Entropy, Indices, Reals
from twinward_crypto.matrix.partition_tree import LEAF_SIZE, PartitionTree
from twinward_crypto.matrix.scheme import MatrixKey
from twinward_crypto.matrix.token import EXTRA, Token, centred, reach_of


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """What one search did, as its holder saw it.

    Attributes:
        positions: matching records, as positions in the outsourced order, ascending.
        nodes: the inner nodes visited, in order.
        inner_tests, leaf_tests: how many traces were computed.
    """

    positions: Indices
    nodes: tuple[int, ...]
    inner_tests: int
    leaf_tests: int


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedTree:
    """The outsourced side: ciphertexts flattened to rows of ``m * m`` numbers, and the tree's shape."""

    size: int
    binding: bytes
    inner: Reals = field(repr=False)
    """``[inner nodes, 2, m * m]``: the left and the right test."""
    records: Reals = field(repr=False)
    """``[records, m * m]``, in leaf order."""
    children: Indices = field(repr=False)
    leaf_starts: Indices = field(repr=False)
    root: int

    def search(self, token: Token) -> Visit:
        """Every record the token's test accepts. A frontier of nodes is one matrix-vector product.

        Raises:
            MalformedBundle: the token is for another tree.
        """
        if token.size != self.size or token.binding != self.binding:
            raise MalformedBundle("a token for another tree")
        frontier, leaves, path = np.array([self.root]), [], []
        while len(frontier):
            leaves += [int(~node) for node in frontier[frontier < 0]]
            nodes = frontier[frontier >= 0]
            path += nodes.tolist()
            open_sides = self.inner[nodes] @ token.flat <= 0
            frontier = self.children[nodes][open_sides]
        positions = self._positions(leaves)
        near = self.records[positions] @ token.flat <= 0
        return Visit(np.sort(positions[near]), tuple(path), 2 * len(path), len(positions))

    def _positions(self, leaves: list[int]) -> Indices:
        spans = [np.arange(self.leaf_starts[leaf], self.leaf_starts[leaf + 1]) for leaf in leaves]
        return np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class OutsourcedIndex:
    """What the hospital keeps beside its key: the encrypted tree it hands out, and which row each position is."""

    tree: EncryptedTree
    rows: Indices = field(repr=False)
    """The row at each outsourced position. Stays at the hospital."""


def build_index(
    key: MatrixKey,
    levels: Indices,
    *,
    top: int,
    binding: bytes = bytes(32),
    leaf_size: int = LEAF_SIZE,
    entropy: Entropy = SYSTEM,
) -> OutsourcedIndex:
    """Build the partition tree of ``int64[n, d]`` levels in ``0 .. top`` and encrypt every node and record.

    Raises:
        ParameterError: the array does not fit the key or has a level out of range.
    """
    if levels.ndim != 2 or levels.shape[1] != key.size - 2 - EXTRA:
        raise ParameterError(f"rows of {key.size - 2 - EXTRA} levels are expected", part="dimension")
    if not len(levels) or levels.min() < 0 or levels.max() > top:
        raise ParameterError(f"at least one record, levels from 0 to {top}", part="levels")
    vectors = centred(levels.astype(np.float64), top)
    tree = PartitionTree.build(vectors, leaf_size)
    tests = np.stack([_left_tests(tree, key.reach), _right_tests(tree, key.reach)], axis=1)
    m = key.size
    return OutsourcedIndex(
        EncryptedTree(
            size=m,
            binding=binding,
            inner=key.encrypt(tests.reshape(-1, m - 2), entropy=entropy).reshape(-1, 2, m * m),
            records=key.encrypt(_leaf_tests(vectors[tree.order], key.reach), entropy=entropy),
            children=tree.children,
            leaf_starts=tree.leaf_starts,
            root=tree.root,
        ),
        tree.order,
    )


def key_for(dimension: int, top: int, *, entropy: Entropy = SYSTEM) -> MatrixKey:
    """A fresh key for records of ``dimension`` levels in ``0 .. top``."""
    return MatrixKey.generate(dimension + EXTRA, reach_of(dimension, top), entropy=entropy)


def _left_tests(tree: PartitionTree, reach: float) -> Reals:
    return _columns(tree.directions, (tree.offsets - tree.left_max) / reach, -1.0, 0.0)


def _right_tests(tree: PartitionTree, reach: float) -> Reals:
    return _columns(-tree.directions, (tree.right_min - tree.offsets) / reach, -1.0, 0.0)


def _leaf_tests(vectors: Reals, reach: float) -> Reals:
    return _columns(-2 * vectors, (vectors**2).sum(axis=1) / reach, 0.0, reach)


def _columns(coordinates: Reals, middle: Reals, radius: float, last: float) -> Reals:
    count = len(coordinates)
    return np.column_stack([coordinates, middle, np.full(count, radius), np.full(count, last)])
