"""What a gated query says, and the one form an honest client gives it.

A query is a row of whole numbers, each in every slot of a ciphertext of its own: ``-2 w q`` of each feature, then each
weight ``w`` where weights are given, then the offset ``sum w q^2``. Whoever encrypts may put anything else there: other
numbers for other rows, fractions, an offset that does not belong. ``PlainQuery.read`` takes the one form and refuses
everything else alike, looking at nothing but the query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic.parameters import Plan, query_tolerance
from twinward_crypto.homomorphic.parts import query_scales
from twinward_crypto.homomorphic.query import check_query

Slots: TypeAlias = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class PlainQuery:
    """A query in the clear: for the vendor that makes it and the gate that checks it, and for nobody else.

    Attributes:
        levels: the plan's ``dimension`` levels. Of a query that was read back, 0 where the weight is 0.
        weights: as many weights; None counts every feature once.
    """

    levels: tuple[int, ...] = field(repr=False)
    weights: tuple[int, ...] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, plan: Plan, levels: Sequence[int], weights: Sequence[int] | None = None) -> Self:
        """A query within the plan. Raises ``ParameterError`` for a level or weight outside it."""
        checked, factors = check_query(plan, levels, weights)
        return cls(tuple(checked), None if weights is None else tuple(factors))

    @classmethod
    def read(cls, plan: Plan, parts: Sequence[Slots], *, weighted: bool) -> Self:
        """The query behind decrypted parts, each ``complex128[slots]``.

        Raises:
            MalformedBundle: it is not in the form an honest client gives; the message is the same for every cause.
        """
        bits = query_scales(plan, weighted)
        numbers = [_whole(slots, query_tolerance(plan, scale)) for slots, scale in zip(parts, bits, strict=True)]
        d = plan.dimension
        linear, weights, offset = numbers[:d], numbers[d:-1] if weighted else [1] * d, numbers[-1]
        levels = [_level(product, weight, plan) for product, weight in zip(linear, weights, strict=True)]
        if offset != sum(w * q * q for w, q in zip(weights, levels, strict=True)):
            raise refusal()
        return cls(tuple(levels), tuple(weights) if weighted else None)

    def numbers(self) -> list[int]:
        """What is encrypted, part by part."""
        weights = self.weights or (1,) * len(self.levels)
        linear = [-2 * w * q for w, q in zip(weights, self.levels, strict=True)]
        offset = sum(w * q * q for w, q in zip(weights, self.levels, strict=True))
        return [*linear, *(self.weights or ()), offset]


def _whole(slots: Slots, tolerance: float) -> int:
    """The one whole number in every slot. Imaginary parts count as deviations; NaN and infinity as outside."""
    number = float(np.rint(slots[0].real))
    if not np.isfinite(number) or not np.abs(slots - number).max() <= tolerance + abs(number) * _FLOAT_ERROR:
        raise refusal()
    return int(number)


def _level(product: int, weight: int, plan: Plan) -> int:
    """``q`` from ``-2 w q`` and ``w``."""
    if not 0 <= weight <= plan.max_weight:
        raise refusal()
    level, rest = divmod(-product, 2 * weight) if weight else (0, product)
    if rest or not 0 <= level < plan.levels:
        raise refusal()
    return level


def refusal() -> MalformedBundle:
    """What is said of every query that no honest client makes, whatever is wrong with it."""
    return MalformedBundle("values that no well-formed query gives")


_FLOAT_ERROR = 2.0**-40  # what SEAL's decoding, a Fourier transform in doubles, loses of a number: some 2^-48
