"""Obfuscation-grade index, the hospital's side: the plaintext tree, the key, and the encrypted tree made from them.

Records come and go between epochs' rebuilds. An insertion descends to the leaf on its side of every hyperplane; where
it lies between both edges the nearer one is moved, and only such nodes are encrypted anew. A full leaf is cut in two.
A deletion leaves edges as they are: looser than they could be, never wrong. So every search stays exact, and what
grows is the number of tests; ``worn`` says when a rebuild pays, which also replaces the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from twinward_crypto.errors import ParameterError
from twinward_crypto.matrix._entropy import SYSTEM, Entropy, Indices, Reals
from twinward_crypto.matrix.encrypted_tree import NO_RECORD, EncryptedTree, Patch
from twinward_crypto.matrix.partition_tree import LEAF_SIZE, PartitionTree, cut_in_two, share_of_a_scan
from twinward_crypto.matrix.scheme import MatrixKey
from twinward_crypto.matrix.token import EXTRA, centred, reach_of

_MANY = 4096
"""Fewer records are searched in no time, by a tree or without."""


@dataclass(slots=True, eq=False)
class _Node:
    """An inner node as the hospital knows it."""

    direction: Reals
    offset: float
    left_max: float
    right_min: float
    children: list[int]


@dataclass(slots=True, eq=False)
class _Change:
    """What one insertion or deletion touches, gathered until it becomes a patch."""

    nodes: set[int] = field(default_factory=set)
    leaves: set[int] = field(default_factory=set)
    records: dict[int, Reals] = field(default_factory=dict)


class OutsourcedIndex:
    """What the hospital keeps: rows by position, the plaintext tree, the key; and ``tree``, which it hands out.

    Made by ``build_index``. ``insert`` and ``delete`` change ``tree`` and give the patch by which other holders of a
    copy follow.
    """

    def __init__(
        self, key: MatrixKey, top: int, leaf_size: int, entropy: Entropy, plain: PartitionTree, vectors: Reals
    ) -> None:
        self._key, self._top, self._leaf_size, self._entropy = key, top, leaf_size, entropy
        self._vectors = dict(enumerate(vectors[plain.order]))
        self._rows = plain.order.tolist()
        self._nodes = [
            _Node(direction, float(offset), float(left), float(right), pair)
            for direction, offset, left, right, pair in zip(
                plain.directions,
                plain.offsets,
                plain.left_max,
                plain.right_min,
                plain.children.tolist(),
                strict=True,
            )
        ]
        starts = plain.leaf_starts.tolist()
        self._leaves = [list(range(start, end)) for start, end in pairwise(starts)]
        self._leaf_of = {position: leaf for leaf, held in enumerate(self._leaves) for position in held}
        self._position_of = {row: position for position, row in enumerate(self._rows)}
        self._built, self._changes = len(self._rows), 0
        self._root = plain.root
        self._asked_size: int | None = leaf_size
        self.tree: EncryptedTree

    @property
    def rows(self) -> Indices:
        """The row at each outsourced position, deleted ones included. Stays at the hospital."""
        return np.array(self._rows, dtype=np.int64)

    @property
    def scans(self) -> bool:
        """Whether one leaf holds everything, so that a search tests every record."""
        return self._root < 0

    @property
    def worn(self) -> bool:
        """Whether half as many records came or went as there were: time to build anew."""
        return 2 * self._changes > self._built

    def __len__(self) -> int:
        return len(self._vectors)

    def insert(self, row: int, levels: Sequence[int]) -> Patch:
        """Add a record under a row number that is not in use.

        Raises:
            ParameterError: ``part`` is ``row`` or ``levels``; nothing is changed.
        """
        if row in self._position_of:
            raise ParameterError("this row is in the index already", part="row")
        vector = _vectors(self._key, np.array([levels]), self._top)[0]
        position, change = len(self._rows), _Change()
        self._rows.append(row)
        self._vectors[position], self._position_of[row] = vector, position
        change.records[position] = self._key.encrypt(_leaf_tests(vector[None], self._key.reach), entropy=self._entropy)[
            0
        ]
        parent, side, leaf = self._descend(vector, change)
        self._leaves[leaf].append(position)
        self._leaf_of[position] = leaf
        change.leaves.add(leaf)
        if len(self._leaves[leaf]) > self._leaf_size:
            self._split(leaf, parent, side, change)
        return self._commit(change)

    def delete(self, row: int) -> Patch:
        """Take a record out; its ciphertext is erased. Raises ``ParameterError`` where there is no such row."""
        position = self._position_of.pop(row, None)
        if position is None:
            raise ParameterError("no such row is in the index", part="row")
        leaf, change = self._leaf_of.pop(position), _Change()
        self._leaves[leaf].remove(position)
        del self._vectors[position]
        change.leaves.add(leaf)
        change.records[position] = np.zeros(self._key.size**2)
        return self._commit(change)

    def rebuild(self, key: MatrixKey, *, binding: bytes) -> OutsourcedIndex:
        """The same rows in a fresh tree under another key and binding. Raises ``ParameterError`` where none is left."""
        positions = sorted(self._vectors)
        levels = np.array([self._vectors[position] for position in positions]) + self._top / 2
        made = build_index(
            key,
            np.rint(levels).astype(np.int64).reshape(len(positions), -1),
            top=self._top,
            binding=binding,
            leaf_size=self._asked_size,
            entropy=self._entropy,
        )
        made._rename({place: self._rows[position] for place, position in enumerate(positions)})
        return made

    def _rename(self, names: dict[int, int]) -> None:
        self._rows = [names[row] for row in self._rows]
        self._position_of = {row: position for position, row in enumerate(self._rows)}

    def _descend(self, vector: Reals, change: _Change) -> tuple[int, int, int]:
        """The (parent, side, leaf) a vector belongs to; edges it lies between are moved to take it in."""
        parent, side, at = -1, 0, self._root
        while at >= 0:
            node = self._nodes[at]
            place = float(node.direction @ vector) + node.offset
            parent, side = at, int(place - node.left_max > node.right_min - place)
            if side == 0 and place > node.left_max:
                node.left_max = place
                change.nodes.add(at)
            elif side == 1 and place < node.right_min:
                node.right_min = place
                change.nodes.add(at)
            at = node.children[side]
        return parent, side, ~at

    def _split(self, leaf: int, parent: int, side: int, change: _Change) -> None:
        held = self._leaves[leaf]
        cut = cut_in_two(np.array([self._vectors[position] for position in held]))
        made, other = len(self._nodes), len(self._leaves)
        self._nodes.append(_Node(cut.direction, cut.offset, cut.left_max, cut.right_min, [~leaf, ~other]))
        self._leaves[leaf] = [held[k] for k in cut.left]
        self._leaves.append([held[k] for k in cut.right])
        self._leaf_of.update(dict.fromkeys(self._leaves[other], other))
        if parent < 0:
            self._root = made
        else:
            self._nodes[parent].children[side] = made
            change.nodes.add(parent)
        change.nodes.add(made)
        change.leaves.update((leaf, other))

    def _commit(self, change: _Change) -> Patch:
        nodes = sorted(change.nodes)
        patch = Patch(
            revision=self.tree.revision + 1,
            root=self._root,
            tests=dict(zip(nodes, self._inner_tests(nodes), strict=True)),
            children={node: (self._nodes[node].children[0], self._nodes[node].children[1]) for node in nodes},
            leaves={leaf: self._slots(self._leaves[leaf]) for leaf in change.leaves},
            records=change.records,
        )
        self.tree.apply(patch)
        self._changes += 1
        return patch

    def _outsource(self, binding: bytes) -> None:
        m, nodes = self._key.size, range(len(self._nodes))
        vectors = np.array([self._vectors[position] for position in range(len(self._rows))])
        self.tree = EncryptedTree(
            size=m,
            binding=binding,
            inner=self._inner_tests(nodes),
            children=np.array([self._nodes[node].children for node in nodes], dtype=np.int64).reshape(-1, 2),
            leaves=np.array([self._slots(held) for held in self._leaves]),
            records=self._key.encrypt(_leaf_tests(vectors, self._key.reach), entropy=self._entropy),
            root=self._root,
        )

    def _slots(self, held: Sequence[int]) -> Indices:
        slots = np.full(self._leaf_size, NO_RECORD, dtype=np.int64)
        slots[: len(held)] = held
        return slots

    def _inner_tests(self, nodes: Sequence[int]) -> Reals:
        """Both tests of some inner nodes, encrypted: ``float64[k, 2, m * m]``."""
        m, reach = self._key.size, self._key.reach
        chosen = [self._nodes[node] for node in nodes]
        directions = np.array([node.direction for node in chosen]).reshape(len(chosen), m - 2 - EXTRA)
        offsets = np.array([node.offset for node in chosen])
        left = (offsets - np.array([node.left_max for node in chosen])) / reach
        right = (np.array([node.right_min for node in chosen]) - offsets) / reach
        tests = np.stack([_columns(directions, left, -1.0, 0.0), _columns(-directions, right, -1.0, 0.0)], axis=1)
        return self._key.encrypt(tests.reshape(-1, m - 2), entropy=self._entropy).reshape(-1, 2, m * m)


def build_index(
    key: MatrixKey,
    levels: Indices,
    *,
    top: int,
    binding: bytes = bytes(32),
    leaf_size: int | None = None,
    entropy: Entropy = SYSTEM,
) -> OutsourcedIndex:
    """Build the partition tree of ``int64[n, d]`` levels in ``0 .. top`` and encrypt every node and record.

    ``leaf_size``: records of a leaf. Where none is said, as many as pay: of many records that lie so evenly that a tree
    makes as many tests as a scan, one leaf holds all.

    Raises:
        ParameterError: the array does not fit the key or has a level out of range.
    """
    vectors = _vectors(key, levels, top)
    held = leaf_size or LEAF_SIZE
    plain = PartitionTree.build(vectors, held)
    if leaf_size is None and len(vectors) >= _MANY and share_of_a_scan(plain, vectors) >= 1:
        held = 2 * len(vectors)  # room for more insertions than a rebuild waits for
        plain = PartitionTree.build(vectors, held)
    index = OutsourcedIndex(key, top, held, entropy, plain, vectors)
    index._asked_size = leaf_size
    index._outsource(binding)
    return index


def key_for(dimension: int, top: int, *, entropy: Entropy = SYSTEM) -> MatrixKey:
    """A fresh key for records of ``dimension`` levels in ``0 .. top``."""
    return MatrixKey.generate(dimension + EXTRA, reach_of(dimension, top), entropy=entropy)


def _vectors(key: MatrixKey, levels: Indices, top: int) -> Reals:
    if levels.ndim != 2 or levels.shape[1] != key.size - 2 - EXTRA:
        raise ParameterError(f"rows of {key.size - 2 - EXTRA} levels are expected", part="dimension")
    if not len(levels) or not np.issubdtype(levels.dtype, np.integer) or levels.min() < 0 or levels.max() > top:
        raise ParameterError(f"at least one record, whole levels from 0 to {top}", part="levels")
    return centred(levels.astype(np.float64), top)


def _leaf_tests(vectors: Reals, reach: float) -> Reals:
    return _columns(-2 * vectors, (vectors**2).sum(axis=1) / reach, 0.0, reach)


def _columns(coordinates: Reals, middle: Reals, radius: float, last: float) -> Reals:
    count = len(coordinates)
    return np.column_stack([coordinates, middle, np.full(count, radius), np.full(count, last)])
