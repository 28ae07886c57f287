"""Whether a released sum can come from patients and their hospitals' noise at all.

Post-processing: it looks at nothing but the sum that privacy was paid for. A hospital that adds far more noise than the
protocol's, or numbers that are no contributions, ruins the model for everybody; such a sum is refused and no model of
it is registered. What a liar hides within these bounds is not found here.

1. N patients of norm at most Δ sum to a norm of at most NΔ, and n noises of variance v to one of about √(nvd); N is
   bounded by ``HEADROOM`` times the protocol's public guess.
2. DP-VAR's moments, and the early warning's, are Σ z zᵀ, each scaled down: positive semidefinite, so no eigenvalue of
   their noisy sum lies below minus the spectral norm of the noise, which is about 2√(nvw) for width w (Wigner).

Bounds leave six standard deviations, so an honest sum fails with a chance below 1e-8.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.federation.detectors.dimensions import moments_at
from twinward.federation.detectors.dp_var import gram_matrix
from twinward.federation.errors import SumImplausible
from twinward.federation.privacy.accountant import PrivacyPlan
from twinward.federation.privacy.dp_sum import Integers, noise_variance, sensitivity
from twinward.federation.study import StudyProtocol

HEADROOM: Final = 4
"""Times the protocol's guess of the cohort that there may be patients. The true number is nobody's to know."""

_DEVIATIONS: Final = 6.0


def require_plausible(study: StudyProtocol, plan: PrivacyPlan, total: Integers) -> None:
    """Raise unless an opened sum ``[dimension]`` can be one of this protocol.

    Raises:
        SumImplausible: it cannot: a hospital lies, or there are far more patients than the protocol says.
    """
    fault = fault_of(study, plan, total, len(study.hospitals))
    if fault:
        raise SumImplausible(
            f"the hospitals' sum in {study.study_id} is {fault}: at least one of them does not keep to the protocol",
            hint=f"no model is made of it; run with other hospitals, or with more than {study.expected_patients} "
            "expected_patients if that guess was far too low",
        )


def fault_of(study: StudyProtocol, plan: PrivacyPlan, total: Integers, hospitals: int) -> str:
    """What is wrong with the sum of so many hospitals, in words; nothing where nothing is."""
    dimension = len(total)
    share = noise_variance(plan.noise_multiplier, dimension, study.honest)
    spread = math.sqrt(hospitals * share)
    most = HEADROOM * study.expected_patients * sensitivity(dimension)
    if float(np.linalg.norm(total.astype(np.float64))) > most + spread * (math.sqrt(dimension) + _DEVIATIONS):
        return "larger than all its patients together"
    moments = _moments_of(study, total.astype(np.float64))
    if moments is not None:
        matrix = gram_matrix(moments)
        least = -spread * (2 * math.sqrt(len(matrix)) + _DEVIATIONS)
        if float(np.linalg.eigvalsh(matrix)[0]) < least:
            return "no sum of moments under the protocol's noise"
    return ""


def _moments_of(study: StudyProtocol, total: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The part of a sum that is a sum of z zᵀ, as an upper triangle; None where there is none."""
    found = moments_at(study)
    return None if found is None else total[found]
