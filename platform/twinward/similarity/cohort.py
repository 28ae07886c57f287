"""A cohort: the feature vectors of the twins whose consent allowed similarity search when the epoch began."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.core.vocabulary import TwinId
from twinward.features.schema import FeatureSchema
from twinward.protocol.terms import binding_of
from twinward.similarity.cohort_secrets import CohortSecrets
from twinward.similarity.errors import NoCohort
from twinward.similarity.interfaces import FeatureSource, Match


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """A snapshot. Who consents later comes with the next one; who withdraws or is erased leaves at once (``without``).

    Attributes:
        hospital: whose cohort it is; part of the binding.
        schema: how the levels came about.
        epoch: which snapshot.
        twins: the twin of each row; rows are ordered by a secret of the epoch.
        levels: ``int64[rows, features]``.
    """

    hospital: str
    schema: FeatureSchema
    epoch: int
    twins: tuple[TwinId, ...] = field(repr=False)
    levels: NDArray[np.int64] = field(repr=False)

    @classmethod
    def snapshot(cls, source: FeatureSource, *, hospital: str, schema: FeatureSchema, secrets: CohortSecrets) -> Cohort:
        """Read every consenting twin's vector, each through its own permit.

        Raises:
            NoCohort: no twin consents, so there is nothing to ask about.
            BadInput: a twin comes twice, or a vector does not fit the schema.
        """
        rows = sorted(source.consenting(), key=lambda row: secrets.row_key(row[0]))
        if not rows:
            raise NoCohort
        twins = tuple(twin for twin, _ in rows)
        if len(set(twins)) != len(twins):
            raise BadInput("a twin comes twice in the cohort")
        if any(len(vector) != schema.dimension for _, vector in rows):
            raise BadInput("a feature vector of another schema", hint="derive the features anew")
        levels = np.array([list(vector) for _, vector in rows], dtype=np.int64)
        if levels.min() < 0 or levels.max() >= schema.levels:
            raise BadInput("a feature vector with levels outside the schema", hint="derive the features anew")
        return cls(hospital, schema, secrets.epoch, twins, levels)

    def without(self, twins: frozenset[TwinId]) -> Cohort:
        """The same cohort less some of its rows. Raises ``NoCohort`` where nobody is left."""
        staying = [row for row, twin in enumerate(self.twins) if twin not in twins]
        if not staying:
            raise NoCohort
        left = tuple(self.twins[row] for row in staying)
        return Cohort(self.hospital, self.schema, self.epoch, left, self.levels[staying])

    def __len__(self) -> int:
        return len(self.twins)

    @property
    def binding(self) -> bytes:
        """What every bundle about this cohort carries."""
        return binding_of(self.hospital, self.schema, self.epoch)

    def within(self, distances: NDArray[np.int64], threshold_squared: int, nearest: int | None = None) -> list[Match]:
        """The rows at most this far, in row order; of these the nearest so many and whoever is as near as the last."""
        if nearest is not None and nearest < len(distances):
            threshold_squared = min(threshold_squared, int(np.partition(distances, nearest - 1)[nearest - 1]))
        near = np.flatnonzero(distances <= threshold_squared)
        return [Match(self.twins[row], int(distances[row])) for row in near]

    def at(self, rows: Iterable[int]) -> list[Match]:
        """Rows found by a mode that tells no distance."""
        return [Match(self.twins[row], None) for row in rows]
