"""Disease groups: who is in which, what a protocol may say, which heads pay, and that they tell more where they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from twinward import federation
from twinward.features.signal_schema import CHECKUP
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.dimensions import head_size_of
from twinward.federation.detectors.grouped import REST, GroupedDetector, parts_of, scores_of
from twinward.federation.disease_groups import NO_GROUP, DiseaseGroup, group_of
from twinward.federation.errors import StudyInvalid
from twinward.federation.evaluation.anomaly_injection import inject_anomalies
from twinward.federation.evaluation.benchmark import train_without_privacy
from twinward.federation.privacy.accountant import cost_of, plan_for
from twinward.federation.privacy.dp_sum import clipped_sum, sensitivity
from twinward.federation.privacy.outlook import groups_with_heads, head_outlooks, outlook
from twinward.federation.stays.simulated import simulate_signals
from twinward.federation.study import StudyProtocol
from twinward.federation.study_file import protocol_toml

ICD = "http://hl7.org/fhir/sid/icd-10"
KIDNEYS = {"name": "kidneys", "codes": [f"{ICD}|N18*"], "expected_patients": 600}
HEART = {"name": "heart", "codes": [f"{ICD}|I50.1", f"{ICD}|N18.6"], "expected_patients": 40}
TABLE = federation.table_schema("six", {f"x{n}": (-1.0, 1.0) for n in range(6)})
PRACTICE = CHECKUP.model_copy(update={"name": "practice", "steps": 1, "step_hours": None})


def study(**changes: Any) -> StudyProtocol:
    fields: dict[str, Any] = {"epsilon": 3.0, "disease_groups": [KIDNEYS, HEART]}
    return federation.new_study("groups-1", signals=changes.pop("signals", TABLE), **(fields | changes))


def test_a_patient_is_in_the_first_group_that_fits_or_in_none() -> None:
    groups = [DiseaseGroup.model_validate(one) for one in (KIDNEYS, HEART)]
    assert group_of({f"condition:{ICD}|N18.6"}, groups) == "kidneys"
    assert group_of({f"condition:{ICD}|N18.6"}, groups[::-1]) == "heart"
    assert group_of({f"condition:{ICD}|I50.1", f"condition:{ICD}|A01"}, groups) == "heart"
    for other in ("I50.19", "I50", "N17"):
        assert group_of({f"condition:{ICD}|{other}"}, groups) == NO_GROUP
    assert group_of({f"medication:{ICD}|N18.6", "condition:http://other|N18"}, groups) == NO_GROUP


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"disease_groups": [KIDNEYS, KIDNEYS]}, "name each group once"),
        ({"disease_groups": [KIDNEYS | {"expected_patients": 2701}]}, "2700 expected_patients together"),
        ({"disease_groups": [KIDNEYS | {"expected_patients": 0}]}, "expected_patients is 1 at least"),
        ({"disease_groups": [KIDNEYS | {"codes": ["N18"]}]}, "not written by the pattern"),
        ({"disease_groups": [KIDNEYS | {"name": ""}]}, "not written by the pattern"),
        ({"disease_groups": [KIDNEYS | {"size": 3}]}, "size is not a field of it"),
        (
            {"disease_groups": [KIDNEYS | {"name": f"g{n}", "expected_patients": 9} for n in range(9)]},
            "has 8 entries at most",
        ),
        ({"disease_groups": "kidneys"}, "disease_groups is a list"),
        ({"detector": "lstm-autoencoder", "signals": "icu"}, "an autoencoder has no heads"),
        ({"group_size": 3, "hospitals": [f"h{n}" for n in range(6)]}, "not together with group_size"),
    ],
)
def test_what_no_heads_can_be_trained_for_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyInvalid, match=says):
        study(**changes)


def test_a_protocols_fingerprint_and_file_hold_its_groups() -> None:
    import tomllib

    plain, grouped = study(disease_groups=[]), study()
    assert b"disease_groups" not in plain.canonical()  # earlier protocols keep their fingerprints
    others = [study(disease_groups=[HEART, KIDNEYS]), study(disease_groups=[KIDNEYS | {"codes": []}, HEART])]
    assert len({one.fingerprint() for one in (plain, grouped, *others)}) == 4
    for one in (plain, grouped, study(signals="icu")):
        assert StudyProtocol.parse(tomllib.loads(protocol_toml(one))) == one


def test_a_group_that_is_too_small_has_the_backbone_and_costs_nobody_more() -> None:
    grouped, plain = study(), study(disease_groups=[])
    kidneys, heart = head_outlooks(grouped)
    assert (kidneys.has_head, heart.has_head) == (True, False)
    assert groups_with_heads(grouped) == ("kidneys",)
    needed = study(disease_groups=[HEART | {"expected_patients": heart.patients_needed}])
    fewer = study(disease_groups=[HEART | {"expected_patients": heart.patients_needed - 1}])
    assert (groups_with_heads(needed), groups_with_heads(fewer)) == (("heart",), ())
    assert groups_with_heads(study(epsilon=0.05)) == ()  # of a smaller ε, fewer pay
    assert build_detector(fewer).dimension == build_detector(plain).dimension  # where none pays, all is the backbone's
    assert outlook(fewer).signal_to_noise == outlook(plain).signal_to_noise
    assert (cost_of(grouped), plan_for(grouped)) == (cost_of(plain), plan_for(plain))
    assert outlook(grouped).signal_to_noise == pytest.approx(outlook(plain).signal_to_noise * 0.8**0.5, rel=1e-4)
    detector = build_detector(grouped)
    assert isinstance(detector, GroupedDetector)
    assert detector.head_size == head_size_of(grouped)
    assert detector.heads_of(["heart", "kidneys", NO_GROUP, "unheard-of"]).tolist() == [REST, 0, REST, REST]
    blocks = normalise(federation.synthetic_data(grouped, 50).stays, 1, TABLE)
    learnt = detector.summed_of(detector.untrained(), blocks, detector.heads_of(["kidneys"] * 50))
    by_none = scores_of(detector, learnt, blocks, [NO_GROUP] * 50)
    assert np.array_equal(scores_of(detector, learnt, blocks, ["heart"] * 50), by_none)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("icu", "icu-outcome")]


@pytest.mark.parametrize("signals", [TABLE, *SLOW])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_their_groups_one_patient_changes_the_sum_by_at_most_the_sensitivity(
    signals: Any, data: st.DataObject
) -> None:
    kind = "logistic-warning" if signals == "icu-outcome" else "dp-var"
    clip = data.draw(st.sampled_from([1e-6, 0.5, 4.0, 1e6]))
    made = study(
        signals=signals, detector=kind, clip=clip, disease_groups=[KIDNEYS, HEART | {"expected_patients": 900}]
    )
    detector = build_detector(made)
    assert isinstance(detector, GroupedDetector)
    assert detector.groups == ("kidneys", "heart")
    stays = federation.synthetic_data(made, 6, data.draw(st.integers(0, 3))).stays * data.draw(st.sampled_from([1, 50]))
    blocks = normalise(stays, made.bins, made.signals)
    heads = np.array(data.draw(st.lists(st.integers(REST, 1), min_size=6, max_size=6)))

    def total(among: np.ndarray) -> np.ndarray:
        chunks = detector.contributions_of(detector.untrained(), blocks[among], heads[among])
        return clipped_sum(chunks, made.clip, detector.dimension)

    everybody = np.arange(6)
    gone = total(everybody) - total(np.delete(everybody, data.draw(st.integers(0, 5))))
    assert sum(int(moved) ** 2 for moved in gone) <= sensitivity(detector.dimension) ** 2


def planted(kind: str, patients: int, seed: int, group: bool) -> np.ndarray:
    """Patients of a table whose group lives elsewhere, or whose outcome follows the other way round."""
    if kind == "dp-var":
        away = np.array([2.5, -2, 2, 1.5] + [0] * 9, np.float32) * [one.half_range for one in PRACTICE.signal]
        return simulate_signals(PRACTICE, patients, seed) + (away * group).astype(np.float32)
    random = np.random.default_rng(seed)
    rows = random.normal(size=(patients, 1)) * 0.5 + 0.3 * random.normal(size=(patients, 6))
    odds = rows[:, :1] * (-4 if group else 4)
    died = random.random((patients, 1)) < 1 / (1 + np.exp(-odds))
    return np.concatenate([rows, died], axis=1)[:, None].astype(np.float32)


@pytest.mark.parametrize("kind", ["dp-var", "logistic-warning"])
def test_where_a_group_differs_its_head_tells_more_than_the_backbone(kind: str) -> None:
    signals = PRACTICE
    if kind == "logistic-warning":
        names = {f"x{n}": (-1.0, 1.0) for n in range(6)} | {"outcome": (0.375, 0.625)}
        signals = federation.table_schema("six-and-outcome", names)
    made = study(signals=signals, detector=kind, disease_groups=[KIDNEYS])
    stays = np.concatenate([planted(kind, 1500, 1, False), planted(kind, 500, 2, True)])
    groups = [NO_GROUP] * 1500 + ["kidneys"] * 500
    detector = build_detector(made, in_the_open=True)
    learnt = train_without_privacy(detector, normalise(stays, made.bins, signals), 1, groups=groups)
    told = {}
    for name, group in (("kidneys", True), (NO_GROUP, False)):
        test = inject_anomalies(planted(kind, 600, 3 + group, group), 5, signals=signals)
        blocks = normalise(test.stays, made.bins, signals)
        by_head = scores_of(detector, learnt, blocks, [name] * len(blocks))
        told[name] = roc_auc_score(test.labels, by_head), roc_auc_score(test.labels, detector.scores(learnt, blocks))
        if kind == "dp-var":
            parts = parts_of(detector, learnt, blocks, [name] * len(blocks))
            np.testing.assert_allclose(parts.sum(1), by_head, rtol=1e-6)
    head, backbone = told["kidneys"]
    assert head > backbone + 0.03
    others, alike = told[NO_GROUP]
    assert others > alike - 0.01


def test_a_sum_of_two_hospitals_groups_is_that_of_their_patients() -> None:
    made = study(disease_groups=[KIDNEYS, HEART | {"expected_patients": 900}])
    detector = build_detector(made)
    assert isinstance(detector, GroupedDetector)
    blocks = normalise(federation.synthetic_data(made, 40).stays, 1, TABLE)
    heads = np.arange(40) % 3 - 1
    start = detector.untrained()
    one, other = (detector.summed_of(start, blocks[part::2], heads[part::2]) for part in (0, 1))
    np.testing.assert_allclose(one + other, detector.summed_of(start, blocks, heads), rtol=1e-5)
    alone = detector.summed_of(start, blocks[heads == 0], heads[heads == 0])
    size = detector.head_size
    at = detector.dimension - 2 * size
    np.testing.assert_allclose((one + other)[at : at + size], alone[at : at + size], rtol=1e-5)
