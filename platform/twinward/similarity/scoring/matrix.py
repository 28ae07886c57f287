"""What one token of the outsourced tree cannot ask: the nearest k, and weights. Driven by the hospital.

The hospital sees the query in this mode anyway, so it makes the tokens itself and searches again and again:

* **nearest k**: the radius is halved until fewer than k match, by bisection on the squared distance, a whole number:
  at most ``log2(d (levels - 1)^2)`` searches, some 18 for 16 features of 128 levels. Whoever holds the tree sees each
  search's path and result size.
* **weights** of 1 and more: ``sum w (x - q)^2 <= t`` implies ``sum (x - q)^2 <= t / min w``. The tree is asked for that
  larger ball, and the hospital sorts out by its own plaintext who is in the smaller one. The holder sees the larger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import structlog
from numpy.typing import NDArray

from twinward.similarity.cohort import Cohort, CohortSecrets
from twinward.similarity.errors import QueryMalformed
from twinward.similarity.models import Match
from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.matrix.index import OutsourcedIndex, build_index
from twinward_crypto.matrix.scheme import MatrixKey
from twinward_crypto.matrix.token import Token, make_token

log = structlog.get_logger("twinward.similarity")

Search = Callable[[int], list[int]]
"""Squared distance -> rows within it."""


@dataclass(frozen=True, slots=True)
class MatrixQuestion:
    """A query in the clear: levels, how near, and beyond what a token can ask the weights and how many are wanted."""

    levels: tuple[int, ...] = field(repr=False)
    threshold_squared: int
    weights: tuple[int, ...] | None = None
    nearest: int | None = None


def checked_search(cohort: Cohort, asked: MatrixQuestion, *, max_weight: int) -> MatrixQuestion:
    """A search that fits the cohort, its threshold cut to the largest distance there is.

    Raises:
        QueryMalformed: levels or weights that do not fit the schema, or a weight of zero.
    """
    d, top = cohort.schema.dimension, cohort.schema.levels - 1
    weights = asked.weights or (1,) * d
    if len(asked.levels) != d or len(weights) != d or max(asked.levels) > top:
        raise QueryMalformed(f"{d} levels from 0 to {top}, and as many weights, are expected")
    if not all(1 <= weight <= max_weight for weight in weights):
        raise QueryMalformed(f"matrix mode takes weights from 1 to {max_weight}, and leaves no feature out")
    limit = min(asked.threshold_squared, top * top * sum(weights))
    return replace(asked, weights=weights, threshold_squared=limit)


def search(engine: MatrixEngine, asked: MatrixQuestion, rows: NDArray[np.bool_]) -> list[Match]:
    """What a checked search finds among some of the cohort's rows."""
    cohort = engine.cohort
    everywhere = _searching(engine, cohort, asked.levels, asked.weights or ())

    def within(limit: int) -> list[int]:
        return [row for row in everywhere(limit) if rows[row]]

    limit = asked.threshold_squared
    return cohort.at(_nearest(within, limit, asked.nearest) if asked.nearest else within(limit))


def _searching(engine: MatrixEngine, cohort: Cohort, levels: Sequence[int], weights: Sequence[int]) -> Search:
    smallest, weighing, query = min(weights), np.array(weights), np.array(levels)

    def within(limit: int) -> list[int]:
        rows = engine.rows(engine.parse(engine.token(tuple(levels), limit // smallest)))
        if len(set(weights)) == 1:
            return rows
        distances = ((cohort.levels[rows] - query) ** 2 * weighing).sum(axis=1)
        return [row for row, distance in zip(rows, distances, strict=True) if distance <= limit]

    return within


def _nearest(within: Search, limit: int, count: int) -> list[int]:
    """The smallest ball up to ``limit`` that holds ``count`` rows; the whole of it where no smaller one does."""
    low, high, found = -1, limit, within(limit)  # fewer than count within low; found is what is within high
    if len(found) < count:
        return found
    while high - low > 1:
        middle = (low + high) // 2
        rows = within(middle)
        if len(rows) >= count:
            high, found = middle, rows
        else:
            low = middle
    return found


@dataclass(frozen=True, slots=True, eq=False)
class MatrixEngine:
    """The outsourced tree, which row each of its positions is, and the key that makes tokens."""

    cohort: Cohort
    index: OutsourcedIndex
    key: MatrixKey = field(repr=False)
    top: int

    @classmethod
    def prepare(cls, cohort: Cohort, secrets_: CohortSecrets) -> MatrixEngine:
        """Build and encrypt the tree."""
        top = cohort.schema.levels - 1
        key = secrets_.matrix_key
        index = build_index(key, cohort.levels, top=top, binding=cohort.binding)
        if index.scans:
            log.info("matrix mode tests every record: this cohort is too small or lies too evenly for a tree")
        return cls(cohort, index, key, top)

    def token(self, levels: tuple[int, ...], threshold_squared: int) -> bytes:
        """A token for the outsourced tree. Raises ``QueryMalformed``."""
        try:
            return make_token(
                self.key, levels, threshold_squared, top=self.top, binding=self.index.tree.binding
            ).encode()
        except ParameterError as error:
            raise QueryMalformed(str(error)) from error

    def parse(self, data: bytes) -> Token:
        """A token's bytes. Raises ``QueryMalformed``."""
        try:
            return Token.decode(data, size=self.key.size, binding=self.index.tree.binding)
        except MalformedBundle as error:
            raise QueryMalformed(str(error)) from error

    def rows(self, token: Token) -> list[int]:
        """The cohort's rows that match."""
        return sorted(self.index.rows[self.index.tree.search(token).positions].tolist())
