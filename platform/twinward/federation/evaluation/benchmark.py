"""How well scores tell tampered stays from untouched ones: AUROC with an interval, its curve, and what it is beside.

An AUROC means little alone: the same detector untrained, without privacy, and a stock IsolationForest stand beside it.
Test stays belong to nobody's training set and are public or synthetic, so measuring costs no hospital any privacy.
There is no third kind: a figure measured on a hospital's patients is a release about them, which nobody paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score, roc_curve

from twinward.core.errors import BadInput
from twinward.features.monitored_stays import Stays
from twinward.features.signal_schema import ICU, SignalSchema
from twinward.federation.detectors.detector import Blocks, Detector, Parameters, normalise
from twinward.federation.detectors.grouped import GroupedDetector, scores_of
from twinward.federation.evaluation.anomaly_injection import KINDS, Anomaly, LabelledStays, inject_anomalies
from twinward.federation.stays.simulated import simulate_signals

SYNTHETIC: Final = "SYNTHETIC stays"
"""The name of ``synthetic_benchmark``."""

PRIVATE: Final = "private"
UNTRAINED: Final = "untrained"
WITHOUT_PRIVACY: Final = "without privacy"

_SYNTHETIC_STAYS: Final = 1200
_SYNTHETIC_SEED: Final = 4052
_RESAMPLES: Final = 300
_CURVE_POINTS: Final = 101


class Origin(StrEnum):
    """Whose stays a benchmark is of. Stays of a hospital's patients are neither and are no benchmark."""

    SYNTHETIC = "synthetic"
    """Made up; nobody's."""
    PUBLIC = "public"
    """Published for research, such as PhysioNet's."""
    OWN = "own"
    """The researcher's, who may pool it: no hospital was asked for it."""


@dataclass(frozen=True)
class Benchmark:
    """What detectors are measured on.

    Attributes:
        name: what the stays are, for the model card.
        origin: whose they are. Who writes it here answers for it; the card tells it.
        test: labelled stays that no hospital trains on.
        open_stays: public or synthetic stays that may be pooled in the open; only then are there figures for training
            without privacy. None wherever the hospitals' stays are real patients'.
    """

    name: str
    origin: Origin
    test: LabelledStays
    open_stays: Stays | None = None
    open_groups: tuple[str, ...] | None = None
    """The group of each of these, where there are such."""

    def require_measurable(self, bins: int, signals: SignalSchema = ICU) -> None:
        """Raise ``BadInput`` where detectors of these bins and signals cannot be measured or trained on these stays."""
        if self.test.signals != signals:
            raise BadInput(f"the benchmark's stays are of the signals {self.test.signals.name}, the study's of others")
        if not isinstance(self.origin, Origin):
            raise BadInput("a benchmark is of synthetic, public or one's own stays", hint="see Origin")
        if len(self.test.kinds) != len(self.test.stays):
            raise BadInput("a benchmark has one label per stay")
        _require_both(self.test)
        normalise(self.test.stays, bins, signals)
        if self.open_stays is not None:
            normalise(self.open_stays, bins, signals)


@dataclass(frozen=True)
class Measured:
    """One detector's AUROC with a 95% bootstrap interval.

    Attributes:
        name: which.
        auroc, low, high: the estimate and its interval.
        by_kind: AUROC against each kind of tampering alone.
        false_positive_rate, true_positive_rate: its ROC curve.
    """

    name: str
    auroc: float
    low: float
    high: float
    by_kind: Mapping[Anomaly, float]
    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """The private detector beside what it must be judged by; None where nothing may be pooled in the open."""

    private: Measured
    untrained: Measured
    without_privacy: Measured | None = None
    isolation_forest: Measured | None = None

    def all(self) -> tuple[Measured, ...]:
        """Those that there are, the private one first."""
        found = (self.private, self.untrained, self.without_privacy, self.isolation_forest)
        return tuple(measured for measured in found if measured is not None)


def synthetic_benchmark(open_stays: Stays | None = None, signals: SignalSchema = ICU) -> Benchmark:
    """Made-up stays, the same for everybody and whatever was trained on: they are no patient's, so they cost nobody."""
    stays = simulate_signals(signals, _SYNTHETIC_STAYS, _SYNTHETIC_SEED)
    test = inject_anomalies(stays, _SYNTHETIC_SEED, signals=signals)
    return Benchmark(SYNTHETIC, Origin.SYNTHETIC, test, open_stays)


def measure(name: str, scores: NDArray[np.float64], test: LabelledStays, *, seed: int = 0) -> Measured:
    """AUROC of ``scores`` ``[patients]`` against the labels of ``test``.

    Raises:
        BadInput: not one finite score per stay, or labels of one class only.
    """
    labels = test.labels
    if scores.shape != labels.shape or not bool(np.isfinite(scores).all()):
        raise BadInput("evaluation wants one finite score per test stay")
    _require_both(test)
    low, high = np.percentile(_resampled(scores, labels, seed), [2.5, 97.5])
    kinds = np.array([kind.value for kind in test.kinds])
    by_kind = {
        kind: float(roc_auc_score(kinds[among] == kind.value, scores[among]))
        for kind in KINDS
        if (among := (kinds == kind.value) | (kinds == Anomaly.NONE.value)).any() and (kinds == kind.value).any()
    }
    false_rate, true_rate, _ = roc_curve(labels, scores)
    grid = np.linspace(0, 1, _CURVE_POINTS)
    return Measured(
        name=name,
        auroc=float(roc_auc_score(labels, scores)),
        low=float(low),
        high=float(high),
        by_kind=by_kind,
        false_positive_rate=tuple(grid.tolist()),
        true_positive_rate=tuple(np.interp(grid, false_rate, true_rate).tolist()),
    )


def measure_detector(name: str, detector: Detector, parameters: Parameters, test: LabelledStays, bins: int) -> Measured:
    """AUROC of a detector with these parameters; of each test stay by the head of its group, where there are heads."""
    blocks = normalise(test.stays, bins, test.signals)
    return measure(name, scores_of(detector, parameters, blocks, test.groups), test)


def measure_isolation_forest(training: Blocks, test: LabelledStays, bins: int) -> Measured:
    """AUROC of scikit-learn's IsolationForest, trained in the open: the stock answer to anomaly detection."""
    forest = IsolationForest(random_state=0).fit(training.reshape(len(training), -1))
    blocks = normalise(test.stays, bins, test.signals)
    scores: NDArray[np.float64] = -forest.score_samples(blocks.reshape(len(blocks), -1))
    return measure("IsolationForest", scores, test)


def _require_both(test: LabelledStays) -> None:
    if test.labels.all() or not test.labels.any():
        raise BadInput("evaluation wants tampered and untouched stays", hint="test on more stays")


def _resampled(scores: NDArray[np.float64], labels: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
    """AUROC of stratified bootstrap resamples, by counting wins of tampered over untouched (ties half)."""
    random = np.random.default_rng(seed)
    tampered, untouched = scores[labels], scores[~labels]
    aurocs = np.empty(_RESAMPLES)
    for index in range(_RESAMPLES):
        strange = random.choice(tampered, len(tampered))
        usual = np.sort(random.choice(untouched, len(untouched)))
        wins = np.searchsorted(usual, strange, "left") + np.searchsorted(usual, strange, "right")
        aurocs[index] = wins.mean() / 2 / len(usual)
    return aurocs


OPEN_ROUNDS: Final = 3
"""Times the protocol's rounds: without privacy a round costs time only, so a fair rival takes more of them."""


def train_without_privacy(
    detector: Detector,
    blocks: Blocks,
    rounds: int,
    *,
    groups: Sequence[str] | None = None,
    after_round: Callable[[int, int], None] | None = None,
) -> Parameters:
    """The same detector by full-batch rounds with neither clipping nor noise nor hospitals: for comparison.

    On stays that may lie open: synthetic or public ones only.

    Args:
        detector: what to train; its learner divides by the protocol's guess of the cohort, as in the private run.
        blocks: all stays, pooled.
        rounds: of the private run; an iterative detector gets ``OPEN_ROUNDS`` times as many here.
        groups: each one's disease group, for a detector with heads.
        after_round: told how many are done of how many.
    """
    learner = detector.learner()
    total = rounds * OPEN_ROUNDS if rounds > 1 else 1
    for done in range(1, total + 1):
        if groups is not None and isinstance(detector, GroupedDetector):
            learner.learn(detector.summed_of(learner.parameters, blocks, detector.heads_of(groups)))
        else:
            learner.learn(detector.summed(learner.parameters, blocks))
        if after_round is not None:
            after_round(done, total)
    return learner.parameters
