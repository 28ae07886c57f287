"""A protocol teaches what is wrong with it, and has one fingerprint."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.integration.federation.kit import HOSPITALS
from twinward.core.errors import BadInput
from twinward.features.signal_schema import CHECKUP
from twinward.federation.disease_groups import DiseaseGroup
from twinward.federation.errors import StudyInvalid
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.study import DetectorKind, StudyProtocol


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hospitals": ("east", "north")}, "hospitals"),
        ({"hospitals": ("east", "north", "east")}, "each hospital once"),
        ({"hospitals": ("east", "north", "South Ward")}, "hospitals.2"),
        ({"epsilon": 0}, "epsilon"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"epsilon": 30}, "epsilon"),
        ({"delta": 1e-3}, "delta"),
        ({"delta": 1e-5, "expected_patients": 200_000}, "1/expected_patients"),
        ({"colluding": 2}, "at most 1 of 3"),
        ({"clip": -1}, "clip"),
        ({"clip": 1e-305}, "clip.*0.000001"),
        ({"clip": 9e-7}, "clip.*0.000001"),
        ({"clip": 1.1e6}, "clip.*1000000"),
        ({"epsilon": 0.009}, "epsilon.*0.01"),
        ({"delta": 1e-13}, "delta is 1e-12 at least"),
        ({"rounds": 1001}, "rounds.*1000"),
        ({"hidden": 257}, "hidden.*256"),
        ({"bins": 1}, "bins.*2"),
        ({"bins": 5}, "bins.*divide the 48 steps"),
        ({"bins": 96}, "bins.*48"),
        ({"expected_patients": 0}, "expected_patients.*1"),
        ({"expected_patients": 10**8, "delta": 1e-12}, "expected_patients.*10000000"),
        ({"learning_rate": 1e-300}, "learning_rate.*0.000001"),
        ({"colluding": 63}, "colluding.*62"),
        ({"dropouts": 1}, "at most 1 of 3.*dropouts included"),
        ({"dropouts": 1, "colluding": 0, "spare_rounds": 101}, "spare_rounds.*100"),
        ({"spare_rounds": 1}, "spare_rounds: of no use without dropouts"),
        ({"hospitals": tuple(f"h{i}" for i in range(34)), "dropouts": 1}, "of more than 33 hospitals.*spare_rounds"),
        ({"seed": 2**31}, "seed.*2147483648"),
        ({"rounds": 0}, "rounds"),
        ({"study_id": "Not A Name"}, "study_id"),
        ({"detector": "oracle"}, "detector"),
        ({"speed": 3}, "speed"),
        ({"hospitals_per_patient": 4}, "nobody is at more than these 3 hospitals"),
        ({"hospitals_per_patient": 0}, "hospitals_per_patient"),
    ],
)
def test_each_fault_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyInvalid, match=said) as caught:
        StudyProtocol.parse(StudyProtocol.for_autoencoder("icu-1", HOSPITALS).model_dump() | changes)
    assert caught.value.hint
    assert isinstance(caught.value, BadInput)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(StudyInvalid, match=r"(?s)clip.*rounds"):
        StudyProtocol.for_autoencoder("icu-1", HOSPITALS, clip=0, rounds=0)


def test_dp_var_has_one_round() -> None:
    assert StudyProtocol.for_dp_var("icu-1", HOSPITALS).rounds == 1
    with pytest.raises(StudyInvalid, match="rounds must be 1"):
        StudyProtocol.for_dp_var("icu-1", HOSPITALS, rounds=2)


def test_fingerprint_follows_every_field() -> None:
    base = StudyProtocol.for_autoencoder("icu-1", HOSPITALS)
    assert base.fingerprint() == StudyProtocol.for_autoencoder("icu-1", HOSPITALS).fingerprint()
    changes: dict[str, Any] = {
        "study_id": "icu-2",
        "hospitals": ("a", "b", "c", "d"),
        "detector": DetectorKind.DP_VAR,
        "epsilon": 2.0,
        "delta": 1e-6,
        "colluding": 0,
        "hospitals_per_patient": 2,
        "clip": 0.5,
        "rounds": 1,
        "learning_rate": 0.01,
        "hidden": 8,
        "bins": 6,
        "expected_patients": 100,
        "seed": 9,
        "signals": CHECKUP.model_copy(update={"steps": 48}),
        "dropouts": 1,
        "spare_rounds": 2,
        "group_size": 3,
        "disease_groups": (DiseaseGroup(name="kidneys", expected_patients=600),),
    }
    needed: dict[str, dict[str, Any]] = {
        "detector": {"rounds": 1},
        "dropouts": {"colluding": 0},
        "spare_rounds": {"colluding": 0, "dropouts": 1},
        "group_size": {"hospitals": ("a", "b", "c", "d", "e", "f")},
        "disease_groups": {"detector": "dp-var", "rounds": 1},
    }
    assert set(changes) == set(StudyProtocol.model_fields)
    for name, value in changes.items():
        beside = StudyProtocol.parse(base.model_dump() | needed.get(name, {})) if name != "detector" else base
        changed = StudyProtocol.parse(base.model_dump() | needed.get(name, {}) | {name: value})
        assert changed.fingerprint() != beside.fingerprint(), name


def test_a_protocol_survives_its_canonical_form() -> None:
    import json

    study = StudyProtocol.for_autoencoder("icu-1", HOSPITALS, epsilon=1.5)
    assert StudyProtocol.parse(json.loads(study.canonical())) == study


FIVE = ("a", "b", "c", "d", "e")


def test_a_protocol_of_before_keeps_its_fingerprint() -> None:
    """No dropouts and no spare rounds go without saying, also where they are said."""
    before = StudyProtocol.for_dp_var("x", FIVE[:3])
    assert b"dropouts" not in before.canonical()
    assert b"hospitals_per_patient" not in before.canonical()
    said = StudyProtocol.parse(before.model_dump() | {"dropouts": 0, "spare_rounds": 0})
    assert said.fingerprint() == before.fingerprint()
    with_dropouts = StudyProtocol.for_dp_var("x", FIVE)
    assert with_dropouts.fingerprint() != StudyProtocol.for_dp_var("x", FIVE, dropouts=0).fingerprint()


def test_what_a_lost_hospital_costs_is_in_the_protocol() -> None:
    """Each share of noise is for those that remain; a spare round is paid for like any other."""
    spare, sealed = StudyProtocol.for_autoencoder("x", FIVE), StudyProtocol.for_dp_var("x", FIVE)
    assert (spare.honest, spare.least_hospitals, spare.sums, spare.attempts, spare.sealed) == (3, 4, 41, 41, False)
    assert (sealed.honest, sealed.least_hospitals, sealed.sums, sealed.sealed) == (3, 4, 1, True)
    unspared = StudyProtocol.for_autoencoder("x", FIVE, spare_rounds=0)
    assert plan_for(spare).noise_multiplier == pytest.approx(
        plan_for(unspared).noise_multiplier * math.sqrt(41 / 40), rel=1e-6
    )
    assert plan_for(spare).epsilon <= spare.epsilon
