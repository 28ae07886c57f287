"""Bulk NDJSON: what lands is what a bundle would have brought; what is bad is named by line."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.ingest import ndjson, observations, patients
from tests.bundles import read_bundle
from tests.integration.fhir.hospital import CLINICIAN, SYSTEM, TENANT, Hospital
from twinward.access.interfaces import AccessContext, AccessRequest
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Again, Category, Purpose
from twinward.features.derivation import to_content
from twinward.fhir.bulk.inputs import find_ndjson, read_lines
from twinward.fhir.bulk.ndjson_import import NdjsonTally, import_ndjson
from twinward.fhir.bulk.ndjson_reader import NdjsonReader
from twinward.fhir.bulk.refusals import BadLine
from twinward.fhir.mapping.ids import Origin
from twinward.fhir.mapping.records import patient_imports
from twinward.twins.errors import AlreadyImported
from twinward.twins.ingest.bulk_import import BulkImport
from twinward.vault.models import Member
from twinward.vault.segments.compaction import Compactor

NOWHERE = Origin()
PATIENT = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1970-01-01"}


def observation(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2345-7"}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2025-06-01T10:00:00Z",
        "valueQuantity": {"value": 95, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
        **changes,
    }


def bulk(hospital: Hospital) -> BulkImport:
    return BulkImport(
        hospital.twins,
        hospital.vault,
        hospital.access,
        hospital.clock,
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT),
    )


@pytest.fixture
def take(hospital: Hospital, tmp_path: Path) -> Callable[..., tuple[NdjsonTally, list[BadLine]]]:
    def taken(*files: Iterable[dict[str, Any] | bytes], origin: Origin = NOWHERE) -> tuple[NdjsonTally, list[BadLine]]:
        paths = []
        for number, lines in enumerate(files):
            paths.append(tmp_path / f"{number}.ndjson")
            raw = [one if isinstance(one, bytes) else json.dumps(one, separators=(",", ":")).encode() for one in lines]
            paths[-1].write_bytes(b"\n".join(raw))
        bad: list[BadLine] = []
        return import_ndjson(paths, bulk(hospital), origin=origin, on_bad_line=bad.append), bad

    return taken


def everything(hospital: Hospital, patient: str = "p") -> dict[str, tuple[str, Category, bytes]]:
    records, _ = hospital.twins.read_permitted(AccessContext(CLINICIAN, Purpose.TREATMENT), f"Patient/{patient}")
    return {
        one.references[0]: (one.record_type, one.category, one.content) for one in records if one.record_type[0] != "F"
    }


def test_lines_land_as_a_bundle_would_and_twice_changes_nothing(hospital: Hospital, take: Any, tmp_path: Path) -> None:
    chance = random.Random(1)
    people = patients(3, chance)
    lines = list(observations(people, 60, chance))
    tally, bad = take(people, lines)
    assert bad == []
    assert (tally.created, tally.new_twins, tally.patients) == (183, 3, 3)
    again, bad = take(people, lines)
    assert (again.created, again.updated, again.unchanged, again.new_twins, bad) == (0, 0, 183, 0, [])
    (tmp_path / "other").mkdir()
    other = Hospital(tmp_path / "other")
    for person in people:
        mine = [one for one in lines if one["subject"]["reference"].endswith(person["id"])]
        entry = [{"resource": one} for one in (person, *mine)]
        document = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entry}, separators=(",", ":"))
        for source in patient_imports(read_bundle(document.encode())):
            other.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), source)
        assert everything(hospital, person["id"]) == everything(other, person["id"])
        assert vector(hospital, person["id"]) == vector(other, person["id"])
    other.close()
    assert sum(isinstance(one, Member) for twin in hospital.store.twins() for one in hospital.store.of_twin(twin)) > 150
    assert {one.twin for one in hospital.trail.events} >= set(hospital.twins.all())


def vector(hospital: Hospital, patient: str) -> object:
    twin = hospital.twins.find(f"Patient/{patient}")
    features = frozenset({Category.FEATURES})
    request = AccessRequest(SYSTEM, Action.READ, Purpose.RECORD_MANAGEMENT, twin, features)
    kept = hospital.twins.evidence(hospital.access.decide(request))
    return None if kept is None else json.loads(to_content(kept))


def test_bad_lines_are_named_and_good_ones_land(hospital: Hospital, take: Any) -> None:
    good = json.dumps(observation(1), separators=(",", ":")).encode()
    lines = [
        json.dumps(PATIENT).encode(),
        good,
        b"",
        b"{not json",
        good.replace(b'"id":"o1"', b'"id":"o2","id":"o3"'),
        good.replace(b'"o1"', b'"o4"').replace(b'"code":"2345-7"', b'"code":"2345-7","code":"x"'),
        good.replace(b'"o1"', b'"o5"').replace(b'"value":95', b'"value":1.10'),
        good.replace(b'"o1"', b'"o6"').replace(b'"value":95', b'"value":NaN'),
        good.replace(b'"o1"', b'"\xff"'),
        good.replace(b'"o1"', b'"o7"').replace(b"Patient/p", b"Patient/nobody"),
        good.replace(b'"o1"', b'"o8"').replace(b'{"reference":"Patient/p"}', b"null"),
        json.dumps({"resourceType": "Bundle", "type": "collection", "entry": []}).encode(),
        good.replace(b'"Observation"', b'"Nonsense"'),
        good.replace(b'"o1"', b'"o9"').replace(b'"final"', b'"fi\\u006eal"'),
    ]
    tally, bad = take(lines)
    assert sorted(one.number for one in bad) == [4, 5, 6, 8, 9, 10, 11, 12, 13]
    assert (tally.lines, tally.created, tally.refused) == (13, 4, 9)
    assert set(everything(hospital)) == {"Patient/p", "Observation/o1", "Observation/o5", "Observation/o9"}
    assert b'"value":1.10' in everything(hospital)["Observation/o5"][2]
    assert all(isinstance(one.error, BadInput) or "twin" in str(one.error) for one in bad)
    assert not any("Patient/nobody" in str(one.error) for one in bad)


def test_order_does_not_matter_and_updates_are_versions(hospital: Hospital, take: Any) -> None:
    organization = {"resourceType": "Organization", "id": "h", "name": "Mercy"}
    tally, bad = take([observation(number) for number in range(30)], [organization, PATIENT])
    assert (tally.created, bad) == (33, [])  # with the directory's own marker
    changed = [observation(number, status="amended" if number < 2 else "final") for number in range(30)]
    tally, bad = take(changed)
    assert (tally.updated, tally.unchanged, [one.number for one in bad]) == (0, 28, [1, 2])
    assert all(isinstance(one.error, AlreadyImported) for one in bad)
    tally, bad = take(changed, origin=Origin(again=Again.SKIP))
    assert (tally.updated, tally.unchanged, bad) == (0, 30, [])
    tally, bad = take(changed, origin=Origin(again=Again.UPDATE))
    assert (tally.updated, tally.unchanged, bad) == (2, 28, [])
    assert [
        one.version
        for one in hospital.twins.versions.history(AccessContext(CLINICIAN, Purpose.TREATMENT), "Observation/o1")
    ] == [
        2,
        1,
    ]
    twice = [observation(40), observation(40, status="amended")]
    assert take(twice, origin=Origin(again=Again.UPDATE))[0].updated == 1
    other = {**PATIENT, "id": "q"}
    _, bad = take([other, observation(1, subject={"reference": "Patient/q"})], origin=Origin(again=Again.UPDATE))
    assert ["another patient" in str(one.error) for one in bad] == [True]
    Compactor(hospital.store, hospital.keyring, hospital.clock, TENANT).run()
    tally, bad = take([observation(number, status="amended" if number < 2 else "final") for number in range(30)])
    assert (tally.unchanged, bad) == (30, [])


def test_lines_without_an_id_are_each_another_and_known_again_in_the_same_file(hospital: Hospital, take: Any) -> None:
    puff = {name: value for name, value in observation(0).items() if name != "id"}
    tally, bad = take([PATIENT, puff, puff, puff])
    assert (tally.created, bad) == (4, [])
    tally, bad = take([PATIENT, puff, puff, puff])
    assert (tally.created, tally.unchanged, [one.number for one in bad]) == (0, 1, [2, 3, 4])
    tally, bad = take([PATIENT, puff, puff, puff], origin=Origin(again=Again.SKIP))
    assert (tally.created, tally.unchanged, bad) == (0, 4, [])
    assert take([puff, PATIENT])[0].created == 1
    assert sum(name.startswith("Observation/") for name in everything(hospital)) == 4


def test_two_people_of_one_id_never_become_one(hospital: Hospital, take: Any) -> None:
    anna = [{**PATIENT, "name": [{"family": "A"}]}, observation(1)]
    berta = [{**PATIENT, "name": [{"family": "B"}]}, observation(2)]
    take(anna)
    _, bad = take(berta[::-1])
    assert [one.number for one in bad] == [1, 2]
    assert set(everything(hospital)) == {"Patient/p", "Observation/o1"}
    tally, bad = take(berta, origin=Origin("ward-b"))
    assert (tally.new_twins, tally.created, bad) == (1, 2, [])
    assert take(berta, origin=Origin("ward-b"))[0].unchanged == 2
    tally, bad = take(anna, origin=Origin(again=Again.NEW))
    assert (tally.new_twins, tally.created, bad) == (1, 2, [])
    assert len(hospital.twins.all()) == 3
    assert set(everything(hospital)) == {"Patient/p", "Observation/o1"}


def test_a_newer_reading_joins_the_features_that_are_kept(hospital: Hospital, take: Any) -> None:
    weight = {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]}
    kilograms = {"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}
    take([PATIENT, observation(1), observation(2, code=weight, valueQuantity=kilograms)])
    before: Any = vector(hospital, "p")
    late = {"value": 140, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
    take([observation(3, effectiveDateTime="2025-07-01T10:00:00+02:00", valueQuantity=late)])
    after: Any = vector(hospital, "p")
    changed = {name for name in after["claims"] if after["claims"][name] != before["claims"].get(name)}
    assert changed
    assert all(after["claims"][name][0][0] == 140 for name in changed)
    assert all(after["claims"][name][1:] == before["claims"][name] for name in changed)
    assert before["claims"].keys() == after["claims"].keys()


def test_an_erased_patient_is_not_written_to(hospital: Hospital, take: Any) -> None:
    take([PATIENT, observation(1)])
    hospital.keyring.shred(hospital.twins.find("Patient/p"))
    tally, bad = take([observation(2), {**PATIENT, "id": "q"}])
    assert (tally.created, [one.number for one in bad]) == (1, [1])


def test_gzip_blank_lines_and_folders(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "Observation.ndjson.gz", "wb") as file:
        file.write(b'\r\n{"a":1}\r\n\n  {"b":2}')
    (tmp_path / "Patient.ndjson").write_bytes(b"{}\n")
    (tmp_path / "other.json").write_bytes(b"{}")
    assert [path.name for path in find_ndjson([tmp_path])] == ["Patient.ndjson", "Observation.ndjson.gz"]
    assert list(read_lines(tmp_path / "Observation.ndjson.gz")) == [(2, b'{"a":1}'), (4, b'{"b":2}')]
    (tmp_path / "broken.ndjson.gz").write_bytes(b"not gzip")
    for path in (tmp_path / "broken.ndjson.gz", tmp_path / "absent.ndjson"):
        with pytest.raises(BadInput):
            list(read_lines(path))


SOURCE = ndjson(list(observations(patients(1, random.Random(3)), 1, random.Random(4)))).strip()


PIECES = (b'"', b"{", b"}", b":", b",", b" ", b"\\", b"\\u0022", b'"id":', b'"id":"x",', b"null", b"[", b"\xff", b"9")


@given(
    st.sampled_from(PIECES),
    st.integers(0, len(SOURCE)),
    st.integers(0, 4),
)
def test_the_fast_way_takes_nothing_that_the_strict_one_refuses(piece: bytes, at: int, cut: int) -> None:
    """And where both take a line, they say the same of it."""
    line = (SOURCE[:at] + piece + SOURCE[at + cut :]).strip(b" \t\r\n")
    wanted = ("8302-2", "2339-0")
    reader = NdjsonReader(wanted)
    fast = reader._fast(line)
    if fast is not None:
        strict = reader._strict(line)
        assert fast[:6] == strict[:6]
        assert list(fast.readings) == [one for one in strict.readings if one.code in wanted]


CONFIDENTIAL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}


@pytest.mark.parametrize(
    "told",
    [
        {"valueQuantity": {"value": 40, "unit": "HIV-1 RNA copies/mL"}},
        {"valueQuantity": {"value": 40, "system": "http://snomed.info/sct", "code": "86406008"}},
        {
            "valueQuantity": None,
            "component": [{"code": {"text": "x"}, "valueQuantity": {"value": 4, "unit": "HIV copies"}}],
        },
        {"code": {"text": "HIV test"}, "meta": {"security": [CONFIDENTIAL]}},
        {"meta": {"security": [CONFIDENTIAL]}},
    ],
)
def test_what_a_line_tells_of_is_filed_as_the_strict_way_files_it(told: dict[str, Any]) -> None:
    whole = {name: value for name, value in observation(1, **told).items() if value is not None}
    line = json.dumps(whole).encode()
    reader = NdjsonReader(())
    filed = reader._strict(line)
    found = reader.read(line)
    assert filed is not None
    assert found is not None
    assert found.category is filed.category is not Category.LABS
    assert all(one is None or one.category is filed.category for one in reader.read_ahead([line, line]))


@pytest.mark.parametrize(
    "piece",
    [
        b'"performer":[{"display":"\xff"}],"meta":{"versionId":"3"}',
        b'"category":' + b"[" * 3_000 + b"]" * 3_000,
        b'"note":' + b"[" * 100_000,
    ],
)
def test_bytes_that_no_decoder_takes_are_a_bad_line_and_no_more(tmp_path: Path, piece: bytes) -> None:
    line = json.dumps(observation(1)).encode().replace(b"{", b"{" + piece + b",", 1)
    reader = NdjsonReader(())
    assert reader.read_ahead([line]) == [None]
    with pytest.raises(BadInput):
        reader.read(line)
    (tmp_path / "Observation.ndjson").write_bytes(line + b"\n" + SOURCE + b"\n")
    assert [number for number, _ in read_lines(tmp_path / "Observation.ndjson")] == [1, 2]


def test_long_lines_go_the_strict_way_so_that_what_is_remembered_stays_small() -> None:
    reader = NdjsonReader(())
    line = json.dumps(observation(1, interpretation=[{"text": "word " * 2_000}]), separators=(",", ":")).encode()
    assert reader.read_ahead([line]) == [reader._fast(line)] == [None]
    assert reader.read(line) == reader._strict(line)


@pytest.mark.parametrize("member", [b'"status":"final"', b'"value":', b'"display":', b'"reference":', b'"system":'])
def test_a_key_that_stands_twice_is_seen_wherever_it_stands(member: bytes) -> None:
    name = member.split(b":")[0]
    at = SOURCE.index(name)
    for twice in (name + b':"x",', name + b":1,", name + b':{"a":"b"},', name + b" : [],"):
        line = SOURCE[:at] + twice + SOURCE[at:]
        assert NdjsonReader(())._fast(line) is None
        with pytest.raises(BadInput):
            NdjsonReader(()).read(line)
