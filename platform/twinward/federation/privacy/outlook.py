"""Whether a study can learn anything at all: from its protocol alone, before anybody's privacy is spent.

A study of T sums over n patients, each clipped at C, in d numbers with noise of spread s in each: what all patients
tell is at most n C √T long (the sums together), the noise s √d. Real patients agree in about half of that (.32 to .68
of n C, on six public data sets), so below **twice the noise** there is more noise than signal: what is drawn towards
targets by as much as noise explains (``dp_var``) keeps less than half, and what is not ends anywhere.

Held against public sets (``make bench``, studies.outlook): whatever ended below no learning at all, or at chance, had
less than 1.9; from 2 on all were above it whose detector learns there without privacy either (an early warning by
public scales, measured the same way: .60 at 2.2 and 100 patients, .66 at 6.6, .77 at 20). n is the protocol's
guess: it is public, and nobody measures it. Who guesses too high spends privacy for nothing, and signs that.

The head of a disease group is held to the same by its own public guess, its share of a contribution, and its own few
numbers. A dp-var head must be told from 8 times the noise: measured on planted groups, heads with 4.8 told less than a
study without groups, and with 9.6 more. A warning's is drawn towards the backbone by its ridge, and did no harm at 1.8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from twinward.federation.detectors.dimensions import dimension_of, head_size_of
from twinward.federation.disease_groups import BACKBONE_SHARE
from twinward.federation.errors import NotWorthwhile
from twinward.federation.privacy.accountant import calibrate, noise_spread
from twinward.federation.study import DetectorKind, StudyProtocol

LEAST: Final = 2.0
LEAST_OF_HEADS: Final = {DetectorKind.DP_VAR: 8.0, DetectorKind.LOGISTIC: 2.0}
_MOST_EPSILON: Final = 10.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect of a study.

    Attributes:
        signal_to_noise: what all patients could tell, in lengths of the noise.
        patients_needed: at the protocol's ε.
        epsilon_needed: with the protocol's patients; None where even 10 would not do.
    """

    signal_to_noise: float
    patients_needed: int
    epsilon_needed: float | None

    @property
    def worthwhile(self) -> bool:
        """Whether it is enough."""
        return self.signal_to_noise >= LEAST


@dataclass(frozen=True, slots=True)
class HeadOutlook:
    """What to expect of a disease group.

    Attributes:
        group: its name.
        expected_patients: the protocol's guess.
        signal_to_noise: what its patients could tell a head, in lengths of the noise.
        patients_needed: for a head, at the protocol's ε.
        has_head: whether it pays; else its patients have the backbone.
    """

    group: str
    expected_patients: int
    signal_to_noise: float
    patients_needed: int
    has_head: bool


def outlook(study: StudyProtocol) -> Outlook:
    """What to expect of a study; of one with disease groups, of what all patients train."""
    share = BACKBONE_SHARE if groups_with_heads(study) else 1.0
    noise = _noise(study, dimension_of(study), share)
    found = study.expected_patients / noise
    return Outlook(found, math.ceil(LEAST * noise), _epsilon_for(study, LEAST / found))


def head_outlooks(study: StudyProtocol) -> tuple[HeadOutlook, ...]:
    """What to expect of each disease group, from the protocol alone: every hospital finds the same."""
    if not study.disease_groups:
        return ()
    noise, least = _noise(study, head_size_of(study), 1 - BACKBONE_SHARE), LEAST_OF_HEADS[study.detector]
    found = []
    for one in study.disease_groups:
        told = one.expected_patients / noise
        needed = math.ceil(least * noise)
        found.append(HeadOutlook(one.name, one.expected_patients, told, needed, told >= least))
    return tuple(found)


def groups_with_heads(study: StudyProtocol) -> tuple[str, ...]:
    """The names of the disease groups whose heads pay, in the protocol's order."""
    return tuple(one.group for one in head_outlooks(study) if one.has_head)


def _noise(study: StudyProtocol, dimension: int, share: float) -> float:
    """How long the noise in so many numbers of a sum is, in contributions of this share."""
    spread = noise_spread(study, dimension) * math.sqrt(dimension)
    return spread / (study.clip * math.sqrt(study.rounds * share))


def require_worthwhile(study: StudyProtocol) -> None:
    """Raise ``NotWorthwhile``, with what would do, unless a study can learn more than its noise."""
    expected = outlook(study)
    if expected.worthwhile:
        return
    epsilon = expected.epsilon_needed
    more = f", or ε = {math.ceil(epsilon * 100) / 100:g} with {study.expected_patients}" if epsilon is not None else ""
    raise NotWorthwhile(
        f"{study.study_id} would learn next to nothing: all its patients could tell {expected.signal_to_noise:.1f} "
        f"times the noise, and it takes {LEAST:g}",
        hint=f"at ε = {study.epsilon:g} it takes {expected.patients_needed} expected_patients{more}; "
        "or fewer signals or hidden units",
    )


def _epsilon_for(study: StudyProtocol, less_noise: float) -> float | None:
    """The ε at which there is 1/``less_noise`` of the noise. Shares and smoothing do not depend on it."""
    target = calibrate(study.epsilon, study.delta, study.rounds) / less_noise
    low, high = study.epsilon, _MOST_EPSILON
    if calibrate(high, study.delta, study.rounds) > target:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if calibrate(middle, study.delta, study.rounds) <= target else (middle, high)
    return high
