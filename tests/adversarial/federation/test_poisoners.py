"""Hospitals that ruin a study's sums under good masks: told by its groups, named, and left out by an officer."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.integration.federation.kit import AllPaid, MemoryBudget, MemoryRegistry, seeded_bytes
from tests.integration.federation.poisoners import ATTACKS, FLIPPED, NINE, Attack, lying_site, released
from twinward.core.clock import FixedClock
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.coordinator import Coordinator
from twinward.federation.errors import KeyRefused, PoisonSuspected, Quarantined
from twinward.federation.evaluation.anomaly_injection import inject_anomalies
from twinward.federation.evaluation.benchmark import Benchmark, Origin
from twinward.federation.evaluation.study_report import study_report
from twinward.federation.site import HospitalSite
from twinward.federation.stays.simulated import simulate_signals, simulate_stays
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol
from twinward.federation.study_journal import Review, StudyJournal
from twinward.federation.suspicion.suspects import Ground, examine

SIX = tuple(f"h{number}" for number in range(6))
IDENTITIES = {name: HospitalIdentity(name, hashlib.sha256(name.encode()).digest()) for name in SIX}
STAYS = {name: simulate_stays(40, 50 + index) for index, name in enumerate(SIX)}
SHAPE = {"epsilon": 10.0, "group_size": 3, "expected_patients": 240, "dropouts": 0, "spare_rounds": 0, "bins": 4}
MOMENTS = StudyProtocol.for_dp_var("var-1", SIX, rounds=12, **SHAPE)
BENCHMARK = Benchmark("simulated", Origin.SYNTHETIC, inject_anomalies(simulate_stays(60, 3), 1))
LOUD, TURNED = Attack("loud", noise=100), Attack("turned around", times=-1)


@pytest.fixture(autouse=True)
def _repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinward.federation.aggregation.groups._CHANCE", random.Random(8))


class Run:
    """One study over six sites in this process, begun as often as it takes."""

    def __init__(self, folder: Path, liars: Mapping[str, Attack], study: StudyProtocol = MOMENTS) -> None:
        roster = {name: one.public_key for name, one in IDENTITIES.items()}
        self.study, self.place = study, folder / "journal.db"
        self.sites = [
            HospitalSite(
                IDENTITIES[name],
                roster,
                HeldStays(STAYS[name]),
                reservations=AllPaid(SIX),
                answered=AnsweredRounds(folder / f"{name}.db"),
                random_bytes=seeded_bytes(index),
            )
            for index, name in enumerate(SIX)
        ]
        for site in self.sites:
            if site.name in liars:
                lying_site(site, liars[site.name])
        self.budget, self.registry = MemoryBudget(hospitals=SIX), MemoryRegistry()

    @property
    def journal(self) -> StudyJournal:
        return StudyJournal(self.place, self.study.fingerprint())

    def begin(self) -> object:
        made = Coordinator(self.sites, self.budget, self.registry, FixedClock(), journals=self.place)
        return made.run(self.study, BENCHMARK)

    def decide(self, hospital: str, *, quarantined: bool) -> None:
        self.journal.review(Review(hospital, quarantined, "olga", "its noise", 1))


@pytest.mark.slow
@pytest.mark.parametrize("liars", [{"h2": LOUD}, {"h4": TURNED}])
def test_liars_are_named_and_no_model_is_made_before_an_officer_decided(
    tmp_path: Path, liars: Mapping[str, Attack]
) -> None:
    run = Run(tmp_path, liars)
    with pytest.raises(PoisonSuspected) as caught:
        run.begin()
    assert {name for name in SIX if name in str(caught.value)} == set(liars)
    assert not run.budget.settled, "what is reserved waits for the officer"
    assert not run.registry.entries
    for name in liars:
        run.decide(name, quarantined=True)
    made = run.begin()
    assert run.registry.entries
    assert run.budget.settled == {1: "committed"}
    found = made.model.parameters[-1] / run.study.clip  # type: ignore[attr-defined]
    (tmp_path / "honest").mkdir()
    whole = Run(tmp_path / "honest", {}).begin().model.parameters[-1] / run.study.clip  # type: ignore[attr-defined]
    left = (len(SIX) - len(liars)) / len(SIX)
    assert found == pytest.approx(whole * left, rel=0.25), "the model is of those who are left"
    card = json.loads(made.card.content)  # type: ignore[attr-defined]
    assert card["examined_in_groups"]["left_out"] == sorted(liars)
    page = study_report(made.model, card, None)  # type: ignore[attr-defined]
    assert f"<dt>Left out by an officer</dt><dd>{', '.join(sorted(liars))}</dd>" in page


@pytest.mark.slow
def test_who_was_looked_at_and_cleared_stays(tmp_path: Path) -> None:
    run = Run(tmp_path, {"h2": Attack("noisy", noise=4)})
    with pytest.raises(PoisonSuspected, match="h2 adds more noise"):
        run.begin()
    run.decide("h2", quarantined=False)
    made = run.begin()
    assert b'"looked_at_and_kept":["h2"]' in made.card.content  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_quarantine_in_the_middle_is_kept_to_from_the_next_round_on(tmp_path: Path) -> None:
    run = Run(tmp_path, {"h2": LOUD})
    seen = []

    class Watched(StudyJournal):
        def learn(self, question, total, groups=()):  # type: ignore[no-untyped-def]
            super().learn(question, total, groups)
            seen.append(question.members)
            if len(seen) == 8:
                run.decide("h2", quarantined=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twinward.federation.coordinator.StudyJournal", Watched)
        run.begin()
    assert all("h2" in members for members in seen[:8])
    assert all("h2" not in members for members in seen[8:])
    assert run.registry.entries


@pytest.mark.slow
def test_gradients_cannot_be_taken_back_so_a_quarantine_ends_such_a_study(tmp_path: Path) -> None:
    study = StudyProtocol.for_autoencoder("ae-1", SIX, rounds=12, hidden=2, **SHAPE)
    run = Run(tmp_path, {"h2": Attack("deafening", noise=10**4)}, study)
    with pytest.raises(PoisonSuspected, match="h2"):
        run.begin()
    run.decide("h2", quarantined=True)
    with pytest.raises(Quarantined, match="h2 is quarantined"):
        run.begin()
    assert run.budget.settled == {1: "burned"}
    assert not run.registry.entries


def test_a_site_answers_no_group_that_hides_too_few(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    keys = [key for key in (site.join(MOMENTS) for site in run.sites) if key is not None]
    with pytest.raises(KeyRefused, match="at least 3"):
        run.sites[0].contribute(1, 1, np.zeros(1225), keys[:2])
    assert run.sites[0].contribute(1, 1, np.zeros(1225), keys[:3]).masked
    with pytest.raises(Exception, match="answered attempt 1 before"):
        run.sites[0].contribute(1, 1, np.zeros(1225), (keys[0], *keys[3:]))  # nobody's patients are in two groups


@pytest.mark.slow
@pytest.mark.parametrize("attack", [*ATTACKS[:5], FLIPPED], ids=lambda one: one.name)
def test_two_liars_of_nine_rank_first_and_nobody_else_is_suspect(attack: Attack) -> None:
    make = StudyProtocol.for_logistic if attack is FLIPPED else StudyProtocol.for_dp_var
    study = make("s", NINE, epsilon=1.0, group_size=3, rounds=20, expected_patients=2700, dropouts=0)
    stays = {name: simulate_signals(study.signals, 200 + 40 * index, 900 + index) for index, name in enumerate(NINE)}
    liars = {"h3": attack, "h6": attack}
    found = examine(study, released(study, stays, liars, 1))
    assert {one.hospital for one in found[:2]} == set(liars)
    assert {one.hospital for one in found if one.is_suspect} <= set(liars)


@pytest.mark.slow
def test_a_hospital_that_outweighs_the_cohort_is_suspect() -> None:
    study = StudyProtocol.for_dp_var("s", NINE, epsilon=1.0, group_size=3, rounds=20, expected_patients=600, dropouts=0)
    stays = {name: simulate_stays(60, 900 + index) for index, name in enumerate(NINE)}
    first = examine(study, released(study, stays, {"h3": Attack("heavy", times=24)}, 1))[0]
    assert (first.hospital, first.grounds[0]) == ("h3", Ground.WEIGHT)
