"""What a single write refuses, no other door takes: batch, transaction, bulk import, files. Nothing of it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.test_fhir_import import begin, manifest
from tests.integration.fhir.test_ndjson import PATIENT, observation
from tests.integration.fhir.web import send, transaction
from twinward.core.errors import BadInput
from twinward.fhir.bulk.bundle_files import import_bundles
from twinward.fhir.bulk.ndjson_reader import NdjsonReader
from twinward.fhir.validation.validator import validate

MG = {"value": 95, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
BACKWARDS = {"start": "2025-02-20", "end": "2025-02-19"}
SUBJECT = {"reference": "Patient/p"}
SCRIPT = {"status": "generated", "div": "<div><script>x()</script></div>"}

BAD: Mapping[str, dict[str, Any]] = {
    "a status of another type": {"status": 17},
    "a status of no value set": {"status": "done"},
    "a day that does not exist": {"effectiveDateTime": "2025-02-30T10:00:00Z"},
    "an hour that does not exist": {"effectiveDateTime": "2025-02-20T25:00:00Z"},
    "a moment without a zone": {"effectiveDateTime": "2025-02-20T10:00:00.000"},
    "issued on no day": {"issued": "2025-13-01T10:00:00Z"},
    "two values": {"valueString": "x"},
    "a number as text": {"valueQuantity": MG | {"value": "95"}},
    "a blank unit": {"valueQuantity": MG | {"unit": ""}},
    "a code with blanks": {"valueQuantity": MG | {"code": " mg"}},
    "a system with blanks": {"valueQuantity": MG | {"system": "u c u m"}},
    "no components": {"component": []},
    "a component without a code": {"component": [{"valueQuantity": MG}]},
    "an empty code": {"code": {}},
    "a code of another type": {"code": {"coding": [{"code": 5}]}},
    "no categories": {"category": []},
    "an empty category": {"category": [{}]},
    "a category that is text": {"category": ["labs"]},
    "an empty tag": {"meta": {"tag": []}},
    "a performer without anything": {"performer": [{}]},
    "an empty encounter": {"encounter": {"reference": ""}},
    "an empty display": {"subject": SUBJECT | {"display": ""}},
    "NUL": {"valueQuantity": MG | {"unit": "m\0g"}},
    "null": {"note": None},
    "an unknown element": {"colour": "red"},
    "an extension of nothing": {"extension": [{"url": "http://e.example"}]},
    "an end before the beginning (per-1)": {"extension": [{"url": "http://e.example", "valuePeriod": BACKWARDS}]},
    "a value and why there is none (obs-6)": {"dataAbsentReason": {"text": "x"}},
    "a value of a component's (obs-7)": {"component": [{"code": observation(1)["code"], "valueQuantity": MG}]},
    "a code of no system (qty-3)": {"valueQuantity": {"value": 1, "code": "mg"}},
    "a reference to nothing contained (ref-1)": {"encounter": {"reference": "#e"}},
    "contained for nothing (dom-3)": {"contained": [{"resourceType": "Basic", "id": "b", "code": {"text": "x"}}]},
    "a bound of a range that is compared (sqty-1)": {"referenceRange": [{"low": {"value": 1, "comparator": "<"}}]},
    "script": {"text": SCRIPT},
    "script in what is contained": {"contained": [{"resourceType": "Device", "text": SCRIPT}]},
}


def bad(name: str) -> dict[str, Any]:
    return observation(1) | BAD[name]


def by_ndjson(_: TestClient, name: str) -> None:
    reader = NdjsonReader(("2345-7",))
    line = json.dumps(bad(name), separators=(",", ":")).encode()
    for _ in range(2):  # the second time from what it remembers
        with pytest.raises(BadInput):
            reader.read(line)


def by_create(web: TestClient, name: str) -> None:
    assert send(web, "POST", "/Observation", content=json.dumps(bad(name))).status_code == 400


def by_update(web: TestClient, name: str) -> None:
    assert send(web, "PUT", "/Observation/o1", content=json.dumps(bad(name))).status_code == 400


def by_transaction(web: TestClient, name: str) -> None:
    assert send(web, "POST", "", content=transaction(PATIENT, bad(name))).status_code == 400


def by_batch(web: TestClient, name: str) -> None:
    answer = send(web, "POST", "", content=transaction(bad(name), kind="batch")).json()
    assert answer["entry"][0]["response"]["status"].startswith("400")


HTTP_DOORS = (by_create, by_update, by_transaction, by_batch)


@pytest.mark.parametrize("name", BAD)
def test_a_line_is_checked_as_a_resource_is(web: TestClient, name: str) -> None:
    with pytest.raises(BadInput):
        validate(json.loads(json.dumps(bad(name))))
    by_ndjson(web, name)


@pytest.mark.parametrize("name", ["a status of another type", "NUL", "script in what is contained", "two values"])
@pytest.mark.parametrize("by", HTTP_DOORS, ids=lambda by: by.__name__)
def test_no_door_of_the_network_takes_it(
    web: TestClient, hospital: Hospital, by: Callable[[TestClient, str], None], name: str
) -> None:
    send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT))
    by(web, name)
    assert hospital.vault.locate("Observation/o1") is None


def test_bulk_import_names_each_bad_line_and_keeps_none(web: TestClient, hospital: Hospital) -> None:
    lines = [PATIENT, *(bad(name) | {"id": f"o{number}"} for number, name in enumerate(BAD))]
    found = manifest(web, begin(web, b"\n".join(json.dumps(one).encode() for one in lines)))
    assert (found["counts"]["created"], found["counts"]["refused"]) == (1, len(BAD))
    assert [one["line"] for one in found["error"]] == list(range(2, 2 + len(BAD)))
    assert all(one["outcome"]["issue"][0]["expression"] for one in found["error"])
    assert not any(hospital.vault.locate(f"Observation/o{number}") for number in range(len(BAD)))


def test_files_are_checked_as_requests_are(tmp_path: Path) -> None:
    for number, name in enumerate(BAD):
        (tmp_path / f"{number:02d}.json").write_bytes(transaction(PATIENT, bad(name)))
    refused: list[str] = []
    assert list(import_bundles([tmp_path], on_bad_file=lambda one: refused.append(str(one.error)))) == []
    assert len(refused) == len(BAD)
