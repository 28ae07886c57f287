"""A vendor's whole walk over HTTP, in each mode, on real records; every answer is checked against brute force."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.integration.similarity.fixtures import ALL_MODES, EPOCH, VENDOR, House, schema_of
from twinward.audit.events.wording import event_sentence
from twinward.client import HospitalRefused, Threshold
from twinward.client.question import Question
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action
from twinward.features.schema import FeatureSchema
from twinward.protocol.terms import Mode

PIMA = schema_of(
    {
        "pregnancies": (0, 17),
        "glucose": (0, 200),
        "diastolic": (0, 122),
        "skinfold": (0, 99),
        "insulin": (0, 846),
        "bmi": (0, 67.1),
        "pedigree": (0, 2.5),
        "age": (21, 81),
    }
)
HEART = schema_of(
    {
        "age": (29, 77),
        "sex": (0, 1),
        "chest_pain": (1, 4),
        "rest_bp": (94, 200),
        "cholesterol": (126, 564),
        "fasting_sugar": (0, 1),
        "ecg": (0, 2),
        "max_rate": (71, 202),
        "exercise_angina": (0, 1),
        "st_depression": (0, 6.2),
        "slope": (1, 3),
        "vessels": (0, 3),
        "thal": (3, 7),
    }
)


def quantised(schema: FeatureSchema, path: Path) -> tuple[list[dict[str, float]], np.ndarray]:
    """Patients of a CSV file in clinical units and in levels; ``?`` stands for a missing value."""
    names = [feature.name for feature in schema.features]
    with path.open(newline="") as file:
        rows = [
            {name: float(cell) for name, cell in zip(names, row, strict=False) if cell != "?"}
            for row in csv.reader(file)
            if row
        ]
    return rows, np.array([schema.quantise(row) for row in rows])


def test_every_mode_on_pima(shared_data: Path, tmp_path: Path) -> None:
    patients, levels = quantised(PIMA, shared_data / "medical-csv" / "pima-indians-diabetes.csv")
    house = House(tmp_path, PIMA, levels)
    asked = patients[0]
    expected = house.handles_within(PIMA.quantise(asked), Threshold.share(0.08).to_squared(PIMA))
    assert 3 <= len(expected) < len(patients)
    with house.vendor() as vendor:
        assert vendor.schema().epoch == EPOCH
        gated = vendor.query_gated(asked, threshold=0.08)
        assert (tuple(sorted(gated.handles)), gated.count, gated.budget_left) == (expected, len(expected), 4)
        own = vendor.query_vendor_key(asked, threshold=0.08)
        assert tuple(sorted(own.handles)) == expected
        matrix = vendor.query_matrix(asked, threshold=0.08)
        assert tuple(sorted(matrix.handles)) == expected
        prepared = vendor.prepare(Question(asked, Mode.MATRIX, 0.08))
        assert matrix.clear_bytes == prepared.upload_bytes < matrix.upload_bytes
        assert (gated.clear_bytes, own.clear_bytes) == (0, 0)
        assert vendor.budget().remaining == 2
        assert [past.mode for past in vendor.results()] == [Mode.GATED, Mode.MATRIX]
    distances = ((levels - np.array(PIMA.quantise(asked))) ** 2).sum(axis=1)
    assert sorted(own.distances) == sorted(distances[distances <= Threshold.share(0.08).to_squared(PIMA)].tolist())


def test_weights_and_left_out_features_on_heart(shared_data: Path, tmp_path: Path) -> None:
    _, levels = quantised(HEART, shared_data / "heart-cleveland" / "processed.cleveland.data")
    house = House(tmp_path, HEART, levels, modes=(Mode.GATED, Mode.VENDOR_KEY), vendor_key_weighted=True)
    asked = {"age": 61.0, "cholesterol": 250.0, "max_rate": 140.0}
    weights = [1 if feature.name in asked else 0 for feature in HEART.features]
    threshold = Threshold.share(0.06)
    limit = threshold.to_squared(HEART, weights)
    expected = house.handles_within(HEART.quantise(asked), limit, weights)
    assert 3 <= len(expected) < len(levels)
    with house.vendor() as vendor:
        assert tuple(sorted(vendor.query_gated(asked, threshold=threshold).handles)) == expected
        assert tuple(sorted(vendor.query_vendor_key(asked, threshold=threshold).handles)) == expected


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> House:
    rng = np.random.default_rng(3)
    schema = schema_of({"a": (0, 100), "b": (0, 100), "c": (0, 100), "d": (0, 100)})
    return House(tmp_path_factory.mktemp("small"), schema, rng.integers(0, 128, (60, 4)), allowance=1000)


def test_what_cannot_be_asked_is_refused_before_anything_is_sent(small: House) -> None:
    spent = small.budget.remaining(VENDOR.id, EPOCH)
    with small.vendor() as vendor:
        for ask in (
            lambda: vendor.query_gated({"unheard_of": 1.0}),
            lambda: vendor.query_gated({}),
            lambda: vendor.query_gated({"a": float("nan")}),
            lambda: vendor.query_gated({"a": 1.0}, threshold=-0.1),
            lambda: vendor.query_gated({"a": 1.0}, weights={"b": 1}),
            lambda: vendor.query_gated({"a": 1.0}, weights={"a": 3}),
            lambda: vendor.query_vendor_key({"a": 1.0}),
            lambda: vendor.query_matrix({"a": 1.0}),
        ):
            with pytest.raises(BadInput):
                ask()
    assert small.budget.remaining(VENDOR.id, EPOCH) == spent


def test_gated_alone_is_offered_unless_the_hospital_says_otherwise(tmp_path: Path, small: House) -> None:
    house = House(tmp_path, small.schema, small.levels, modes=(Mode.GATED,))
    with house.vendor() as vendor, pytest.raises(BadInput, match="does not answer in matrix mode"):
        vendor.query_matrix(dict.fromkeys("abcd", 50.0))


def test_a_new_epoch_gives_new_handles_and_refuses_old_queries(tmp_path: Path, small: House) -> None:
    house = House(tmp_path, small.schema, small.levels, modes=(Mode.GATED,), allowance=9)
    asked = dict.fromkeys("abcd", 50.0)
    with house.vendor() as vendor:
        before = vendor.query_gated(asked, threshold=0.5)
        old_terms = vendor.schema()
        house.answers = house.open(EPOCH + 1)
        later = house.vendor()
        later._steps._terms = old_terms
        with pytest.raises(HospitalRefused, match="another schema or epoch") as refusal:
            later.query_gated(asked, threshold=0.5)
        assert refusal.value.status == 409
        after = later.query_gated(asked, threshold=0.5)
    assert len(before.handles) == len(after.handles) > 0
    assert not set(before.handles) & set(after.handles)


def test_an_exhausted_budget_refuses_and_says_so(tmp_path: Path, small: House) -> None:
    house = House(tmp_path, small.schema, small.levels, allowance=1)
    with house.vendor() as vendor:
        asked = dict.fromkeys("abcd", 50.0)
        vendor.query_gated(asked, threshold=0.3)
        for ask in (vendor.query_gated, vendor.query_vendor_key, vendor.query_matrix):
            with pytest.raises(HospitalRefused, match="0 queries left in epoch") as refusal:
                ask(asked, threshold=0.3)
            assert refusal.value.hint == "the allowance is renewed with the next epoch, at 2026-01-02 00:00 UTC"


def test_each_released_handle_is_a_match_in_the_log_and_each_comparison_shows(tmp_path: Path, small: House) -> None:
    """A patient's report shows every handle told, and whose queries she was compared with, also where nothing was."""
    house = House(tmp_path, small.schema, small.levels)
    start = len(house.trail.events)
    with house.vendor() as vendor:
        found = vendor.query_gated({"a": 50.0}, threshold=0.1)
    events = house.trail.events[start:]
    assert events[0].action is Action.QUERY
    assert dict(events[0].detail) == {"mode": "gated", "epoch": str(EPOCH), "network": "outside"}
    compared, told = events[1 : 1 + len(house.twins)], events[1 + len(house.twins) :]
    assert {event.twin for event in compared} == set(house.twins)
    assert {(event.action, event.agent, event.decision) for event in compared} == {(Action.QUERY, "acme", "permit")}
    assert {event_sentence(event) for event in compared} == {
        "acme (vendor) compared queries with features of one twin for similarity search"
    }
    assert {(event.action, event.decision) for event in told} == {(Action.MATCH, "permit")}
    assert {event.twin for event in told} == {house.service.resolve(VENDOR, handle) for handle in found.handles}
    assert len(told) == len(found.handles)
    start = len(house.trail.events)
    house.vendor().query_matrix(dict.fromkeys("abcd", 50.0), threshold=0.1)
    events = house.trail.events[start:]
    assert [event.twin for event in events if event.action is Action.QUERY] == [None, None], "once an epoch for each"


@pytest.mark.parametrize("mode", ALL_MODES)
def test_what_a_patient_withdraws_is_withheld_at_once(tmp_path: Path, small: House, mode: Mode) -> None:
    house = House(tmp_path, small.schema, small.levels, allowance=4)
    asked = dict.fromkeys("abcd", 50.0)
    gone = house.twins[:20]
    house.consents.put_many([(twin, ()) for twin in gone])
    with house.vendor() as vendor:
        ask = {Mode.GATED: vendor.query_gated, Mode.VENDOR_KEY: vendor.query_vendor_key}.get(mode, vendor.query_matrix)
        found = ask(asked, threshold=1.0)
    forbidden = {house.service.secrets.handle(VENDOR.id, twin) for twin in gone}
    assert len(found.handles) == 40
    assert not forbidden & set(found.handles)
    assert found.withheld
