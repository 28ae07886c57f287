"""The hospital's side: rows to slots. Every slot, whatever it stands for, costs the same operations in the same order.

A dummy is a row as any other: each table of pairs holds, after its own entries, one that encrypts 0 and, in the first
table, one that encrypts 1. A slot that always matches takes the former everywhere, one that never does the latter, so
no branch, no time and no count of operations tells them from rows. Everything a slot takes of the query goes through
the first table, whose entries carry a fresh ``t (G, P)`` that the asker does not know: so no sum is neutral but with
probability 2^-252, whatever was sent, and no multiplication meets a case of its own.

Tables join several features (``grouped``): of a group of features every combination of levels is summed once, and a row
then takes one entry a group. Which features are joined depends on numbers of levels and of slots alone.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.feasibility.group import SODIUM, Element, Group, RandomBytes, random_scalar, scalar_of
from twinward_crypto.feasibility.query import TAG_BYTES, FeasibilityQuery, Pair

Indices = NDArray[np.int32]
"""``int32[slots, tables]``: which entry of each table a slot takes."""

_MAX_TABLE: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Layout:
    """Which features share a table. Public: a function of the features' levels, of ``T`` and of the number of slots.

    Attributes:
        levels: of each feature.
        threshold: ``T``; with more than one slot a row there is a last table, which takes 0 .. T - 1 off its cost.
        groups: features by number, in order.
    """

    levels: tuple[int, ...]
    threshold: int
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def plan(cls, levels: Sequence[int], threshold: int, slots: int) -> Layout:
        """The layout with the fewest additions for so many slots."""
        bounds = [1 << bits for bits in range(_MAX_TABLE.bit_length())]
        layouts = [cls(tuple(levels), threshold, _grouped(levels, bound)) for bound in bounds]
        return min(layouts, key=lambda one: one.additions(slots))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Entries of each group's table, without its dummies."""
        return tuple(prod(self.levels[feature] for feature in group) for group in self.groups)

    @property
    def tables(self) -> int:
        """How many entries a slot is the sum of."""
        return len(self.groups) + (self.threshold > 1)

    def additions(self, slots: int) -> int:
        """Additions of pairs: those that make the tables, and those of the slots."""
        made = sum(
            prod(self.levels[feature] for feature in group[:depth])
            for group in self.groups
            for depth in range(2, len(group) + 1)
        )
        return made + self.sizes[0] + slots * (self.tables - 1)

    def rows(self, levels: NDArray[np.int64]) -> Indices:
        """Rows of levels, ``int64[n, features]``, as entries of the groups' tables. Raises ``ParameterError``."""
        if levels.ndim != 2 or levels.shape[1] != len(self.levels):
            raise ParameterError("as many levels as features are needed", part="rows")
        if len(levels) and ((levels < 0).any() or (levels >= np.array(self.levels)).any()):
            raise ParameterError("levels beyond their features", part="rows")
        found = np.zeros((len(levels), len(self.groups)), np.int32)
        for place, group in enumerate(self.groups):
            for feature in group:
                found[:, place] = found[:, place] * self.levels[feature] + levels[:, feature]
        return found

    def dummy(self, *, matches: bool) -> list[int]:
        """The entries of a slot that always matches, or never."""
        first, *others = self.sizes
        return [first + (not matches), *others, *([0] if self.threshold > 1 else [])]

    def slots(self, rows: Indices, *, capacity: int, matching: int, never: int) -> Indices:
        """The slots of an answer, shuffled: ``T`` a row, those that pad the rows to ``capacity``, and the dummies."""
        if len(rows) > capacity:
            raise ParameterError("more rows than there is room for", part="rows")
        own = np.repeat(rows, self.threshold, axis=0)
        if self.threshold > 1:
            own = np.hstack([own, np.tile(np.arange(self.threshold, dtype=np.int32), len(rows))[:, None]])
        empty = (capacity - len(rows)) * self.threshold + never
        hit, miss = self.dummy(matches=True), self.dummy(matches=False)
        parts = [own, np.tile(np.array(hit, np.int32), (matching, 1)), np.tile(np.array(miss, np.int32), (empty, 1))]
        every: Indices = np.vstack(parts).astype(np.int32)
        order = list(range(len(every)))
        secrets.SystemRandom().shuffle(order)
        return every[order]


def _grouped(levels: Sequence[int], bound: int) -> tuple[tuple[int, ...], ...]:
    groups: list[tuple[int, ...]] = []
    for feature, size in enumerate(levels):
        if groups and prod(levels[one] for one in groups[-1]) * size <= bound:
            groups[-1] = (*groups[-1], feature)
        else:
            groups.append((feature,))
    return tuple(groups)


@dataclass(frozen=True, slots=True)
class Tables:
    """One query's tables, ready for slots. Make them with ``of``, each process its own."""

    public: Element
    tables: tuple[tuple[Pair, ...], ...] = field(repr=False)
    group: Group = field(repr=False)
    random_bytes: RandomBytes = field(repr=False)

    @classmethod
    def of(
        cls,
        query: FeasibilityQuery,
        layout: Layout,
        *,
        group: Group = SODIUM,
        random_bytes: RandomBytes = os.urandom,
    ) -> Tables:
        """Sum every combination of each group's levels. The query's elements were checked: ``require_elements``."""
        if query.levels != layout.levels or query.threshold != layout.threshold:
            raise MalformedBundle("a query about other features")
        maker = Maker(group, random_bytes, query.public)
        tables = []
        for place, members in enumerate(layout.groups):
            entries = list(query.pairs[members[0]])
            for feature in members[1:]:
                entries = [maker.sum(one, other) for one in entries for other in query.pairs[feature]]
            entries.append(maker.encrypted(0))
            if place == 0:
                entries.append(maker.encrypted(1))
                blind = maker.encrypted(0)
                entries = [maker.sum(one, blind) for one in entries]
            tables.append(tuple(entries))
        if query.threshold > 1:
            tables.append(tuple(maker.encrypted(-cost) for cost in range(query.threshold)))
        return cls(query.public, tuple(tables), group, random_bytes)

    def slots(self, indices: Indices) -> bytes:
        """Slots, 40 bytes each: a sum of one entry a table, times a fresh scalar, and a fresh encryption of 0 added."""
        return b"".join(self._slot(row) for row in indices.tolist())

    def _slot(self, row: Sequence[int]) -> bytes:
        add, multiply = self.group.add, self.group.multiply
        one, other = self.tables[0][row[0]]
        for table, entry in zip(self.tables[1:], row[1:], strict=True):
            first, second = table[entry]
            one, other = add(one, first), add(other, second)
        factor, fresh = random_scalar(self.random_bytes), random_scalar(self.random_bytes)
        point = add(multiply(factor, one), self.group.multiply_base(fresh))
        return point + add(multiply(factor, other), multiply(fresh, self.public))[:TAG_BYTES]


@dataclass(frozen=True, slots=True)
class Maker:
    """What makes pairs: sums of two, and encryptions of the hospital's own."""

    group: Group
    random_bytes: RandomBytes
    public: Element

    def sum(self, one: Pair, other: Pair) -> Pair:
        """Both elements' sums."""
        return self.group.add(one[0], other[0]), self.group.add(one[1], other[1])

    def encrypted(self, number: int) -> Pair:
        """A fresh encryption under the asker's key."""
        blind = random_scalar(self.random_bytes)
        hidden = self.group.multiply(blind, self.public)
        if number:
            hidden = self.group.add(hidden, self.group.multiply_base(scalar_of(number)))
        return self.group.multiply_base(blind), hidden
