"""Slots by kernels: the same bytes as ``answer.Tables`` gives for the same randomness, which is its oracle.

libsodium checks every element of a query before (``require_elements``), makes every encryption of the hospital's own,
and reduces every scalar. Kernels add, and multiply by scalars that are fresh and used once.
"""

from __future__ import annotations

import os
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.feasibility.answer import Indices, Layout, Maker, Tables
from twinward_crypto.feasibility.group import ONE, SODIUM, RandomBytes, random_scalar
from twinward_crypto.feasibility.query import TAG_BYTES, FeasibilityQuery, Pair
from twinward_crypto.kernels import store

Points = NDArray[np.uint64]
"""``uint64[points, 4, 5]``: X, Y, Z, T, or their cached forms, in limbs of 51 bits."""

_PRIME = 2**255 - 19
_D = -121665 * pow(121666, -1, _PRIME) % _PRIME


def _limbs(value: int) -> list[int]:
    return [value >> 51 * k & (1 << 51) - 1 for k in range(5)]


_FIXED = np.array([_limbs(_D), _limbs(pow(2, (_PRIME - 1) // 4, _PRIME))], dtype=np.uint64)
_TWICE_D = np.array(_limbs(2 * _D % _PRIME), dtype=np.uint64)
_EIGHT_D = np.repeat(_TWICE_D[:, None], 8, axis=1)


def tables_for(query: FeasibilityQuery, layout: Layout) -> Tables | KernelTables:
    """A query's tables, by kernels where they are ready. Its elements were checked: ``require_elements``."""
    kernels = store.load("edwards")
    return KernelTables(kernels, query, layout, store.load("edwards8")) if kernels else Tables.of(query, layout)


class KernelTables:
    """One query's tables as kernels read them.

    Args:
        kernels: the family ``edwards``.
        query, layout: as ``Tables.of``. Raises ``MalformedBundle`` for a query about other features.
        eight: the family ``edwards8``, which makes eight slots at a time; None where the processor cannot.
        random_bytes: where scalars come from.
    """

    def __init__(
        self,
        kernels: ModuleType,
        query: FeasibilityQuery,
        layout: Layout,
        eight: ModuleType | None = None,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        if query.levels != layout.levels or query.threshold != layout.threshold:
            raise MalformedBundle("a query about other features")
        self._kernels, self._random = kernels, random_bytes
        tables = self._tables(query, layout)
        self._sizes = np.array([len(one) for one in tables])
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]])
        self._pairs = np.concatenate(tables)
        self._base, self._public = (self._windows(one) for one in (SODIUM.multiply_base(ONE), query.public))
        self._eight = eight
        if eight:
            for points in (self._pairs, self._base, self._public):
                eight.carry(points.reshape(-1, 4, 5))

    def slots(self, indices: Indices) -> bytes:
        """As ``Tables.slots``. Raises ``ParameterError`` where an index names no entry: kernels check none."""
        if indices.ndim != 2 or indices.shape[1] != len(self._sizes):
            raise ParameterError("an entry of each table is needed", part="indices")
        if ((indices < 0) | (indices >= self._sizes)).any():
            raise ParameterError("entries that no table has", part="indices")
        count = len(indices)
        scalars = b"".join(random_scalar(self._random) for _ in range(2 * count))
        drawn = np.frombuffer(scalars, "<u8").reshape(count, 2, 4)
        points = self._made((indices + self._starts).astype(np.int64), *(drawn[:, k] for k in range(2)))
        words = np.empty((2, count, 4), np.uint64)
        for half in range(2):
            self._kernels.encode(points[half, :count], words[half])
        encoded = words.astype("<u8", copy=False).view(np.uint8)
        return np.concatenate([encoded[0], encoded[1, :, :TAG_BYTES]], axis=1).tobytes()

    def _made(self, entries: NDArray[np.int64], factors: NDArray[np.uint64], fresh: NDArray[np.uint64]) -> Points:
        """``[2, slots, 4, 5]``, with some more slots where eight are made at a time."""
        beyond = -len(entries) % self._eight.LANES if self._eight else 0
        some, by, plus = (np.pad(one, ((0, beyond), (0, 0))) for one in (entries, factors, fresh))
        points = np.empty((2, len(some), 4, 5), np.uint64)
        made, twice_d = (self._eight.slots, _EIGHT_D) if self._eight else (self._kernels.slots, _TWICE_D)
        made(some, self._pairs, by, plus, self._base, self._public, points, twice_d)
        return points

    def _tables(self, query: FeasibilityQuery, layout: Layout) -> list[NDArray[np.uint64]]:
        """As ``Tables.of`` makes them, in the same order of random draws: cached ``[entries, 2, 4, 5]`` each."""
        maker, tables = Maker(SODIUM, self._random, query.public), []
        for place, members in enumerate(layout.groups):
            halves = self._points(query.pairs[members[0]])
            for feature in members[1:]:
                halves = self._sums(halves, self._points(query.pairs[feature]))
            own = [maker.encrypted(0)]
            if place == 0:
                own.append(maker.encrypted(1))
            halves = [np.concatenate(both) for both in zip(halves, self._points(own), strict=True)]
            if place == 0:
                halves = self._sums(halves, self._points([maker.encrypted(0)]))
            tables.append(np.stack([self._cached(half) for half in halves], axis=1))
        if query.threshold > 1:
            costs = self._points([maker.encrypted(-cost) for cost in range(query.threshold)])
            tables.append(np.stack([self._cached(half) for half in costs], axis=1))
        return tables

    def _points(self, pairs: tuple[Pair, ...] | list[Pair]) -> list[Points]:
        """First and second elements of pairs. Raises ``MalformedBundle`` for what is no point: none was let in."""
        halves = []
        for half in range(2):
            words = np.frombuffer(b"".join(pair[half] for pair in pairs), "<u8").reshape(-1, 4)
            points = np.empty((len(pairs), 4, 5), np.uint64)
            if not self._kernels.decode(words, points, _FIXED):
                raise MalformedBundle("something else than elements of the group")
            halves.append(points)
        return halves

    def _sums(self, halves: list[Points], others: list[Points]) -> list[Points]:
        made = []
        for some, more in zip(halves, others, strict=True):
            points = np.empty((len(some) * len(more), 4, 5), np.uint64)
            self._kernels.sums(some, self._cached(more), points)
            made.append(points)
        return made

    def _cached(self, points: Points) -> Points:
        made = np.empty_like(points)
        self._kernels.cached(points, made, _TWICE_D)
        return made

    def _windows(self, element: bytes) -> NDArray[np.uint64]:
        made = np.empty((32, 256, 4, 5), np.uint64)
        ((point,), _) = self._points([(element, element)])
        self._kernels.windows(point, made, _TWICE_D)
        return made
