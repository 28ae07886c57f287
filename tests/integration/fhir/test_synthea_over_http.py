"""All 27 Synthea patients over HTTP: in by transaction; out by read, by ``$everything`` and by ``$export``.

What comes out is compared as the source's tree, decimals as the digits they were written with, references resolved by
an independent route. Psychiatric records are read with the glass broken and exported by the patient's consent.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.fhir.hospital import Hospital
from tests.integration.fhir.test_fhir_export import begin, manifest
from tests.integration.fhir.web import send, without_server
from twinward.access.consent import Provision
from twinward.core.vocabulary import Category, Purpose
from twinward.fhir.resource_types import SHARED_TYPES

pytestmark = pytest.mark.slow

EMERGENCY = {"x-purpose-of-use": "ETREAT", "x-justification": "test of every record"}
ALLOWED = Provision(effect="permit", purposes=(Purpose.RECORD_MANAGEMENT,), categories=tuple(Category))


def exact(text: bytes) -> Any:
    """The tree, each number as the text it was written with: 1.10 is not 1.1."""
    return json.loads(text, parse_float=lambda digits: ("decimal", digits), parse_int=lambda digits: ("int", digits))


def resolved(tree: Any, names: dict[str, str]) -> Any:
    if isinstance(tree, dict):
        return {
            key: names.get(value, value) if key == "reference" and isinstance(value, str) else resolved(value, names)
            for key, value in tree.items()
        }
    return [resolved(one, names) for one in tree] if isinstance(tree, list) else tree


def meaning_of(data: bytes, locations: list[str]) -> dict[str, Any]:
    """What every resource of a bundle means under the name it was given, by that Type/id."""
    entries = exact(data)["entry"]
    names = {one["fullUrl"]: name for one, name in zip(entries, locations, strict=True)}
    return {
        names[one["fullUrl"]]: resolved(one["resource"], names) | {"id": names[one["fullUrl"]].partition("/")[2]}
        for one in entries
    }


def test_every_bundle_comes_out_as_it_went_in(web: TestClient, hospital: Hospital, shared_data: Path) -> None:
    files = sorted((shared_data / "synthea-r4").glob("*.json.gz"))
    assert len(files) == 27
    sources: dict[str, Any] = {}
    for path in files:
        data = gzip.decompress(path.read_bytes())
        answer = send(web, "POST", "", "system", content=data)
        assert answer.status_code == 200, (path.name, answer.text[:500])
        meant = meaning_of(data, [one["response"]["location"].split("/_history")[0] for one in answer.json()["entry"]])
        assert meant.keys().isdisjoint(sources)  # every POST creates
        sources |= meant
        patient = next(reference for reference in meant if reference.startswith("Patient/"))
        everything = send(web, "GET", f"/{patient}/$everything", headers=EMERGENCY)
        assert everything.status_code == 200
        entries = exact(everything.content)["entry"]
        shown = {one["fullUrl"].partition("/fhir/")[2]: without_server(one["resource"]) for one in entries}
        assert shown == {
            reference: tree for reference, tree in meant.items() if reference.partition("/")[0] not in SHARED_TYPES
        }
        hospital.consent(hospital.twins.find(patient), ALLOWED)
    assert len(sources) == 5308
    read_one_by_one(web, sources)
    exported(web, sources)


def read_one_by_one(web: TestClient, sources: dict[str, Any]) -> None:
    for reference, tree in sources.items():
        answer = send(web, "GET", f"/{reference}", headers=EMERGENCY)
        assert (answer.status_code, without_server(exact(answer.content))) == (200, tree), reference


def exported(web: TestClient, sources: dict[str, Any]) -> None:
    address = begin(web)
    found: dict[str, Any] = {}
    for one in manifest(web, address)["output"]:
        answer = send(web, "GET", f"{address}/{one['type']}.ndjson", "officer")
        assert answer.status_code == 200
        for line in answer.content.splitlines():
            tree = without_server(exact(line))
            found[f"{tree['resourceType']}/{tree['id']}"] = tree
    assert found == sources
