"""What a vendor asks, in clinical units: the question, and how near is near."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from twinward.core.errors import BadInput
from twinward.features.facets import require_known
from twinward.features.schema import FeatureSchema, Value
from twinward.protocol.fields import FacetValue, where_of
from twinward.protocol.terms import Mode, Terms


@dataclass(frozen=True, slots=True)
class Threshold:
    """Either a share of each feature's clinical range, or a squared distance in levels. Make it by name.

    ``Threshold.share(0.05)``: the features that count may differ, on (root mean square) average, by up to 5 % of
    their clinical range. A patient 2 % away in one and 7 % in another of two features is within; 8 % in both is not.

    ``Threshold.squared_levels(645)``: the sum over features of weight times squared difference in levels, exactly.
    """

    fraction: float | None = None
    squared: int | None = None

    @classmethod
    def share(cls, fraction: float) -> Threshold:
        """Up to this share (0 to 1) of each feature's range, on root-mean-square average."""
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
            raise BadInput("a threshold is a share of each feature's range, from 0 to 1", hint="0.05 means 5 %")
        return cls(fraction=float(fraction))

    @classmethod
    def squared_levels(cls, squared: int) -> Threshold:
        """A squared distance in squared levels, weights included."""
        if isinstance(squared, bool) or not isinstance(squared, int) or squared < 0:
            raise BadInput("a squared distance in levels is a whole number from 0")
        return cls(squared=squared)

    def to_squared(self, schema: FeatureSchema, weights: Sequence[int] | None = None) -> int:
        """The integer for a schema and weights (one each where None): ``floor(sum w * (fraction (levels - 1))^2)``."""
        if self.squared is not None:
            return self.squared
        if self.fraction is None:
            raise BadInput("an empty threshold", hint="use Threshold.share(0.05) or Threshold.squared_levels(645)")
        total = schema.dimension if weights is None else sum(weights)
        # The small term keeps a share such as 0.1 from falling below a level it meets exactly.
        return math.floor(total * (self.fraction * (schema.levels - 1)) ** 2 + 1e-9)


def as_threshold(value: float | Threshold) -> Threshold:
    """A number is a share of range."""
    return value if isinstance(value, Threshold) else Threshold.share(value)


DEFAULT_SHARE = 0.05


Values = Mapping[str, Value]
"""Feature values by name: numbers in the schema's units, or pairs such as ``("66", "mmol/mol")``."""


@dataclass(frozen=True, slots=True)
class Question:
    """One query in clinical units, before anything is fetched or encrypted.

    Attributes:
        values: the patient. A feature that is left out does not count.
        mode: how to ask.
        threshold: how near; without one 5 % of each range, or everybody where ``nearest`` is given.
        nearest: the smallest ball that holds at least so many.
        weights: whole numbers by feature; 1 where none is given.
        count_only: the number of matches alone is told, no handle; not in vendor-key mode, where you count yourself.
        where: only patients whose entries have these values of public facets (``Terms.facets``), such as a year.
        allow_out_of_range: a value beyond its feature's range is meant, and counts as the range's end.
    """

    values: Values = field(repr=False)
    mode: Mode = Mode.GATED
    threshold: float | Threshold | None = field(default=None, repr=False)
    nearest: int | None = None
    weights: Mapping[str, int] | None = field(default=None, repr=False)
    allow_out_of_range: bool = False
    count_only: bool = False
    where: Mapping[str, str] | None = None

    def filter(self, terms: Terms) -> tuple[FacetValue, ...] | None:
        """What the message says of ``where``. Raises ``BadInput`` for what the hospital did not declare."""
        require_known(terms.facets, self.where or {})
        return where_of(self.where or {})

    @property
    def tell(self) -> Literal["count"] | None:
        """What the message says of it."""
        return "count" if self.count_only else None

    def limit(self) -> Threshold:
        """The threshold to use."""
        if self.threshold is None:
            return Threshold.share(DEFAULT_SHARE if self.nearest is None else 1.0)
        return as_threshold(self.threshold)
