"""What a study costs in privacy, how much noise a promise needs, and whether it was paid for.

Unit: one patient's whole contribution, added or removed. Every round sums all patients (no sampling), so a study of T
rounds at noise multiplier σ is T adaptive Gaussian mechanisms, which together are *exactly* one Gaussian mechanism of
multiplier σ/√T (Dong, Roth, Su 2022, corollary 3.3). Its ε at a given δ has a closed form (Balle & Wang 2018, theorem
8), which calibrates; what is charged and shown is dp-accounting's privacy loss distribution, an upper bound that
agrees with it to about 1e-8. The noise actually drawn is discrete; ``dp_sum`` proves that it is no worse.

Gaussian mechanisms add up in 1/σ²: the ledger keeps that, in integer millionths, per hospital and cohort.

What a hospital reads on the ledger by itself before it answers a study (``require_paid``): a study is named there by
its protocol's fingerprint, so a reservation for one protocol is none for another that bears the same name. The
fingerprint is also the reservation's request id, which the contract takes once and for ever: a protocol is paid for
once, by whatever coordinator.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Final

from dp_accounting.pld import privacy_loss_distribution

from twinward.core.errors import BadInput
from twinward.federation.errors import NotPaid
from twinward.federation.models import COHORT, ReservedPrivacy
from twinward.federation.privacy.dp_sum import UNIT, noise_variance
from twinward.federation.study import StudyProtocol
from twinward_contracts.names import name_id

_MICROS: Final = 1_000_000
_CALIBRATION_MARGIN: Final = 1e-6
"""Relative: so that the charged upper bound stays at or below what the protocol promised."""


@dataclass(frozen=True, slots=True)
class PrivacyPlan:
    """What a study's promise comes to. Derived from the protocol alone, the same at every site.

    Attributes:
        noise_multiplier: σ of each round's sum in units of one patient's clipped contribution to one hospital's part of
            it, from honest noise only.
        rounds: how often it is drawn, spare rounds included.
        epsilon, delta: what is charged for all rounds together.
        inverse_variance_micros: rounds/σ² in millionths, rounded up, σ in units of all that one patient may contribute:
            what the ledger reserves.
        hospitals_per_patient: at how many hospitals at once.
    """

    noise_multiplier: float
    rounds: int
    epsilon: float
    delta: float
    inverse_variance_micros: int
    hospitals_per_patient: int = 1

    @property
    def epsilon_micros(self) -> int:
        """The charged ε in millionths, rounded up."""
        return math.ceil(self.epsilon * _MICROS)

    @property
    def delta_e12(self) -> int:
        """δ in units of 1e-12, rounded up."""
        return math.ceil(self.delta * 10**12)

    def epsilon_after(self, rounds: int) -> float:
        """ε of the first ``rounds`` sums: the burn-down that a progress display shows."""
        if not 0 <= rounds <= self.rounds:
            raise BadInput(f"a round between 0 and {self.rounds} is wanted, not {rounds}")
        joint = self.noise_multiplier / self.hospitals_per_patient
        return gaussian_epsilon(joint / math.sqrt(rounds), self.delta) if rounds else 0.0


def plan_for(study: StudyProtocol) -> PrivacyPlan:
    """The noise a study needs and what it costs."""
    return PrivacyPlan(
        noise_multiplier=multiplier_of(study),
        rounds=study.sums,
        epsilon=charged_epsilon(_joint_multiplier_of(study), study.sums, study.delta),
        delta=study.delta,
        inverse_variance_micros=cost_of(study),
        hospitals_per_patient=study.hospitals_per_patient,
    )


def multiplier_of(study: StudyProtocol) -> float:
    """σ of each round's sum that keeps a study's promise, in units of one patient's clipped contribution.

    Who is a patient of m hospitals changes the sum by at most m contributions (the triangle inequality; of sums of
    groups, by no more): m times the noise keeps the promise for all of them together.
    """
    return study.hospitals_per_patient * _joint_multiplier_of(study)


def _joint_multiplier_of(study: StudyProtocol) -> float:
    """σ in units of all that one patient may contribute, at all hospitals together."""
    return calibrate(study.epsilon, study.delta, study.sums)


def noise_spread(study: StudyProtocol, dimension: int) -> float:
    """Standard deviation of the noise in each number of a released sum, in the units of contributions."""
    variance = len(study.hospitals) * noise_variance(multiplier_of(study), dimension, study.honest)
    return math.sqrt(variance) * study.clip / UNIT


def cost_of(study: StudyProtocol) -> int:
    """sums/σ² in millionths, rounded up: what a study costs each of its hospitals on the ledger.

    In full at each, also where the noise is that of several: so a hospital's account bounds what whoever is also a
    patient of the others has lost there and here together.
    """
    return math.ceil(study.sums / _joint_multiplier_of(study) ** 2 * _MICROS)


def calibrate(epsilon: float, delta: float, rounds: int) -> float:
    """The smallest noise multiplier (within 1e-6) at which ``rounds`` full-batch sums are (ε, δ) private.

    Raises:
        BadInput: ε, δ or rounds out of range.
    """
    _require_range(delta, rounds)
    if not 0 < epsilon <= 50:
        raise BadInput("epsilon must lie between 0 and 50", hint="studies use 1 to 8; smaller is more private")
    target = epsilon * (1 - _CALIBRATION_MARGIN)
    low, high = 1e-3, 1e6
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if gaussian_delta(middle, target) <= delta else (middle, high)
        if high - low <= 1e-12 * high:
            break
    if gaussian_delta(high, target) > delta:
        raise BadInput("no noise that can be drawn keeps this promise", hint="a larger epsilon or delta")
    return high * math.sqrt(rounds)


@functools.lru_cache(maxsize=256)
def charged_epsilon(noise_multiplier: float, rounds: int, delta: float) -> float:
    """An upper bound of ε for ``rounds`` sums at σ = ``noise_multiplier``, by privacy loss distribution.

    Raises:
        BadInput: σ, δ or rounds out of range.
    """
    _require_range(delta, rounds)
    if not (math.isfinite(noise_multiplier) and noise_multiplier > 0):
        raise BadInput("the noise multiplier must be positive")
    composed = noise_multiplier / math.sqrt(rounds)
    loss = privacy_loss_distribution.from_gaussian_mechanism(composed, value_discretization_interval=1e-4)
    return float(loss.get_epsilon_for_delta(delta))


def spent_epsilon(inverse_variance_micros: int, delta: float) -> float:
    """ε of everything a (hospital, cohort) has spent, from the ledger's integer: studies compose in Σ1/σ²."""
    if inverse_variance_micros < 0:
        raise BadInput("a spend is never negative")
    if inverse_variance_micros == 0:
        return 0.0
    return charged_epsilon(math.sqrt(_MICROS / inverse_variance_micros), 1, delta)


def gaussian_delta(noise_multiplier: float, epsilon: float) -> float:
    """δ(ε) of one Gaussian mechanism of sensitivity 1: Balle & Wang 2018, theorem 8."""
    half, whole = 1 / (2 * noise_multiplier), epsilon * noise_multiplier
    return _normal_cdf(half - whole) - math.exp(epsilon) * _normal_cdf(-half - whole)


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """ε(δ) of one Gaussian mechanism of sensitivity 1, by bisection of ``gaussian_delta``."""
    low, high = 0.0, 1.0
    while gaussian_delta(noise_multiplier, high) > delta:
        high *= 2
        if high > 500:
            raise BadInput("this noise is too small for any useful epsilon", hint="use fewer rounds or a larger ε")
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if gaussian_delta(noise_multiplier, middle) <= delta else (middle, high)
    return high


def _normal_cdf(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2))


def _require_range(delta: float, rounds: int) -> None:
    if not 0 < delta < 1:
        raise BadInput("delta must lie between 0 and 1", hint="1e-5 for up to tens of thousands of patients")
    if rounds < 1:
        raise BadInput("a study has at least one round")


def require_paid(study: StudyProtocol, hospital: str, found: ReservedPrivacy | None) -> ReservedPrivacy:
    """The reservation that pays for this protocol at this hospital and at all others of it.

    The cost is computed here, from the protocol, and not believed.

    Raises:
        NotPaid: there is none, it is settled, or it is of another protocol, cohort, hospitals or amount.
    """
    if found is None:
        raise _not_paid(hospital, "no reservation names this protocol")
    if found.study != study.fingerprint() or found.cohort != name_id(COHORT):
        raise _not_paid(hospital, f"reservation {found.number} is of another study or cohort")
    if not found.live:
        raise _not_paid(hospital, f"reservation {found.number} is settled")
    if found.hospitals != {name_id(name) for name in study.hospitals} or hospital not in study.hospitals:
        raise _not_paid(hospital, f"reservation {found.number} is not of exactly the study's hospitals")
    cost = cost_of(study)
    if found.micros < cost:
        raise _not_paid(hospital, f"reservation {found.number} is of {found.micros} millionths; it costs {cost}")
    return found


def _not_paid(hospital: str, why: str) -> NotPaid:
    hint = "reserve its privacy on the ledger first, under the protocol's fingerprint; a reservation serves one study"
    return NotPaid(f"{hospital} answers nothing that is not paid for: {why}", hint=hint)
