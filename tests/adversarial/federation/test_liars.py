"""Hospitals that do not keep to the protocol: what they can ruin is refused, and no model is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.integration.federation.kit import HOSPITALS, MemoryBudget, MemoryRegistry, simulated, sites, words
from twinward.core.clock import FixedClock
from twinward.federation.aggregation.contribution import Contribution, masked_bytes
from twinward.federation.aggregation.secure_aggregation import Masked, SignedRoundKey
from twinward.federation.coordinator import Coordinator
from twinward.federation.detectors.detector import Parameters
from twinward.federation.errors import SumImplausible
from twinward.federation.evaluation.anomaly_injection import inject_anomalies
from twinward.federation.evaluation.benchmark import Benchmark, Origin
from twinward.federation.privacy.dp_sum import UNIT
from twinward.federation.site import HospitalSite
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study import StudyProtocol

STAYS = simulated(60, seed=7)
BENCHMARK = Benchmark("simulated", Origin.SYNTHETIC, inject_anomalies(simulate_stays(60, 3), 1))
MOMENTS = StudyProtocol.for_dp_var("var-1", HOSPITALS, expected_patients=180)
AE = StudyProtocol.for_autoencoder("ae-1", HOSPITALS, rounds=2, hidden=2, expected_patients=180)

Lie = Callable[[Masked], Masked]


def huge_noise(masked: Masked) -> Masked:
    return masked + np.random.default_rng(0).integers(0, 2**34, len(masked), dtype=np.uint64)


def one_coordinate(masked: Masked) -> Masked:
    return masked + (np.arange(len(masked)) == 3).astype(np.uint64) * np.uint64(2**45)


def random_words(masked: Masked) -> Masked:
    return np.random.default_rng(0).integers(0, 2**64, len(masked), dtype=np.uint64)


def negative_counts(masked: Masked) -> Masked:
    """Moments of patients that are taken away: 200 of them, of full norm."""
    return masked - np.uint64(200 * UNIT) * (np.arange(len(masked)) == len(masked) - 1).astype(np.uint64)


def lying(lie: Lie) -> list[HospitalSite]:
    class Liar(HospitalSite):
        def contribute(
            self, round_number: int, attempt: int, parameters: Parameters, keys: Sequence[SignedRoundKey]
        ) -> Contribution:
            honest = super().contribute(round_number, attempt, parameters, keys)
            return replace(honest, masked=masked_bytes(lie(words(honest))))

    made = sites(STAYS)
    made[2].__class__ = Liar
    return made


@pytest.mark.parametrize(
    ("study", "lie"),
    [
        (MOMENTS, huge_noise),
        (MOMENTS, one_coordinate),
        (MOMENTS, random_words),
        (MOMENTS, negative_counts),
        (AE, huge_noise),
        (AE, one_coordinate),
        (AE, random_words),
    ],
)
def test_a_hospital_with_huge_noise_registers_nothing(study: StudyProtocol, lie: Lie) -> None:
    budget, registry, kept = MemoryBudget(), MemoryRegistry(), list[object]()
    with pytest.raises(SumImplausible, match="does not keep to the protocol"):
        Coordinator(lying(lie), budget, registry, FixedClock(), keep=kept.append).run(study, BENCHMARK)
    assert budget.settled == {1: "burned"}
    assert not registry.entries
    assert not kept


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_honest_sums_pass_whatever_the_privacy(epsilon: float) -> None:
    for seed in range(3):
        study = StudyProtocol.for_dp_var("var-1", HOSPITALS, expected_patients=180, epsilon=epsilon)
        Coordinator(sites(STAYS, seed), MemoryBudget(), MemoryRegistry(), FixedClock()).run(study, BENCHMARK)
