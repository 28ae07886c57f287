"""Obfuscation-grade outsourced tree: every node and record encrypted, searched by whoever holds it, without a key.

What the holder sees: the tree's shape, the path a query takes, the scaled value of each test, how many records match
and which (as positions of its own order), whether two queries take the same path, and, of every change, which leaf it
falls into. What it can compute from that: see the package's two breaks.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.matrix._entropy import Indices, Reals
from twinward_crypto.matrix.screen import Screen
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
        self._inner, self._records = _Rows(inner.reshape(-1, size * size)), _Rows(records)
        self._children, self._leaves = _Rows(children), _Rows(leaves)
        self._lock = threading.Lock()
        self._screen = Screen.fitting(size, len(records))
        if self._screen:
            self._screen.copy(self._inner.all(), self._records.all())

    @property
    def inner(self) -> Reals:
        """Every inner node's two tests."""
        return np.asarray(self._inner.all()).reshape(-1, 2, self.size * self.size)

    @property
    def records(self) -> Reals:
        """Every record's ciphertext, by position; zeros where one was deleted."""
        return np.asarray(self._records.all())

    @property
    def children(self) -> Indices:
        """Every inner node's children."""
        return np.asarray(self._children.all())

    @property
    def leaves(self) -> Indices:
        """Every leaf's positions."""
        return np.asarray(self._leaves.all())

    def search(self, token: Token) -> Visit:
        """Every record the token's test accepts: by kernels where they are ready, else a frontier a matrix product.

        Raises:
            MalformedBundle: the token is for another tree.
        """
        if token.size != self.size or token.binding != self.binding:
            raise MalformedBundle("a token for another tree")
        with self._lock:
            return self._screened(token.flat) or self._search(token.flat)

    def apply(self, patch: Patch) -> None:
        """Take over a change. Changes come in order, each once.

        Raises:
            MalformedBundle: it is not the change that comes next; nothing is changed.
        """
        with self._lock:
            if patch.revision != self.revision + 1:
                raise MalformedBundle(f"a change to revision {patch.revision}, {self.revision + 1} comes next")
            for node, (left, right) in sorted(patch.tests.items()):
                self._inner.put(2 * node, left)
                self._inner.put(2 * node + 1, right)
            for position, ciphertext in sorted(patch.records.items()):
                self._records.put(position, ciphertext)
            for node, pair in sorted(patch.children.items()):
                self._children.put(node, np.array(pair, dtype=np.int64))
            for leaf, held in sorted(patch.leaves.items()):
                self._leaves.put(leaf, held)
            self.root, self.revision = patch.root, patch.revision
            if self._screen:
                tests = [2 * node + side for node in patch.tests for side in range(2)]
                self._screen.forget(tests, list(patch.records))

    def _screened(self, token: Reals) -> Visit | None:
        if self._screen is None:
            return None
        found = self._screen.search(
            self.root, self._children.all(), self._leaves.all(), self._inner.all(), self._records.all(), token
        )
        if found is None:
            return None
        path, leaves = tuple(found.nodes.tolist()), tuple(found.leaves.tolist())
        return Visit(np.sort(found.positions), path, leaves, 2 * len(path), found.tested)

    def _search(self, token: Reals) -> Visit:
        inner, children = self._inner.all(), self._children.all()
        frontier = np.array([self.root])
        leaves: list[int] = []
        path: list[int] = []
        while len(frontier):
            leaves += (~frontier[frontier < 0]).tolist()
            nodes = frontier[frontier >= 0]
            path += nodes.tolist()
            both = (2 * nodes[:, None] + np.arange(2)).ravel()
            frontier = children[nodes].ravel()[_accepted(inner, both, token)]
        held = np.sort(self._leaves.all()[leaves].ravel())
        positions = held[np.searchsorted(held, 0) :]
        near = _accepted(self._records.all(), positions, token)
        return Visit(positions[near], tuple(path), tuple(leaves), 2 * len(path), len(positions))


class _Rows:
    """An array whose first axis grows: doubled when full, so that an insertion costs its own row."""

    def __init__(self, rows: Any) -> None:
        self._rows, self._count = rows, len(rows)

    def all(self) -> Any:
        return self._rows[: self._count]

    def put(self, place: int, row: Any) -> None:
        if place >= len(self._rows):
            more = np.zeros(
                (max(place + 1, 2 * len(self._rows)) - len(self._rows), *np.shape(row)), dtype=self._rows.dtype
            )
            self._rows = np.concatenate([self._rows.reshape(-1, *np.shape(row)), more])
        self._rows[place] = row
        self._count = max(self._count, place + 1)


@np.errstate(over="ignore", invalid="ignore")  # a token made by hand may overflow: its traces are compared all the same
def _accepted(ciphertexts: Reals, places: Indices, token: Reals) -> NDArray[np.bool_]:
    """Which of these ciphertexts' traces with the token are at most zero. Neighbours are multiplied where they lie."""
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    if len(places) < 8 * (len(cuts) + 1):
        return np.asarray(ciphertexts[places] @ token <= 0)
    traces = np.empty(len(places))
    for start, end in pairwise((0, *cuts.tolist(), len(places))):
        np.dot(ciphertexts[places[start] : places[start] + end - start], token, out=traces[start:end])
    return np.asarray(traces <= 0)
