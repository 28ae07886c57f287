"""A study from protocol to ledger, hospitals in this process."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from tests.integration.federation.kit import HOSPITALS, MemoryBudget, MemoryRegistry, simulated, sites
from twinward.clock import FixedClock
from twinward.errors import BadInput
from twinward.federation.accountant import plan_for
from twinward.federation.errors import BudgetExhausted, NothingToTrainOn, RoundAborted
from twinward.federation.evaluation import Benchmark
from twinward.federation.model_file import read_model
from twinward.federation.normalise import normalise
from twinward.federation.private_sum import UNIT, sensitivity
from twinward.federation.secure_sum import Masked
from twinward.federation.site import HospitalSite
from twinward.federation.study import StudyProtocol
from twinward.federation.tampering import tamper
from twinward.federation.training import Coordinator, Progress
from twinward.simulated_stays import simulate_stays

STAYS = simulated(250, seed=4)
BENCHMARK = Benchmark("simulated", tamper(simulate_stays(400, 41), 42), np.concatenate(list(STAYS.values())))
PRIVATE_BENCHMARK = Benchmark("simulated", BENCHMARK.test)
MOMENTS = StudyProtocol.for_moments("var-1", HOSPITALS, expected_patients=750)
SMALL = StudyProtocol.for_autoencoder("ae-1", HOSPITALS, rounds=3, hidden=4, expected_patients=750)


def coordinator(seed: int = 1, **parts: object) -> Coordinator:
    parts = {"budget": MemoryBudget(), "registry": MemoryRegistry()} | parts
    return Coordinator(sites(STAYS, seed), clock=FixedClock(), **parts)  # type: ignore[arg-type]


def test_the_story_of_a_study() -> None:
    budget, registry, seen = MemoryBudget(), MemoryRegistry(), list[Progress]()
    trained = coordinator(budget=budget, registry=registry, progress=seen.append).run(SMALL, BENCHMARK)
    plan = plan_for(SMALL)
    assert budget.reserved == {1: plan.inverse_variance_micros}
    assert budget.settled == {1: "committed"}
    [(study, model_hash, card_hash, epsilon_micros, delta_e12)] = registry.entries
    assert study == "ae-1"
    assert model_hash == hashlib.sha256(trained.model.to_bytes()).digest()
    assert card_hash == hashlib.sha256(trained.card.content).digest()
    assert (epsilon_micros, delta_e12) == (plan.epsilon_micros, plan.delta_e12)
    assert epsilon_micros <= 3_000_000
    stages = [progress.stage for progress in seen]
    assert stages == ["joining"] + ["training"] * 3 + ["comparing"] * 9 + ["registering"]
    spent = [progress.epsilon for progress in seen if progress.stage == "training"]
    assert spent == sorted(spent)
    assert spent[-1] == pytest.approx(plan.epsilon, rel=1e-4)
    assert [measured.name for measured in trained.comparison.all()] == [
        "private",
        "untrained",
        "without privacy",
        "IsolationForest",
    ]


def test_the_card_says_what_was_promised_and_nothing_of_one_hospital() -> None:
    trained = coordinator().run(MOMENTS, PRIVATE_BENCHMARK)
    card = json.loads(trained.card.content)
    assert card["privacy"]["epsilon"] == trained.plan.epsilon
    assert card["privacy"]["delta"] == 1e-5
    assert card["hospitals"] == 3
    assert card["model_sha256"] == trained.model.hash().hex()
    assert set(card["evaluation"]["auroc"]) == {"private", "untrained"}  # nothing may be pooled: no open figures
    text = trained.card.content.decode()
    assert not any(name in text for name in HOSPITALS)
    assert "750" not in text
    assert "250" not in text


def test_the_registered_model_scores_alike_when_read_back() -> None:
    trained = coordinator().run(MOMENTS, PRIVATE_BENCHMARK)
    read = read_model(trained.model.to_bytes())
    blocks = normalise(BENCHMARK.test.stays, MOMENTS.bins)
    ours = trained.model.detector().scores(trained.model.parameters, blocks)
    assert np.array_equal(read.detector().scores(read.parameters, blocks), ours)


def test_same_seed_and_noise_same_model_other_noise_another() -> None:
    first, again, other = (coordinator(seed).run(SMALL, PRIVATE_BENCHMARK).model for seed in (1, 1, 2))
    assert first.hash() == again.hash()
    assert first.hash() != other.hash()


def test_the_released_sum_carries_all_hospitals_noise_and_nothing_else() -> None:
    """Noise = released sum minus the exact one; its variance is three shares of which two would do."""
    from twinward.federation.moments import MomentsDetector
    from twinward.federation.private_sum import clipped_sum

    trained = coordinator().run(MOMENTS, PRIVATE_BENCHMARK)
    detector = MomentsDetector()
    pooled = normalise(np.concatenate(list(STAYS.values())), MOMENTS.bins)
    exact = clipped_sum(detector.contributions(detector.untrained(), pooled), MOMENTS.clip, detector.dimension)
    noise = trained.model.parameters * (UNIT / MOMENTS.clip) - exact
    sigma = plan_for(MOMENTS).noise_multiplier * sensitivity(detector.dimension)
    assert noise.std() == pytest.approx(sigma * np.sqrt(1.5), rel=0.08)
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(len(noise))


def test_dp_var_learns_something_under_privacy() -> None:
    """On stays and noise of fixed seeds, at ε = 3; the untrained detector scores plain hour-to-hour change."""
    comparison = coordinator().run(MOMENTS, BENCHMARK).comparison
    assert comparison.without_privacy is not None
    assert comparison.isolation_forest is not None
    assert comparison.private.auroc > comparison.untrained.auroc + 0.01
    assert comparison.private.auroc > comparison.isolation_forest.auroc + 0.15
    assert comparison.private.auroc <= comparison.without_privacy.auroc + 0.01


@pytest.mark.slow
def test_the_autoencoder_learns_something_under_privacy() -> None:
    torch.set_num_threads(1)  # three sites share this process's cores
    stays = simulated(800, seed=5)
    benchmark = Benchmark("simulated", tamper(simulate_stays(800, 51), 52), np.concatenate(list(stays.values())))
    study = StudyProtocol.for_autoencoder("ae-2", HOSPITALS)
    run = Coordinator(sites(stays), MemoryBudget(), MemoryRegistry(), FixedClock()).run(study, benchmark)
    assert run.comparison.without_privacy is not None
    assert run.comparison.private.auroc > run.comparison.untrained.auroc + 0.05
    assert run.comparison.private.auroc < run.comparison.without_privacy.auroc


def test_an_exhausted_budget_stops_before_anything_is_read() -> None:
    class Untouchable:
        def stays(self, study: str) -> None:
            pytest.fail("stays were read though the budget does not pay")

    unread = sites(STAYS)
    for site in unread:
        site._source = Untouchable()  # type: ignore[assignment]
    budget, registry = MemoryBudget(cap=1000), MemoryRegistry()
    with pytest.raises(BudgetExhausted):
        Coordinator(unread, budget, registry, FixedClock()).run(MOMENTS, PRIVATE_BENCHMARK)
    assert not budget.reserved
    assert not registry.entries


def test_a_dropout_aborts_burns_and_registers_nothing() -> None:
    class Dropout(HospitalSite):
        def contribute(self, round_number: int, parameters: object, keys: object) -> Masked:
            if round_number == 2:
                raise RoundAborted(f"{self.name} dropped out")
            return super().contribute(round_number, parameters, keys)  # type: ignore[arg-type]

    taking_part = sites(STAYS)
    taking_part[1].__class__ = Dropout
    budget, registry = MemoryBudget(), MemoryRegistry()
    with pytest.raises(RoundAborted, match="north dropped out"):
        Coordinator(taking_part, budget, registry, FixedClock()).run(SMALL, PRIVATE_BENCHMARK)
    assert budget.settled == {1: "burned"}
    assert not registry.entries


def test_a_hospital_without_consenting_patients_says_so() -> None:
    stays = STAYS | {"south": STAYS["south"][:0]}
    budget = MemoryBudget()
    with pytest.raises(NothingToTrainOn, match="south"):
        Coordinator(sites(stays), budget, MemoryRegistry(), FixedClock()).run(MOMENTS, PRIVATE_BENCHMARK)
    assert budget.settled == {1: "burned"}


def test_the_wrong_hospitals_are_refused_before_reserving() -> None:
    budget = MemoryBudget()
    with pytest.raises(BadInput, match="the sites here are east, north"):
        Coordinator(sites(STAYS)[:2], budget, MemoryRegistry(), FixedClock()).run(MOMENTS, PRIVATE_BENCHMARK)
    assert not budget.reserved
