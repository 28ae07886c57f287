"""A study from protocol to ledger, hospitals in this process."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.integration.federation.kit import HOSPITALS, MemoryBudget, MemoryRegistry, join_all, simulated, sites
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput
from twinward.features.monitored_stays import Stays
from twinward.federation.aggregation.contribution import Contribution
from twinward.federation.coordinator import Coordinator, Progress
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.detectors.model_file import Model, read_model
from twinward.federation.errors import BudgetExhausted, RoundAborted, StaysUnreadable
from twinward.federation.evaluation.anomaly_injection import Anomaly, LabelledStays, inject_anomalies
from twinward.federation.evaluation.benchmark import Benchmark, Origin
from twinward.federation.interfaces import StaySource
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.privacy.dp_sum import UNIT, sensitivity
from twinward.federation.site import HospitalSite
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol

STAYS = simulated(250, seed=4)
BENCHMARK = Benchmark(
    "simulated", Origin.SYNTHETIC, inject_anomalies(simulate_stays(400, 41), 42), np.concatenate(list(STAYS.values()))
)
PRIVATE_BENCHMARK = Benchmark("simulated", Origin.SYNTHETIC, BENCHMARK.test)
MOMENTS = StudyProtocol.for_dp_var("var-1", HOSPITALS, expected_patients=750)
SMALL = StudyProtocol.for_autoencoder("ae-1", HOSPITALS, rounds=3, hidden=4, expected_patients=750)


def coordinator(seed: int = 1, **parts: object) -> Coordinator:
    """Its sites look at the very budget that it reserves from."""
    parts = {"budget": MemoryBudget(), "registry": MemoryRegistry()} | parts
    paid = parts["budget"]
    return Coordinator(sites(STAYS, seed, reservations=paid), clock=FixedClock(), **parts)  # type: ignore[arg-type]


def test_the_story_of_a_study() -> None:
    budget, registry, seen = MemoryBudget(), MemoryRegistry(), list[Progress]()
    trained = coordinator(budget=budget, registry=registry, progress=seen.append).run(SMALL, BENCHMARK)
    plan = plan_for(SMALL)
    assert budget.reserved == {1: plan.inverse_variance_micros}
    assert budget.settled == {1: "committed"}
    [(paid, model_hash, card_hash, epsilon_micros, delta_e12)] = registry.entries
    assert paid == trained.reservation == 1
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
    figures = card["evaluation"]["auroc"]["private"]
    for figure in (figures["estimate"], figures["low_95"], figures["high_95"], *figures["by_kind"].values()):
        assert figure == round(figure, 3)
    assert card["evaluation"]["benchmark_origin"] == "synthetic"
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


@pytest.mark.parametrize("hospitals_per_patient", [1, 2])
def test_the_released_sum_carries_all_hospitals_noise_and_nothing_else(hospitals_per_patient: int) -> None:
    """Noise = released sum minus the exact one; its variance is three shares of which two would do."""
    from twinward.federation.privacy.dp_sum import clipped_sum

    study = StudyProtocol.parse(MOMENTS.model_dump() | {"hospitals_per_patient": hospitals_per_patient})
    trained = coordinator().run(study, PRIVATE_BENCHMARK)
    detector = DpVarDetector()
    pooled = normalise(np.concatenate(list(STAYS.values())), MOMENTS.bins)
    exact = clipped_sum(detector.contributions(detector.untrained(), pooled), MOMENTS.clip, detector.dimension)
    noise = trained.model.parameters * (UNIT / MOMENTS.clip) - exact
    sigma = plan_for(MOMENTS).noise_multiplier * sensitivity(detector.dimension)
    assert noise.std() == pytest.approx(hospitals_per_patient * sigma * np.sqrt(1.5), rel=0.08)
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
@pytest.mark.timeout(900)
def test_the_autoencoder_learns_something_under_privacy() -> None:
    torch.set_num_threads(1)  # three sites share this process's cores
    stays = simulated(800, seed=5)
    benchmark = Benchmark(
        "simulated",
        Origin.SYNTHETIC,
        inject_anomalies(simulate_stays(800, 51), 52),
        np.concatenate(list(stays.values())),
    )
    study = StudyProtocol.for_autoencoder("ae-2", HOSPITALS, seed=1)  # from a random start
    run = Coordinator(sites(stays), MemoryBudget(), MemoryRegistry(), FixedClock()).run(study, benchmark)
    assert run.comparison.without_privacy is not None
    assert run.comparison.private.auroc > run.comparison.untrained.auroc + 0.05
    assert run.comparison.private.auroc < run.comparison.without_privacy.auroc


def test_an_exhausted_budget_stops_before_anything_is_read() -> None:
    class Untouchable:
        def stays(self, study: str, signals: object) -> None:
            pytest.fail("stays were read though the budget does not pay")

    unread = sites(STAYS)
    for site in unread:
        site._source = Untouchable()  # type: ignore[assignment]
    budget, registry = MemoryBudget(cap=1000), MemoryRegistry()
    with pytest.raises(BudgetExhausted):
        Coordinator(unread, budget, registry, FixedClock()).run(MOMENTS, PRIVATE_BENCHMARK)
    assert not budget.reserved
    assert not registry.entries


def test_a_dropout_stops_a_study_that_goes_on_without_nobody_and_it_stays_charged() -> None:
    class Dropout(HospitalSite):
        def contribute(self, round_number: int, *asked: object) -> Contribution:  # type: ignore[override]
            if round_number == 2:
                raise RoundAborted(f"{self.name} dropped out")
            return super().contribute(round_number, *asked)  # type: ignore[arg-type]

    taking_part = sites(STAYS)
    taking_part[1].__class__ = Dropout
    budget, registry = MemoryBudget(), MemoryRegistry()
    with pytest.raises(RoundAborted, match="north dropped out: 3 of 3 hospitals are needed"):
        Coordinator(taking_part, budget, registry, FixedClock()).run(SMALL, PRIVATE_BENCHMARK)
    assert budget.reserved
    assert not budget.settled  # which charges the same, and it may go on
    assert not registry.entries


@pytest.mark.parametrize("patients", [0, 1])
def test_a_hospital_with_one_patient_or_none_takes_part_like_any_other(patients: int) -> None:
    stays = STAYS | {"south": STAYS["south"][:patients]}
    for study in (MOMENTS, SMALL):
        budget, registry = MemoryBudget(), MemoryRegistry()
        Coordinator(sites(stays), budget, registry, FixedClock()).run(study, PRIVATE_BENCHMARK)
        assert len(registry.entries) == 1


class Unreadable:
    """Stays that fail with the name of a patient in the error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def stays(self, study: str, signals: object) -> Stays:
        raise self.error

    def withdrawn(self) -> frozenset[int]:
        raise self.error


@pytest.mark.parametrize("error", [BadInput("Mrs Fields has no stay"), ValueError("Mrs Fields"), KeyError(17)])
def test_a_hospitals_errors_tell_nothing_of_its_patients(error: Exception) -> None:
    said = set()
    wrong = HeldStays(np.zeros((17, 47, 24), np.float32))
    for source in (Unreadable(error), wrong):
        made = sites(STAYS)
        made[0]._source = source
        with pytest.raises(StaysUnreadable) as caught:
            made[0].join(MOMENTS)
        assert caught.value.__cause__ is None
        said.add((str(caught.value), caught.value.hint))
    assert said == {("east cannot read its stays", "see that hospital's own log")}


def test_how_long_an_answer_takes_does_not_tell_how_many_patients_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many slots are computed for nobody as for 300 of an expected 250."""
    computed: list[int] = []
    honest = DpVarDetector.contributions

    def counting(self: DpVarDetector, parameters: np.ndarray, blocks: np.ndarray) -> object:
        computed.append(len(blocks))
        return honest(self, parameters, blocks)

    monkeypatch.setattr(DpVarDetector, "contributions", counting)
    held = np.concatenate(list(STAYS.values()))
    for patients in (0, 1, 2, 250, 300, 313):
        made = sites(dict.fromkeys(HOSPITALS, held[:patients]))
        made[0].contribute(1, 1, np.zeros(DpVarDetector.dimension), join_all(made, MOMENTS))
    assert set(computed) == {313}


@pytest.mark.parametrize(
    "test",
    [
        replace(BENCHMARK.test, stays=BENCHMARK.test.stays[:, :47]),
        replace(BENCHMARK.test, kinds=BENCHMARK.test.kinds[1:]),
        replace(BENCHMARK.test, kinds=(Anomaly.NONE,) * len(BENCHMARK.test.kinds)),
    ],
)
def test_a_bad_benchmark_costs_nothing(test: LabelledStays) -> None:
    budget = MemoryBudget()
    with pytest.raises(BadInput):
        coordinator(budget=budget).run(MOMENTS, Benchmark("bad", Origin.SYNTHETIC, test))
    with pytest.raises(BadInput, match="synthetic, public or"):
        coordinator(budget=budget).run(MOMENTS, Benchmark("bad", "the hospitals' own", BENCHMARK.test))  # type: ignore[arg-type]
    assert not budget.reserved


def test_a_model_is_kept_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, budget = list[Model](), MemoryBudget()

    def fails(*_: object) -> None:
        assert kept
        raise RuntimeError("evaluation broke")

    monkeypatch.setattr("twinward.federation.coordinator.measure_detector", fails)
    made = coordinator(budget=budget, keep=kept.append)
    with pytest.raises(RuntimeError):
        made.run(MOMENTS, PRIVATE_BENCHMARK)
    assert budget.settled == {1: "committed"}
    assert kept[0].study == MOMENTS


def test_a_model_that_cannot_be_kept_is_charged_and_not_registered() -> None:
    def full(_: Model) -> None:
        raise OSError("no space left on device")

    budget, registry = MemoryBudget(), MemoryRegistry()
    with pytest.raises(OSError, match="no space"):
        coordinator(budget=budget, registry=registry, keep=full).run(MOMENTS, PRIVATE_BENCHMARK)
    assert budget.reserved
    assert budget.settled != {1: "committed"}
    assert not registry.entries


def test_the_wrong_hospitals_are_refused_before_reserving() -> None:
    budget = MemoryBudget()
    with pytest.raises(BadInput, match="the sites here are east, north"):
        Coordinator(sites(STAYS)[:2], budget, MemoryRegistry(), FixedClock()).run(MOMENTS, PRIVATE_BENCHMARK)
    assert not budget.reserved


class Withdrawing:
    """Stays of which some patients withdraw before a round."""

    def __init__(self, held: Stays, rows: range, before_round: int) -> None:
        self.held, self.rows, self.before_round = held, frozenset(rows), before_round
        self.asked = 0

    def stays(self, study: str, signals: object) -> Stays:
        return self.held

    def withdrawn(self) -> frozenset[int]:
        self.asked += 1
        return self.rows if self.asked == self.before_round else frozenset()  # told once is told for good


def trained_model(**sources: StaySource) -> bytes:
    made = sites(STAYS)
    for site in made:
        if site.name in sources:
            site._source = sources[site.name]
    budget, registry = MemoryBudget(), MemoryRegistry()
    return Coordinator(made, budget, registry, FixedClock()).run(SMALL, PRIVATE_BENCHMARK).model.to_bytes()


def test_whoever_withdraws_has_no_part_in_the_next_round_nor_in_any_after_it() -> None:
    east = STAYS["east"]
    gone, never = range(100), HeldStays(east[100:])
    assert trained_model(east=Withdrawing(east, gone, before_round=1)) == trained_model(east=never)
    halfway = trained_model(east=Withdrawing(east, gone, before_round=2))
    assert halfway not in (trained_model(), trained_model(east=never))


def test_a_hospital_all_of_whose_patients_withdraw_goes_on_with_noise_alone() -> None:
    assert trained_model(east=Withdrawing(STAYS["east"], range(250), before_round=2)) != trained_model()
