"""Obfuscation-grade outsourced tree: every node and record encrypted, searched by whoever holds it, without a key.

What the holder sees: the tree's shape, the path a query takes, the scaled value of each test, how many records match
and which (as positions of its own order), whether two queries take the same path, and, of every change, which leaf it
falls into. What it can compute from that: see the package's two breaks.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.matrix._entropy import Indices, Reals
from twinward_crypto.matrix.token import Token

NO_RECORD = -1


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """What one search did, as its holder saw it.

    Attributes:
        positions: matching records, as positions in the outsourced order, ascending.
        nodes: the inner nodes visited, in order.
        leaves: the leaves visited, in order.
        inner_tests, leaf_tests: how many traces were computed.
    """

    positions: Indices
    nodes: tuple[int, ...]
    leaves: tuple[int, ...]
    inner_tests: int
    leaf_tests: int


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One change to an outsourced tree, as the hospital sends it. Ciphertexts and shape only.

    Attributes:
        revision: the tree's revision once it is applied.
        root: the root's number afterwards.
        tests: of each new or widened inner node, its two tests, ``float64[2, m * m]``.
        children: of each new or re-hung inner node, its two children.
        leaves: of each new or changed leaf, its records' positions, ``NO_RECORD`` where there is none.
        records: of each new record its ciphertext, ``float64[m * m]``; of an erased one, zeros.
    """

    revision: int
    root: int
    tests: Mapping[int, Reals] = field(default_factory=dict, repr=False)
    children: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    leaves: Mapping[int, Indices] = field(default_factory=dict)
    records: Mapping[int, Reals] = field(default_factory=dict, repr=False)


class EncryptedTree:
    """The outsourced side: ciphertexts flattened to rows of ``m * m`` numbers, and the tree's shape.

    Args:
        size: m, the side of every ciphertext.
        binding: what a token must carry.
        inner: ``float64[inner nodes, 2, m * m]``: the left and the right test of each.
        children: ``int64[inner nodes, 2]``: an inner node's number, or ``~leaf``.
        leaves: ``int64[leaves, capacity]``: positions of records, ``NO_RECORD`` where there is none.
        records: ``float64[records, m * m]``.
        root: the root's number, or ``~0`` where one leaf holds everything.
    """

    def __init__(
        self, *, size: int, binding: bytes, inner: Reals, children: Indices, leaves: Indices, records: Reals, root: int
    ) -> None:
        self.size, self.binding, self.root, self.revision = size, binding, root, 0
        self._inner, self._children = _Rows(inner), _Rows(children)
        self._leaves, self._records = _Rows(leaves), _Rows(records)
        self._lock = threading.Lock()

    @property
    def inner(self) -> Reals:
        """Every inner node's two tests."""
        return self._inner.all()

    @property
    def records(self) -> Reals:
        """Every record's ciphertext, by position; zeros where one was deleted."""
        return self._records.all()

    @property
    def children(self) -> Indices:
        """Every inner node's children."""
        return self._children.all()

    @property
    def leaves(self) -> Indices:
        """Every leaf's positions."""
        return self._leaves.all()

    def search(self, token: Token) -> Visit:
        """Every record the token's test accepts. A frontier of nodes is one matrix-vector product.

        Raises:
            MalformedBundle: the token is for another tree.
        """
        if token.size != self.size or token.binding != self.binding:
            raise MalformedBundle("a token for another tree")
        with self._lock:
            return self._search(token.flat)

    def apply(self, patch: Patch) -> None:
        """Take over a change. Changes come in order, each once.

        Raises:
            MalformedBundle: it is not the change that comes next; nothing is changed.
        """
        with self._lock:
            if patch.revision != self.revision + 1:
                raise MalformedBundle(f"a change to revision {patch.revision}, {self.revision + 1} comes next")
            for rows, changed in (
                (self._inner, patch.tests),
                (self._children, patch.children),
                (self._leaves, patch.leaves),
                (self._records, patch.records),
            ):
                for place in sorted(changed):
                    rows.put(place, np.asarray(changed[place]))
            self.root, self.revision = patch.root, patch.revision

    def _search(self, token: Reals) -> Visit:
        inner, children = self._inner.all(), self._children.all()
        frontier = np.array([self.root])
        leaves: list[int] = []
        path: list[int] = []
        while len(frontier):
            leaves += (~frontier[frontier < 0]).tolist()
            nodes = frontier[frontier >= 0]
            path += nodes.tolist()
            frontier = children[nodes][inner[nodes] @ token <= 0]
        held = self._leaves.all()[leaves].ravel()
        positions = held[held != NO_RECORD]
        near = self._records.all()[positions] @ token <= 0
        return Visit(np.sort(positions[near]), tuple(path), tuple(leaves), 2 * len(path), len(positions))


class _Rows:
    """An array whose first axis grows: doubled when full, so that an insertion costs its own row."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows, self._count = rows, len(rows)

    def all(self) -> np.ndarray:
        return self._rows[: self._count]

    def put(self, place: int, row: np.ndarray) -> None:
        if place >= len(self._rows):
            more = np.zeros((max(place + 1, 2 * len(self._rows)) - len(self._rows), *row.shape), dtype=row.dtype)
            self._rows = np.concatenate([self._rows.reshape(-1, *row.shape), more])
        self._rows[place] = row
        self._count = max(self._count, place + 1)
