"""Hostile bodies over HTTP: each is refused with an OperationOutcome that says where, and none is a server error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.web import FHIR, PATIENT, outcome, principal_of, send, without_server
from twinward.api.fhir import fhir_router

DEEP = 5000
BODIES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "not JSON": b"<Patient/>",
    "cut off": b'{"resourceType":"Patient"',
    "an array": b"[]",
    "a string": b'"Patient"',
    "null": b"null",
    "byte order mark": b'\xef\xbb\xbf{"resourceType":"Patient"}',
    "UTF-16": '{"resourceType":"Patient"}'.encode("utf-16"),
    "not UTF-8": b'{"resourceType":"Patient","gender":"\xff"}',
    "overlong UTF-8": b'{"resourceType":"Patient","gender":"\xc0\x80"}',
    "a surrogate": b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}',
    "a surrogate in bytes": b'{"resourceType":"Patient","name":[{"family":"\xed\xa0\x80"}]}',
    "a zero byte": b'{"resourceType":"Patient","name":[{"family":"\x00"}]}',
    "NaN": b'{"resourceType":"Patient","multipleBirthInteger":NaN}',
    "infinity": b'{"resourceType":"Patient","multipleBirthInteger":-Infinity}',
    "a huge exponent": b'{"resourceType":"Patient","multipleBirthInteger":1e999999999}',
    "a huge number": b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 100_000 + b"}",
    "a key twice": b'{"resourceType":"Patient","gender":"male","gender":"female"}',
    "a key twice within": b'{"resourceType":"Patient","name":[{"family":"a","family":"b"}]}',
    "deep arrays": b'{"resourceType":"Patient","name":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"resourceType":"Patient","a":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "more after it": b'{"resourceType":"Patient"}{}',
    "a comment": b'{"resourceType":"Patient"/* */}',
    "another type": b'{"resourceType":"Observation"}',
    "no type": b"{}",
    "a type that is none": b'{"resourceType":"Patient\\u0000"}',
    "a type that is a list": b'{"resourceType":["Patient"]}',
    "too large": b'{"resourceType":"Patient","name":[{"family":"' + b"x" * (17 * 1024 * 1024) + b'"}]}',
}
PATHS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown element": ({"nonsense": 1}, "Patient.nonsense"),
    "a string for a boolean": ({"active": "true"}, "Patient.active"),
    "an object for an array": ({"name": {"family": "x"}}, "Patient.name"),
    "a wrong date": ({"birthDate": "1970-13-01"}, "Patient.birthDate"),
    "a nested fault": (
        {"contact": [{"name": {"text": "x"}}, {"name": {"given": [1]}}]},
        "Patient.contact[1].name.given[0]",
    ),
    "a wrong id": ({"id": "a b"}, "Patient.id"),
    "a contained fault": ({"contained": [{"resourceType": "Nonsense"}]}, "Patient.contained[0].resourceType"),
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One for all: a refusal keeps nothing."""
    house = Hospital(tmp_path_factory.mktemp("hostile"))
    app = FastAPI()
    app.include_router(fhir_router(house.fhir, principal_of))
    yield TestClient(app, raise_server_exceptions=False)
    house.close()


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(("method", "path"), [("POST", "/Patient"), ("PUT", "/Patient/p"), ("POST", "")])
def test_a_body_that_is_no_resource_is_refused(web: TestClient, name: str, method: str, path: str) -> None:
    answer = send(web, method, path, content=BODIES[name])
    assert answer.status_code in (400, 413), answer.text[:300]
    outcome(answer)


@pytest.mark.parametrize("name", PATHS)
def test_a_refusal_names_the_path_and_not_the_value(web: TestClient, name: str) -> None:
    change, path = PATHS[name]
    answer = send(web, "PUT", "/Patient/p", content=json.dumps(PATIENT | change))
    assert answer.status_code == 400
    assert outcome(answer)["expression"][0].startswith(path)
    entry = {"resource": PATIENT | change, "request": {"method": "POST", "url": "Patient"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = send(web, "POST", "", content=json.dumps(bundle))
    assert answer.status_code == 400
    assert outcome(answer)["expression"][0].startswith(path.replace("Patient.", "Bundle.entry[0].resource.", 1))


@pytest.mark.slow
def test_naughty_strings_come_back_or_are_refused(web: TestClient, shared_data: Path) -> None:
    naughty = json.loads((shared_data / "naughty-strings" / "blns.json").read_text(encoding="utf-8"))
    kept = 0
    for text in naughty:
        body = json.dumps(PATIENT | {"name": [{"family": text}]}, ensure_ascii=False).encode()
        answer = send(web, "PUT", "/Patient/p", content=body)
        if answer.status_code in (200, 201):
            kept += 1
            assert without_server(send(web, "GET", "/Patient/p").json()) == json.loads(body)
        else:
            assert answer.status_code == 400, text
            outcome(answer)
        asked = {"params": {"name": text, "_id": "p"}, "headers": {"authorization": "Bearer clinician"}}
        assert web.get("/fhir/Patient", **asked).status_code in (200, 400)
    assert kept > 400


@pytest.mark.parametrize(
    "media_type",
    [
        *("text/plain", "application/xml", "application/fhir+xml", "", "multipart/form-data", "json", "application/"),
        *("application/fhir+json; charset=iso-8859-1", "application/json;charset=utf-16", 'text/json; charset="utf-8"'),
        *(
            "application/fhir+json; fhirVersion=3.0",
            "application/fhir+json, application/json",
            "application/fhir+json;=",
        ),
    ],
)
def test_other_media_types_are_refused(web: TestClient, media_type: str) -> None:
    answer = send(web, "POST", "/Patient", content=json.dumps(PATIENT), headers={"content-type": media_type})
    assert (answer.status_code, outcome(answer)["code"]) == (415, "not-supported")
    assert answer.headers["accept"] == "application/fhir+json, application/json"


@pytest.mark.parametrize(
    "media_type", [FHIR, "application/json", "application/fhir+json; charset=UTF-8; fhirVersion=4.0"]
)
def test_both_media_types_are_taken(web: TestClient, media_type: str) -> None:
    answer = send(web, "POST", "/Patient", content=json.dumps(PATIENT), headers={"content-type": media_type})
    assert answer.status_code == 201


def test_a_body_in_chunks_is_bounded_like_any_other(web: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"resourceType":"Patient","name":[{"family":"'
        for _ in range(20):
            yield b"x" * 1024 * 1024
        yield b'"}]}'

    answer = send(web, "POST", "/Patient", content=chunks())
    assert answer.status_code in (400, 413)
    outcome(answer)
