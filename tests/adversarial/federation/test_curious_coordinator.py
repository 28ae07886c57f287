"""A coordinator that looks at, replays, forks and forges: what it sees is uniform, what it asks is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.integration.federation.kit import (
    HOSPITALS,
    IDENTITIES,
    ROSTER,
    ask_all,
    join_all,
    next_keys,
    simulated,
    site_of,
    sites,
    vectors,
    words,
)
from twinward.core.errors import BadInput
from twinward.federation.aggregation.secure_aggregation import (
    HospitalIdentity,
    Masked,
    RoundSecret,
    SignedRoundKey,
    open_sum,
)
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.errors import KeyRefused, RoundRefused
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.privacy.dp_sum import clipped_sum, noise_variance
from twinward.federation.site import HospitalSite
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol

STAYS = simulated(60, seed=9)
VAR = StudyProtocol.for_dp_var("var-1", HOSPITALS, expected_patients=180)
AE = StudyProtocol.for_autoencoder("ae-1", HOSPITALS, rounds=3, hidden=4, expected_patients=180)
NOTHING = np.zeros(DpVarDetector.dimension)


def joined(study: StudyProtocol) -> tuple[list[HospitalSite], list[SignedRoundKey]]:
    made = sites(STAYS)
    return made, join_all(made, study)


def one_round(study: StudyProtocol, parameters: np.ndarray) -> dict[str, Masked]:
    made, keys = joined(study)
    return vectors(ask_all(made, parameters, keys))


def own_sum(name: str) -> np.ndarray:
    detector = DpVarDetector()
    blocks = normalise(STAYS[name], VAR.bins)
    return clipped_sum(detector.contributions(NOTHING, blocks), VAR.clip, detector.dimension)


def test_a_masked_update_looks_uniform_and_tells_nothing_of_the_update() -> None:
    masked = one_round(VAR, NOTHING)
    for name, vector in masked.items():
        view = vector.view(np.uint8)
        assert stats.chisquare(np.bincount(view, minlength=256)).pvalue > 1e-4
        truth = own_sum(name).astype(float)
        assert abs(stats.spearmanr(vector.view(np.int64), truth).statistic) < 0.12  # 4 standard deviations
    two = masked["east"] + masked["north"]
    assert abs(stats.spearmanr(two.view(np.int64), own_sum("east") + own_sum("north")).statistic) < 0.12
    everybody = open_sum(masked, HOSPITALS).astype(float)
    assert stats.spearmanr(everybody, sum(own_sum(name) for name in HOSPITALS)).statistic > 0.3  # the sum does tell


def test_a_colluding_hospital_still_faces_the_whole_promised_noise() -> None:
    """Coordinator and south pool everything south knows: what remains hides east and north behind σ²Δ²."""
    honest = 2
    share = noise_variance(plan_for(VAR).noise_multiplier, DpVarDetector.dimension, honest)
    noise = open_sum(one_round(VAR, NOTHING), HOSPITALS) - sum(own_sum(name) for name in HOSPITALS)
    assert noise.astype(float).std() == pytest.approx(np.sqrt(3 * share), rel=0.08)
    assert honest * share >= (plan_for(VAR).noise_multiplier * 2**24) ** 2


def test_the_same_question_twice_is_refused_so_noise_cannot_be_averaged_away() -> None:
    """Whatever is different about it: the round, the model, the keys, or that a later one was answered."""
    made, keys = joined(AE)
    east, start = made[0], build_detector(AE).untrained()
    said = ask_all(made, start, keys)
    upcoming = next_keys(said)
    assert east.contribute(1, 1, start, keys[::-1]) == said["east"]  # the very same again, in case it was lost
    assert east.join(AE) == upcoming[0]  # and joining again begins nothing anew
    strangers = [RoundSecret(IDENTITIES[key.hospital], ROSTER, key.study, 1).signed_key for key in keys[1:]]
    other_keys = [keys[0], *strangers]
    for round_number, attempt, model, sent in (
        (1, 1, start + 1, keys),
        (2, 1, start, keys),
        (1, 1, start, other_keys),
        (1, 3, start, upcoming),
    ):
        with pytest.raises(RoundRefused):
            east.contribute(round_number, attempt, model, sent)
    east.contribute(2, 2, start, upcoming)
    with pytest.raises(RoundRefused, match="an earlier one"):
        east.contribute(1, 1, start, keys)
    with pytest.raises(RoundRefused, match="another question"):
        east.contribute(2, 2, start + 1, upcoming)


def test_no_round_beyond_the_protocol() -> None:
    made, keys = joined(VAR)
    said = ask_all(made, NOTHING, keys)
    assert not next_keys(said)
    assert made[0].join(VAR) is None
    for number in (-1, 0, 2, 10**6, 2**70):
        for round_number, attempt in ((number, 1), (1, number)):
            with pytest.raises(RoundRefused):
                made[0].contribute(round_number, attempt, NOTHING, keys)
        with pytest.raises(RoundRefused):
            made[0].join(VAR, number)


def test_a_coordinator_that_plays_two_hospitals_gets_nothing() -> None:
    """It answers for north and south with keys of its own, which would unmask east."""
    made, (own, *_) = joined(VAR)
    mine = HospitalIdentity.generate("x").signing_key
    forged = [
        RoundSecret(
            HospitalIdentity(name, mine), {name: HospitalIdentity(name, mine).public_key}, own.study, 1
        ).signed_key
        for name in ("north", "south")
    ]
    with pytest.raises(KeyRefused, match="did not sign"):
        made[0].contribute(1, 1, NOTHING, [own, *forged])


def test_keys_of_another_run_cannot_be_replayed() -> None:
    _, old = joined(VAR)
    made, (own, *_) = joined(StudyProtocol.for_dp_var("var-2", HOSPITALS, expected_patients=180))
    with pytest.raises(KeyRefused, match="another study"):
        made[0].contribute(1, 1, NOTHING, [own, old[1], old[2]])


def test_two_protocols_under_one_name_do_not_mix() -> None:
    """East is told ε = 3, the others ε = 10: they do not even accept each other's keys."""
    made = sites(STAYS)
    other = StudyProtocol.for_dp_var("var-1", HOSPITALS, expected_patients=180, epsilon=10.0)
    keys = [*join_all(made[:1], VAR), *join_all(made[1:], other)]
    for site in made:
        with pytest.raises(KeyRefused):
            site.contribute(1, 1, NOTHING, keys)


def test_a_forked_model_opens_to_noise() -> None:
    made, keys = joined(VAR)
    masked = {site.name: words(site.contribute(1, 1, NOTHING + (site.name == "east"), keys)) for site in made}
    assert np.abs(open_sum(masked, HOSPITALS).astype(float)).mean() > 2**60


def test_a_shuffled_or_relabelled_key_set_is_refused() -> None:
    made, (east, north, south) = joined(VAR)
    swapped: list[SignedRoundKey] = [east, replace(north, hospital="south"), replace(south, hospital="north")]
    with pytest.raises(KeyRefused):
        made[0].contribute(1, 1, NOTHING, swapped)


@pytest.mark.parametrize("crafted", [np.full(1, np.nan), np.zeros(3), np.full(4, np.inf)])
def test_crafted_parameters_are_refused_and_nothing_was_answered(crafted: np.ndarray) -> None:
    made, keys = joined(AE)
    with pytest.raises(BadInput):
        made[0].contribute(1, 1, crafted, keys)
    assert ask_all(made, build_detector(AE).untrained(), keys)


def test_enormous_parameters_do_not_lift_the_bound() -> None:
    """Weights that make gradients overflow: contributions count as zero, the noise stays what it was."""
    enormous = np.full_like(build_detector(AE).untrained(), 1e30)
    total = open_sum(one_round(AE, enormous), HOSPITALS).astype(float)
    sigma = plan_for(AE).noise_multiplier * 2**24 * np.sqrt(1.5)
    assert total.std() == pytest.approx(sigma, rel=0.35)  # at most 180 clipped patients on top of the noise


def test_a_poisoned_record_weighs_no_more_than_any_other() -> None:
    """One patient's chart full of absurd values moves the exact sum by at most one clipped contribution."""
    poisoned = STAYS["east"].copy()
    poisoned[0] = 3e38
    detector = DpVarDetector()
    clean, dirty = (
        clipped_sum(detector.contributions(NOTHING, normalise(held, VAR.bins)), VAR.clip, detector.dimension)
        for held in (STAYS["east"], poisoned)
    )
    assert np.linalg.norm((clean - dirty).astype(float)) <= 2 * 2**24 * 1.001


def test_sites_and_errors_show_no_stay() -> None:
    site = site_of("east", HeldStays(STAYS["east"]))
    site.join(VAR)
    value = f"{float(np.nanmax(STAYS['east'])):.3f}"
    assert value not in repr(site)
    with pytest.raises(RoundRefused) as caught:
        site.contribute(5, 5, NOTHING, [])
    assert value not in str(caught.value)
