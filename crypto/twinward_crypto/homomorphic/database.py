"""The hospital's side of vendor-key mode: plaintext features, packed and pre-transformed for scoring.

A block holds N records (N the ring's degree): feature j of record r is coefficient r of the block's polynomial j,
already in SEAL's number-theoretic form. Where features are grouped, a block holds N/g records and polynomial i has
record r's features ``i g .. i g + g - 1`` as coefficients from ``r g`` on. Coefficients beyond the last record and the
last feature hold random levels, so that a padded block looks like a full one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from twinward_crypto.errors import ParameterError
from twinward_crypto.homomorphic import _seal
from twinward_crypto.homomorphic.parameters import Plan
from twinward_crypto.homomorphic.query import random_levels
from twinward_crypto.homomorphic.wire import BINDING_BYTES, MAX_ROWS, UNBOUND

Levels = NDArray[np.int64]
"""Quantised features, ``[records, features]``, each in ``0 .. levels - 1``."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """N/g records: ``features`` and, for weighted queries, ``squares``, one transformed polynomial per group."""

    features: tuple[Any, ...]
    squares: tuple[Any, ...]
    norms: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Database:
    """A cohort ready to be scored. It holds plaintext features: it never leaves the hospital.

    Attributes:
        plan: the numbers both sides agreed on.
        rows: how many records it holds.
        binding: what a query must carry to be scored against it.
    """

    plan: Plan
    rows: int
    binding: bytes
    blocks: tuple[Block, ...] = field(repr=False)

    @classmethod
    def build(cls, plan: Plan, levels: Levels, *, binding: bytes = UNBOUND) -> Database:
        """Pack and transform a cohort.

        Raises:
            ParameterError: the array's shape or a level does not fit the plan, or there is no record.
        """
        rows = check_levels(plan, levels)
        if len(binding) != BINDING_BYTES:
            raise ParameterError(f"must be {BINDING_BYTES} bytes", part="binding")
        n = plan.block_rows
        blocks = tuple(_block(plan, _filled(plan, levels[start : start + n])) for start in range(0, rows, n))
        return cls(plan, rows, binding, blocks)


def check_levels(plan: Plan, levels: Levels) -> int:
    """The number of rows of an array that fits the plan; ``ParameterError`` for one that does not."""
    if levels.ndim != 2 or levels.shape[1] != plan.dimension:
        raise ParameterError(f"rows of {plan.dimension} levels are expected", part="dimension")
    if not 1 <= len(levels) <= MAX_ROWS:
        raise ParameterError(f"1 to {MAX_ROWS} records are expected", part="rows")
    if not np.issubdtype(levels.dtype, np.integer) or levels.min() < 0 or levels.max() >= plan.levels:
        raise ParameterError(f"levels must be whole numbers from 0 to {plan.levels - 1}", part="levels")
    return len(levels)


def _filled(plan: Plan, levels: Levels) -> Levels:
    """A block's levels, shifted by one, random where there is no record or no feature: ``[block_rows, groups * g]``."""
    full = random_levels(plan.block_rows * plan.groups * plan.grouping, plan.levels).reshape(plan.block_rows, -1)
    full[: len(levels), : plan.dimension] = 1 + levels
    return full


def _block(plan: Plan, shifted: Levels) -> Block:
    context = _seal.context(plan.profile.degree, plan.profile.modulus_bits, plan.plain_modulus)
    evaluator = seal.Evaluator(context)
    squared = shifted * shifted

    def transformed(values: Levels) -> tuple[Any, ...]:
        """Each group's polynomial: a record's grouped features lie side by side."""
        grouped = values.reshape(plan.block_rows, plan.groups, plan.grouping).transpose(1, 0, 2)
        return tuple(to_ntt(column) for column in grouped.reshape(plan.groups, -1))

    def to_ntt(column: Levels) -> Any:
        made = seal.Plaintext()
        evaluator.transform_to_ntt(_seal.polynomial(context, column.astype(np.uint64)), context.first_parms_id(), made)
        return made

    squares = transformed(squared) if plan.weighted else ()
    return Block(transformed(shifted), squares, squared[:, : plan.dimension].sum(axis=1))
