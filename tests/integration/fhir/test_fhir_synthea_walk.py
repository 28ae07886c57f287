"""Every real Synthea bundle goes in and comes out, byte for byte."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.bundles import read_bundle
from tests.integration.fhir.hospital import CLINICIAN, SYSTEM, Hospital
from tests.integration.fhir.web import without_server
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import DERIVED_FROM, Again, Category, Purpose
from twinward.fhir.bulk.bundle_files import import_bundles
from twinward.fhir.mapping.ids import Origin, id_from
from twinward.twins.errors import AlreadyImported
from twinward.twins.models import DIRECTORY


class _Entry(msgspec.Struct, rename={"full_url": "fullUrl"}):
    full_url: str
    resource: msgspec.Raw


class _Bundle(msgspec.Struct):
    entry: list[_Entry]


def _exact(text: bytes) -> Any:
    return json.loads(text, parse_float=Decimal)


def _sources(folder: Path) -> dict[str, bytes]:
    """Type/id -> the source's bytes with its ids and urn:uuid references rewritten, found by an independent route."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.json.gz")):
        data = gzip.decompress(path.read_bytes())
        bundle = msgspec.json.decode(data, type=_Bundle)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        ids = [id_from(digest, f"Bundle.entry[{index}]") for index in range(len(bundle.entry))]
        types = [json.loads(bytes(one.resource))["resourceType"] for one in bundle.entry]
        names = {one.full_url: f"{kind}/{new}" for one, kind, new in zip(bundle.entry, types, ids, strict=True)}
        for one in bundle.entry:
            new = names[one.full_url].partition("/")[2]
            text = bytes(one.resource).decode().replace(f'"id": "{one.full_url[9:]}"', f'"id": "{new}"', 1)
            for url in set(re.findall(r'"reference": "(urn:uuid:[^"]*)"', text)):
                text = text.replace(f'"reference": "{url}"', f'"reference": "{names.get(url, url)}"')
            found.setdefault(names[one.full_url], text.encode())
    return found


@pytest.mark.slow
def test_every_synthea_resource_comes_back_byte_for_byte(hospital: Hospital, shared_data: Path) -> None:
    folder = shared_data / "synthea-r4"
    receipts = hospital.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), import_bundles([folder]))
    sources = _sources(folder)
    assert len(receipts) == 28  # 27 patients and the directory
    assert len(sources) == 5308  # every POST creates, also where a second bundle brings the same practitioner
    opened: dict[str, bytes] = {}
    recorded = set(Category) - DERIVED_FROM.keys()
    for receipt in receipts:
        # Break the glass: psychiatric records need consent otherwise.
        for record in hospital.twins.read(
            AccessContext(CLINICIAN, Purpose.EMERGENCY, "test of every record"), receipt.twin, recorded
        ):
            opened[record.references[0]] = record.content
    missing = sources.keys() - opened.keys()
    assert not missing
    for reference, content in sources.items():
        assert opened[reference] == content, reference
    extra = {reference.partition("/")[0] for reference in opened.keys() - sources.keys()}
    assert extra == {DIRECTORY.partition("/")[0]}


def test_importing_again_must_say_what_it_means_even_after_a_restart(hospital: Hospital, shared_data: Path) -> None:
    files = sorted((shared_data / "synthea-r4").glob("*.json.gz"))[:3]
    first = hospital.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), import_bundles(files))
    rows, events = hospital.store.count(), len(hospital.trail.events)
    reopened = hospital.reopen()
    with pytest.raises(AlreadyImported):
        reopened.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), import_bundles(files))
    again = reopened.twins.ingest_all(
        AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), import_bundles(files, origin=Origin(again=Again.SKIP))
    )
    assert [receipt.twin for receipt in again] == [receipt.twin for receipt in first]
    assert all(not receipt.created and receipt.count("unchanged") == len(receipt.stored) for receipt in again)
    assert reopened.store.count() == rows
    assert len(reopened.trail.events) == 0  # a fresh trail object: nothing was decided, nothing opened
    assert events == len(first)


def test_decimals_keep_their_digits_and_meaning_is_unchanged(shared_data: Path) -> None:
    path = min((shared_data / "synthea-r4").glob("*.json.gz"))
    data = gzip.decompress(path.read_bytes())
    bundle = read_bundle(data)
    originals = [one["resource"] for one in _exact(data)["entry"]]
    for entry, original in zip(bundle.entries, originals, strict=True):
        assert _digits(_exact(entry.content) | {"id": original["id"]}) == _digits(original)
        assert re.findall(rb"[-0-9.eE+]*\.[0-9]+", entry.content) == re.findall(
            rb"[-0-9.eE+]*\.[0-9]+", _raw_of(data, entry.path)
        )


def _raw_of(data: bytes, path: str) -> bytes:
    index = int(re.findall(r"\d+", path)[0])
    return bytes(msgspec.json.decode(data, type=_Bundle).entry[index].resource)


def _digits(value: Any) -> Any:
    """The tree with decimals as text (1.10 is not 1.1) and references left out."""
    if isinstance(value, dict):
        return {key: _digits(inner) for key, inner in value.items() if key != "reference"}
    if isinstance(value, list):
        return [_digits(inner) for inner in value]
    return str(value) if isinstance(value, Decimal) else value


def _digits_of(resource: dict[str, Any]) -> str:
    """A resource as text that has every digit, without what its ``meta`` says of version and time."""
    return json.dumps(without_server(resource), default=str, sort_keys=True)


def test_no_plaintext_reaches_any_file(hospital: Hospital, shared_data: Path) -> None:
    path = min((shared_data / "synthea-r4").glob("*.json.gz"), key=lambda one: one.stat().st_size)
    hospital.twins.ingest_all(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), import_bundles([path]))
    patient = next(e for e in read_bundle(gzip.decompress(path.read_bytes())).entries if e.resource_type == "Patient")
    secrets = [patient.body["id"], patient.body["name"][0]["family"], "resourceType", "8302-2"]
    files = [file for file in hospital.folder.rglob("*") if file.is_file()]
    assert len(files) >= 3
    for file in files:
        content = file.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, file.name


@pytest.mark.parametrize("justification", ["", "cardiac arrest on ward 3"])
def test_everything_withholds_psychiatry_unless_the_glass_is_broken(
    hospital: Hospital, shared_data: Path, justification: str
) -> None:
    folder = shared_data / "synthea-r4"
    source = next(
        one for one in import_bundles([folder]) if any(record.category is Category.PSYCHIATRY for record in one.records)
    )
    hospital.twins.ingest(AccessContext(SYSTEM, Purpose.RECORD_MANAGEMENT), source)
    purpose = Purpose.EMERGENCY if justification else Purpose.TREATMENT
    body = hospital.fhir.everything(
        AccessContext(CLINICIAN, purpose, justification), source.reference.partition("/")[2], base="http://h"
    )
    bundle = _exact(body)
    hidden = sum(record.category is Category.PSYCHIATRY for record in source.records)
    assert hidden > 0
    assert bundle["total"] == len(source.records) - (0 if justification else hidden)
    assert bundle["entry"][0]["resource"]["resourceType"] == "Patient"
    last = bundle["entry"][-1]
    assert (last["search"]["mode"] == "outcome") == (not justification)
    if not justification:
        assert "psychiatry" in last["resource"]["issue"][0]["diagnostics"]
    seen = {_digits_of(one["resource"]) for one in bundle["entry"]}
    for record in source.records:
        is_seen = bool(justification) or record.category is not Category.PSYCHIATRY
        assert (_digits_of(_exact(record.content)) in seen) == is_seen
