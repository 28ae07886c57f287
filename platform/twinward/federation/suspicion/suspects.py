"""Whom the sums of a study's groups make suspect, on which grounds, and how sure that is.

Each ground is a test that a hospital which keeps to the protocol fails only by the luck of the noise, whose law is
known; its score is in standard errors.

- **size**: sums that no patients and no noise add up to (``plausibility``) are not fitted at all. Of those that nobody
  is in who is suspect already, whoever most have in common is, then whoever the rest have; all of them where several
  are in the very same.
- **noise**: it adds more than its share. The least that counts is half a share more, and for a detector whose
  contributions change from round to round (a gradient's), more than twice an even part of the cohort could change.
- **moments** (dp-var, logistic-warning): a sum of z zᵀ over any patients whatsoever has no negative eigenvalue. With
  noise of variance q in each number the least lies above -2√(qw), and is a √2-Lipschitz function of the noise. An early
  warning by public scales has the last of these numbers alone: how many patients there are, never fewer than none.
- **direction**: what it adds points away from what the others add, each of whom counts alike, however much it sends.
  Of dp-var that is impossible, whatever the patients; of a gradient, and of an outcome, it can be a hospital unlike the
  others: hence a person decides. Takes a majority that is honest.
- **weight**: it adds more than all expected patients together could.

What no ground finds: made-up patients within these bounds (they are, to the noise, patients), and who lies only in the
company of one other, which from the sums could be either of the two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.federation.aggregation.plausibility import fault_of
from twinward.federation.detectors.dimensions import moments_at, outcome_numbers
from twinward.federation.detectors.dp_var import gram_matrix
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.privacy.dp_sum import UNIT, Integers, noise_variance
from twinward.federation.study import DetectorKind, StudyProtocol
from twinward.federation.suspicion.memberships import Floats, Told, membership_matrix, tell_apart

FALSE_ALARMS: Final = 1e-3
"""The chance that a study of honest hospitals has a suspect at all."""
_MATERIAL: Final = 0.5
"""Shares of noise beyond one that do harm worth a person's time."""


_BROKEN: Final = 6.0
"""Standard deviations that an honest sum keeps within (``plausibility``)."""


class Ground(StrEnum):
    """Why a hospital is suspect."""

    SIZE = "size"
    NOISE = "noise"
    MOMENTS = "moments"
    DIRECTION = "direction"
    WEIGHT = "weight"


WORDS: Final = {
    Ground.SIZE: "is what sums that are of no patients have in common",
    Ground.NOISE: "adds more noise than its share",
    Ground.MOMENTS: "sends moments that no patients have",
    Ground.DIRECTION: "points away from what all others send",
    Ground.WEIGHT: "weighs more than all expected patients together",
}


@dataclass(frozen=True, slots=True)
class GroupSum:
    """One group's released sum.

    Attributes:
        round_number: of the study.
        members: who is in it.
        total: as it was opened, ``[dimension]``.
    """

    round_number: int
    members: tuple[str, ...]
    total: Integers


@dataclass(frozen=True)
class Suspicion:
    """What a study's sums so far say of one hospital.

    Attributes:
        hospital: whom.
        scores: by ground, in standard errors beyond what honesty allows.
        threshold: from which a score makes suspect.
        noise: its noise, in shares.
        known: whether the groups so far tell it from the others; without, no score says anything.
        noise_known: whether they tell its noise.
    """

    hospital: str
    scores: Mapping[Ground, float]
    threshold: float
    noise: float
    known: bool = True
    noise_known: bool = True

    @property
    def score(self) -> float:
        """The highest: what hospitals are ranked by."""
        return max(self.scores.values())

    @property
    def grounds(self) -> tuple[Ground, ...]:
        """On which it is suspect, the gravest first."""
        found = [ground for ground, score in self.scores.items() if score > self.threshold]
        return tuple(sorted(found, key=lambda ground: -self.scores[ground]))

    @property
    def is_suspect(self) -> bool:
        """Whether on any."""
        return self.known and bool(self.grounds)


def examine(study: StudyProtocol, sums: Sequence[GroupSum]) -> list[Suspicion]:
    """Every hospital of these sums, the most suspect first; nobody where there are none."""
    hospitals = [name for name in study.hospitals if any(name in one.members for one in sums)]
    if not hospitals:
        return []
    plan, dimension = plan_for(study), len(sums[0].total)
    broken = [bool(fault_of(study, plan, one.total, len(one.members))) for one in sums]
    sound = [one for one, fault in zip(sums, broken, strict=True) if not fault]
    share = noise_variance(plan.noise_multiplier, dimension, study.honest) / UNIT**2
    told = told_of(sound, hospitals, share, dimension)
    scores = {Ground.NOISE: _noise(study, told, share, dimension), Ground.WEIGHT: _weight(study, told)}
    if study.repeats:
        scores[Ground.MOMENTS] = _moments(study, told)
    scores[Ground.DIRECTION] = _direction(_pointing(study, told.means), told.covariance)
    scores = {ground: np.where(told.known, found, -_BROKEN) for ground, found in scores.items()}
    threshold = NormalDist().inv_cdf(1 - FALSE_ALARMS / (len(hospitals) * len(scores)))
    members = membership_matrix([one.members for one in sums], hospitals)
    suspect = np.max(list(scores.values()), axis=0) > threshold
    scores[Ground.SIZE] = _size(members, np.array(broken) & (members[:, suspect].sum(1) == 0))
    found = [
        Suspicion(
            name,
            {ground: float(values[index]) for ground, values in scores.items()},
            threshold,
            float(told.noise[index] / share),
            bool(told.known[index] or scores[Ground.SIZE][index] > 0),
            bool(told.noise_known[index]),
        )
        for index, name in enumerate(hospitals)
    ]
    return sorted(found, key=lambda one: (not one.known, -one.score))


def told_of(sums: Sequence[GroupSum], hospitals: Sequence[str], share: float, dimension: int) -> Told:
    """What these sums tell of these hospitals, in units of the clip.

    Args:
        sums: of groups of them.
        hospitals: whom.
        share: the variance of one honest hospital's noise, in squares of that unit.
        dimension: of a sum.
    """
    values = np.array([one.total.astype(np.float64) for one in sums]).reshape(-1, dimension) / UNIT
    return tell_apart(values, membership_matrix([one.members for one in sums], hospitals), share)


def _size(members: Floats, broken: NDArray[np.bool_]) -> Floats:
    """Of who explains the broken sums, six standard errors (which a broken sum is at least) for each of them."""
    scores, left = np.full(members.shape[1], -_BROKEN), broken.copy()
    while left.any():
        share = (members[left].sum(0)) / np.maximum(members.sum(0), 1)
        worst = share >= share.max()
        explained = left & (members[:, worst].sum(1) > 0)
        scores[worst] = _BROKEN * math.sqrt(explained.sum())
        left &= ~explained
    return scores


def _noise(study: StudyProtocol, told: Told, share: float, dimension: int) -> Floats:
    allowed = share * (1 + _MATERIAL)
    if not study.repeats:
        allowed += (2 * study.expected_patients / len(study.hospitals)) ** 2 / dimension
    errors = np.where(told.noise_known, told.noise_error, 1)
    scores: Floats = np.where(told.noise_known, (told.noise - allowed) / errors, -_BROKEN)
    return scores


def _weight(study: StudyProtocol, told: Told) -> Floats:
    own, dimension, most = _variances(told), told.means.shape[1], float(study.expected_patients) ** 2
    found = (told.means**2).sum(1) - dimension * own
    scores: Floats = (found - most) / np.sqrt(2 * dimension * own**2 + 4 * own * np.maximum(found, most))
    return scores


def _moments(study: StudyProtocol, told: Told) -> Floats:
    scores = []
    for mean, variance in zip(told.means, _variances(told), strict=True):
        matrix = gram_matrix(mean[moments_at(study)])
        least = float(np.linalg.eigvalsh(matrix)[0]) / math.sqrt(variance)
        scores.append(-least if len(matrix) == 1 else (-least - 2 * math.sqrt(len(matrix))) / math.sqrt(2))
    return np.array(scores)


def _variances(told: Told) -> Floats:
    """Of each hospital's mean, in each number; 1 where nothing is known of it."""
    return np.where(told.known, np.diag(told.covariance), 1)


def _direction(means: Floats, covariance: Floats) -> Floats:
    """How surely each hospital's mean has a negative product with the sum of the others', each at length one at most.

    Products of estimates are biased by their common noise, by as much as Q says; that is subtracted.
    """
    dimension, products = means.shape[1], means @ means.T
    weights = 1 / np.sqrt(np.maximum(np.diag(products), np.finfo(np.float64).tiny))
    others = np.broadcast_to(weights, products.shape) * (1 - np.eye(len(means)))
    shared = (covariance @ others.T).diagonal()
    beyond = np.einsum("ij,jk,ik->i", others, covariance, others)
    own, own_square = np.diag(covariance), np.maximum(np.diag(products) - dimension * np.diag(covariance), 0)
    agreement = np.einsum("ij,ij->i", others, products) - dimension * shared
    square = np.maximum(np.einsum("ij,jk,ik->i", others, products, others) - dimension * beyond, 0)
    variance = dimension * (own * beyond + shared**2) + own * square + beyond * own_square + 2 * shared * agreement
    scores: Floats = -agreement / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
    return scores


def _pointing(study: StudyProtocol, means: Floats) -> NDArray[np.float64]:
    """What of a sum points somewhere: of an early warning, what goes with the outcome; of all others everything."""
    return means[:, : outcome_numbers(study)] if study.detector is DetectorKind.LOGISTIC else means
