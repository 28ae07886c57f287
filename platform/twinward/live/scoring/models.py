"""A model that is to score live twins, and what scores with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import msgspec

from twinward.access.interfaces import AccessContext, Permit
from twinward.core.errors import BadInput
from twinward.core.vocabulary import TwinId
from twinward.features.derivation import Measurement
from twinward.features.monitored_stays import Stay
from twinward.features.signal_schema import SignalSchema
from twinward.live.alerts.rules import Severity
from twinward.live.signals import signal_of

LONGEST_HOURS: Final = 31 * 24
"""Of a stay that is looked at each hour; a model of years is for ``study score``."""
PREFIX: Final = "model:"
"""What alerts of models are called by; no rule of a file can be."""


class Scoring(msgspec.Struct, frozen=True):
    """That a model scores live twins, in whose name.

    Attributes:
        study: whose model.
        model: SHA-256 of its file, held against the ledger when this was said; hex.
        account: the clinician in whose name patients are read.
        thresholds: a score above it is an anomaly; by disease group, ``""`` of patients of none.
        severity, escalate_minutes: of its alerts.
        since_ms: when it was said.
    """

    study: str
    model: str
    account: str
    thresholds: dict[str, float]
    severity: Severity
    escalate_minutes: int
    since_ms: int

    @property
    def of_conditions(self) -> bool:
        """Whether it scores by the patient's disease group: a score, and what it is held against, tell of that."""
        return len(self.thresholds) > 1


class Judgement(NamedTuple):
    """What a model says of a stay: its score (None: nothing can be said), the threshold for this patient, and each
    column's share of the score. ``charted``: by live signal, the newest that records said, in its unit."""

    score: float | None
    threshold: float
    shares: dict[str, float]
    charted: Mapping[str, tuple[int, float]] = MappingProxyType({})


class Scorer(Protocol):
    """A model at work."""

    @property
    def schema(self) -> SignalSchema:
        """What its stays are made of."""
        ...

    def judge(self, context: AccessContext, twin: TwinId, stay: Stay) -> Judgement:
        """Score one stay."""
        ...


Charted = Callable[[Permit, int, int], Sequence[Measurement]]
"""What records that a permit covers say was measured from one moment up to another. Raises as the vault."""
ScorerOf = Callable[[Scoring], Scorer]
"""Opens a model. Raises ``TwinwardError``: it is not what was registered, or not there."""


def require_live(schema: SignalSchema) -> None:
    """Raise ``BadInput`` unless stays of a schema can be made of live readings."""
    if schema.step_hours is None or schema.steps * schema.step_hours > LONGEST_HOURS:
        raise BadInput(
            "live twins are scored by models of stays of 31 days at most",
            hint="`twinward study score` scores records of longer ones",
        )
    if not any(signal_of(code) for one in schema.signal for code in one.loinc):
        raise BadInput("none of this model's signals is measured live")


@dataclass(frozen=True, slots=True)
class ScoredReport:
    """What a run did: patients scored, alerts raised, patients of whom nothing may be read, models that failed."""

    scored: int = 0
    raised: int = 0
    withheld: int = 0
    problems: tuple[str, ...] = ()
