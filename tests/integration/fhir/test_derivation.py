"""What a twin's features say follows the records as they stand, whichever way they came in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.fhir.hospital import CLINICIAN, SYSTEM, Hospital
from twinward.access.interfaces import NODE, AccessContext, AccessRequest
from twinward.api.twins.shape import tag_of
from twinward.core.vocabulary import Action, Again, Category, Purpose
from twinward.features.derivation import FeatureVector
from twinward.fhir.bulk.ndjson_import import import_ndjson
from twinward.fhir.bulk.refusals import BadLine
from twinward.fhir.mapping.ids import Origin, OriginNames
from twinward.fhir.mapping.records import patient_imports
from twinward.fhir.mapping.references import read_bundle
from twinward.fhir.rest.transaction import Transaction

MANY = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
UPDATE = Origin(again=Again.UPDATE)
CODES = ("4548-4", "17856-6")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    house = Hospital(tmp_path_factory.mktemp("house"))
    yield house
    house.close()


def patient(name: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": name, "birthDate": "1960-01-01", "gender": "female", **elements}


def hba1c(owner: str, name: str, value: float, **elements: Any) -> dict[str, Any]:
    unit = {"unit": "%", "system": "http://unitsofmeasure.org", "code": "%"}
    return {
        "resourceType": "Observation",
        "id": f"{owner}-{name}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]},
        "subject": {"reference": f"Patient/{owner}"},
        "effectiveDateTime": "2025-05-01T08:00:00Z",
        "valueQuantity": {"value": value, **unit},
    } | elements


def by_bundle(house: Hospital, resources: Sequence[dict[str, Any]], _: Path) -> None:
    for one in resources:
        document = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one}]}
        for source in patient_imports(
            read_bundle(json.dumps(document).encode(), OriginNames(UPDATE, house.clock)).bundle
        ):
            house.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), source)


def by_lines(house: Hospital, resources: Sequence[dict[str, Any]], folder: Path) -> None:
    path = folder / "lines.ndjson"
    path.write_text("\n".join(json.dumps(one, separators=(",", ":")) for one in resources))
    bad: list[BadLine] = []
    import_ndjson(
        [path],
        house.twins.bulk_import(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT)),
        origin=UPDATE,
        on_bad_line=bad.append,
    )
    assert bad == []


def by_write(house: Hospital, resources: Sequence[dict[str, Any]], _: Path) -> None:
    for one in resources:
        house.fhir.writes.update(
            AccessContext(CLINICIAN, Purpose.TREATMENT), one["resourceType"], one["id"], json.dumps(one).encode()
        )


WAYS = {"bundle": by_bundle, "lines": by_lines, "write": by_write}


def standing(house: Hospital, name: str) -> FeatureVector | None:
    request = AccessRequest(
        NODE,
        Action.READ,
        Purpose.RECORD_MANAGEMENT,
        house.twins.find(f"Patient/{name}"),
        frozenset({Category.FEATURES}),
    )
    return house.twins.feature_vector(house.access.decide(request))


def value(house: Hospital, name: str) -> float | None:
    vector = standing(house, name)
    reading = None if vector is None else vector.readings.get("hba1c_percent")
    return None if reading is None else reading.value


@pytest.mark.parametrize("way", sorted(WAYS))
def test_what_was_taken_back_or_corrected_stands_no_more(house: Hospital, tmp_path: Path, way: str) -> None:
    name, take = f"back-{way}", WAYS[way]
    older = hba1c(name, "older", 6, effectiveDateTime="2025-01-01T08:00:00Z")
    newer = hba1c(name, "newer", 9)
    take(house, [patient(name), older, newer], tmp_path)
    assert value(house, name) == 9
    take(house, [newer | {"status": "corrected", "valueQuantity": older["valueQuantity"] | {"value": 8}}], tmp_path)
    assert value(house, name) == 8
    take(house, [newer | {"effectiveDateTime": "2024-01-01T08:00:00Z"}], tmp_path)
    assert value(house, name) == 6
    take(house, [older | {"status": "entered-in-error"}], tmp_path)
    assert value(house, name) == 9
    house.fhir.writes.delete(AccessContext(CLINICIAN, Purpose.TREATMENT), "Observation", newer["id"])
    assert value(house, name) is None
    take(house, [newer], tmp_path)
    assert value(house, name) == 9


@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_corrected_person_is_the_one_that_counts(house: Hospital, tmp_path: Path, way: str) -> None:
    name, take = f"person-{way}", WAYS[way]
    take(house, [patient(name)], tmp_path)
    take(house, [patient(name, birthDate="1970-01-01", gender="unknown", deceasedDateTime="2000-02-01")], tmp_path)
    vector = standing(house, name)
    assert vector is not None
    assert {one: reading.value for one, reading in vector.readings.items()} == {"age": 30}


def test_a_deletion_in_a_transaction_takes_its_value_along(house: Hospital, tmp_path: Path) -> None:
    resources = [patient("tx"), hba1c("tx", "a", 6, effectiveDateTime="2025-01-01T08:00:00Z"), hba1c("tx", "b", 9)]
    by_bundle(house, resources, tmp_path)
    late = hba1c("tx", "c", 7, effectiveDateTime="2025-02-01T08:00:00Z")
    entries = [
        {"request": {"method": "DELETE", "url": "Observation/tx-b"}},
        {"resource": late, "request": {"method": "PUT", "url": "Observation/tx-c"}},
    ]
    body = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()
    Transaction(house.fhir, AccessContext(CLINICIAN, Purpose.TREATMENT), "http://hospital/fhir").run(body)
    assert value(house, "tx") == 7


EDITS = st.lists(
    st.fixed_dictionaries(
        {
            "way": st.sampled_from(sorted(WAYS)),
            "name": st.sampled_from("abc"),
            "value": st.integers(5, 12),
            "code": st.sampled_from(CODES),
            "status": st.sampled_from(["preliminary", "final", "corrected", "entered-in-error", "cancelled", "gone"]),
            "when": st.sampled_from(["2024-05-01T08:00:00Z", "2025-05-01T08:00:00+02:00", "2025-05-01", "2099-01-01"]),
        }
    ),
    min_size=1,
    max_size=7,
)


@MANY
@given(EDITS, st.uuids(version=4))
def test_after_any_edits_it_is_what_a_full_derivation_says(
    house: Hospital, tmp_path: Path, edits: list[dict[str, Any]], run: Any
) -> None:
    name, again = f"p{run.hex}", f"q{run.hex}"
    by_bundle(house, [patient(name)], tmp_path)
    stands: dict[str, dict[str, Any]] = {}
    for edit in edits:
        one = hba1c(name, edit["name"], edit["value"], effectiveDateTime=edit["when"], status=edit["status"])
        one["code"] = {"coding": [{"system": "http://loinc.org", "code": edit["code"]}]}
        if edit["status"] != "gone":
            WAYS[edit["way"]](house, [one], tmp_path)
            stands[edit["name"]] = one
        elif stands.pop(edit["name"], None):
            house.fhir.writes.delete(AccessContext(CLINICIAN, Purpose.TREATMENT), "Observation", one["id"])
    copies = json.loads(json.dumps([patient(name), *stands.values()]).replace(name, again))
    by_lines(house, copies, tmp_path)
    assert standing(house, name) == standing(house, again)


def test_an_age_grows_and_a_reading_dated_ahead_comes_due_though_nothing_is_written(tmp_path: Path) -> None:
    house = Hospital(tmp_path)
    ahead = hba1c("p", "ahead", 8, effectiveDateTime="2030-01-01")
    by_lines(house, [patient("p"), hba1c("p", "now", 6), ahead], tmp_path)
    twin, states, born = house.twins.find("Patient/p"), house.twins.states, house.clock.now_ms()

    def shown(at_ms: int | None = None) -> list[Any]:
        state = states.read(AccessContext(CLINICIAN, Purpose.TREATMENT), states.outline(twin, at_ms=at_ms))
        properties = (state.features[name].properties or {} for name in ("age", "hba1c_percent"))
        return [tag_of(state.outline), *(one["value"] for one in properties)]

    before = shown()
    assert before[1:] == [66, 6]
    house.clock.advance(3653 * 86_400_000)
    after = shown()
    assert after[1:] == [76, 8]
    assert after[0] != before[0]  # or a client would go on showing what it has
    assert shown(at_ms=born) == before
    house.close()
