"""One epoch's counts: admitted, checked, charged, logged, counted, in this order.

A question that is refused before it is charged costs nothing, and looks at nothing but itself. Nothing about rows
changes a status, a sentence, a size or an operation: the answer has as many slots whoever is in the cohort.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.access.interfaces import Principal
from twinward.protocol.feasibility import FeasibilityQuestion, feasibility_binding
from twinward.protocol.terms import binding_of
from twinward.similarity.cohort import Cohort
from twinward.similarity.errors import QueryMalformed
from twinward.similarity.feasibility.engine import FeasibilityEngine, workers_here
from twinward.similarity.interfaces import QueryBudget
from twinward.similarity.rate_limit import Pace
from twinward.similarity.scoring.placement import Engine, Scoring
from twinward_crypto.feasibility.noise import GeometricNoise

LEAKAGE: Final = (
    "The hospital sees nothing of the criteria, only how many slots a row they need and what the count costs. The "
    "vendor learns one noisy count: whatever it sends, the answer hardly depends on any one patient (differential "
    "privacy). Criteria stay hidden as long as discrete logarithms are hard; privacy rests on no such thing."
)


@dataclass(frozen=True, slots=True)
class Counted:
    """One answer: its bundle, and epsilon left in thousandths."""

    bundle: bytes = field(repr=False)
    noise: GeometricNoise
    slots: int
    left: int


class Feasibility:
    """Counts about one epoch's cohort.

    Args:
        engine: what counts.
        budget: epsilon, in thousandths.
        epsilon_millis: what may be chosen.
    """

    def __init__(self, engine: FeasibilityEngine, budget: QueryBudget, epsilon_millis: tuple[int, ...]) -> None:
        self.engine, self.budget, self.epsilon_millis = engine, budget, epsilon_millis

    @classmethod
    def prepare(
        cls,
        cohort: Cohort,
        room: int,
        budget: QueryBudget,
        epsilon_millis: tuple[int, ...],
        scoring: Scoring,
    ) -> Feasibility:
        """Make ready for an epoch. ``room``: for how many rows there is room in its answers."""
        binding = feasibility_binding(binding_of(cohort.hospital, cohort.schema, cohort.epoch), cohort.schema.codes)
        on_ray = scoring.engine is Engine.RAY
        workers = scoring.workers if on_ray else workers_here(scoring.workers)
        address = scoring.ray_address if on_ray else None
        engine = FeasibilityEngine(cohort.schema.eligibility_levels, binding, room, workers, address)
        return cls(engine, budget, epsilon_millis)

    def count(
        self,
        principal: Principal,
        question: FeasibilityQuestion,
        eligibility: Callable[[], NDArray[np.int64]],
        pace: Pace | None = None,
    ) -> Counted:
        """Check, charge, count.

        Args:
            eligibility: logs that this vendor's questions are held against each patient, and gives the rows that count.
            pace: an answer leaves at its steps: entries that many rows take lie in a cache, and are added sooner.

        Raises:
            QueryMalformed: an epsilon that is not offered, or no query: nothing was charged.
            EpsilonExhausted: nothing was charged.
        """
        epsilon_millis = question.epsilon_millis
        if epsilon_millis not in self.epsilon_millis:
            offered = ", ".join(f"{one / 1000:g}" for one in self.epsilon_millis)
            raise QueryMalformed("this epsilon is not offered", hint=f"choose one of: {offered}")
        noise = GeometricNoise.of(epsilon_millis)
        asked = self.engine.check(question.bundle)
        left = self.budget.spend(principal.id, question.epoch, epsilon_millis)
        with (pace or Pace()).keep():
            bundle = self.engine.count(eligibility(), asked, noise)
        return Counted(bundle, noise, self.engine.slots(asked.layout.threshold, noise), left)

    def close(self) -> None:
        """End the processes that count."""
        self.engine.close()
