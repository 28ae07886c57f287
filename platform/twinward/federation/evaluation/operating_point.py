"""What a model does once somebody acts on it: an alarm threshold, calibration, and the same for each subgroup.

On a benchmark's stays only, which cost nobody privacy. Proportions have Wilson's score interval (Wilson 1927), areas a
stratified bootstrap; a subgroup too small for either says so instead of a figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.isotonic import IsotonicRegression

from twinward.federation.evaluation.anomaly_injection import LabelledStays
from twinward.federation.evaluation.benchmark import measure

FALSE_ALARMS: Final = 0.05
"""Share of untouched stays above the threshold: what a ward might bear."""

FEWEST: Final = 20
"""Of either kind in a subgroup: below, its figures would be noise."""

_CALIBRATION_BINS: Final = 8
_DIGITS: Final = 3


@dataclass(frozen=True)
class Proportion:
    """A share with Wilson's 95 % interval, and of how many it is one."""

    share: float
    low: float
    high: float
    of: int


@dataclass(frozen=True)
class Subgroup:
    """How a model does in a subgroup; None where there are fewer than ``FEWEST`` of a kind."""

    name: str
    patients: int
    auroc: tuple[float, float, float] | None
    false_alarms: Proportion | None
    found: Proportion | None


@dataclass(frozen=True)
class Calibrated:
    """Of stays given about this probability of being an anomaly, how many are."""

    predicted: float
    observed: Proportion


@dataclass(frozen=True)
class OperatingPoint:
    """A model at its threshold.

    Attributes:
        threshold: a score above it is an alarm.
        false_alarms, found: of untouched and of anomalous stays, how many are above it.
        calibration: by rising probability; empty where there are too few stays.
        calibration_error: of scores that are chances themselves, how far they are from what happened, on average
            over stays (the expected calibration error, Naeini et al. 2015); None of other scores.
        subgroups: of every subgroup there is.
    """

    threshold: float
    false_alarms: Proportion
    found: Proportion
    calibration: tuple[Calibrated, ...]
    calibration_error: float | None
    subgroups: tuple[Subgroup, ...]

    def to_json(self) -> dict[str, Any]:
        """For a card: plain values, shares to three digits, the threshold to six significant ones."""
        shown = _rounded(asdict(self))
        return {**shown, "threshold": float(f"{self.threshold:.6g}")}


def operating_point(scores: NDArray[np.float64], test: LabelledStays, *, chances: bool = False) -> OperatingPoint:
    """The threshold that ``FALSE_ALARMS`` of the untouched lie above, and what follows from it.

    Args:
        scores: ``[patients]``, finite; higher is stranger.
        test: the stays they are of, some anomalous and some not.
        chances: whether a score is a probability itself; else one is fitted to it.
    """
    labels = test.labels
    calibration = _of_chances(scores, labels) if chances else _calibration(scores, labels)
    threshold = threshold_of(scores, test)
    above = scores > threshold
    groups = np.array(test.groups if test.groups is not None else [])
    return OperatingPoint(
        threshold=threshold,
        false_alarms=_proportion(above[~labels]),
        found=_proportion(above[labels]),
        calibration=calibration,
        calibration_error=calibration_error(calibration) if chances and calibration else None,
        subgroups=tuple(_subgroup(str(name), groups == name, scores, above, test) for name in np.unique(groups)),
    )


def threshold_of(scores: NDArray[np.float64], test: LabelledStays) -> float:
    """What ``FALSE_ALARMS`` of the untouched stays lie above."""
    return float(np.quantile(scores[~test.labels], 1 - FALSE_ALARMS, method="higher"))


def _proportion(hits: NDArray[np.bool_]) -> Proportion:
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return Proportion(float(hits.mean()), float(interval.low), float(interval.high), len(hits))


def _subgroup(
    name: str, among: NDArray[np.bool_], scores: NDArray[np.float64], above: NDArray[np.bool_], test: LabelledStays
) -> Subgroup:
    labels, patients = test.labels[among], int(among.sum())
    if min(int(labels.sum()), int((~labels).sum())) < FEWEST:
        return Subgroup(name, patients, None, None, None)
    kinds = tuple(kind for kind, chosen in zip(test.kinds, among.tolist(), strict=True) if chosen)
    measured = measure(name, scores[among], LabelledStays(test.stays[among], kinds, test.signals))
    auroc = (measured.auroc, measured.low, measured.high)
    return Subgroup(name, patients, auroc, _proportion(above[among][~labels]), _proportion(above[among][labels]))


def calibration_error(calibration: Sequence[Calibrated]) -> float:
    """Between what was foretold and what happened, on average over stays."""
    of = sum(one.observed.of for one in calibration)
    return sum(abs(one.predicted - one.observed.share) * one.observed.of for one in calibration) / of


def _of_chances(chances: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[Calibrated, ...]:
    """As they are, held against all stays."""
    return _by_rising(chances, labels) if min(labels.sum(), (~labels).sum()) >= FEWEST else ()


def _calibration(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[Calibrated, ...]:
    """Isotonic probabilities fitted on one half of the stays, held against the other."""
    order = np.random.default_rng(0).permutation(len(scores))
    fitted, held = order[::2], order[1::2]
    if min(labels[fitted].sum(), (~labels[fitted]).sum(), labels[held].sum()) < FEWEST:
        return ()
    isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores[fitted], labels[fitted])
    return _by_rising(isotonic.predict(scores[held]), labels[held])


def _by_rising(predicted: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[Calibrated, ...]:
    """Parts of as many stays each."""
    rising = np.argsort(predicted, kind="stable")
    return tuple(
        Calibrated(float(predicted[part].mean()), _proportion(labels[part]))
        for part in np.array_split(rising, min(_CALIBRATION_BINS, max(1, len(labels) // FEWEST)))
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
