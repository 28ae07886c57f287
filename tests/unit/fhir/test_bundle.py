from __future__ import annotations

import json
from typing import Any

import pytest

from twinward.fhir.bundle import ParsedBundle, read_bundle
from twinward.fhir.errors import InvalidResource
from twinward.fhir.patients import gather_directory, patient_imports
from twinward.twins.models import DIRECTORY

P1 = "urn:uuid:0454d86b-2620-5063-b614-b2ccf7593f6e"
P2 = "urn:uuid:1454d86b-2620-5063-b614-b2ccf7593f6e"


def bundle(*entries: dict[str, Any], kind: str = "transaction") -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()


def entry(resource: dict[str, Any], full_url: str = "", **request: str) -> dict[str, Any]:
    built: dict[str, Any] = {"resource": resource}
    if full_url:
        built["fullUrl"] = full_url
    if request:
        built["request"] = request
    return built


def read(*entries: dict[str, Any], kind: str = "transaction") -> ParsedBundle:
    return read_bundle(bundle(*entries, kind=kind))


def observation(subject: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "subject": {"reference": subject}, **more}


def test_references_are_resolved_and_ids_given_with_every_other_byte_kept() -> None:
    source = (
        b'{"resourceType":"Bundle","type":"transaction","entry":[\n'
        b'{"fullUrl":"' + P1.encode() + b'","resource":{ "resourceType" : "Patient" }},\n'
        b'{"resource":{"resourceType":"Observation","id":"o", "subject":{"reference" :\t"' + P1.encode() + b'"},\n'
        b'  "note":[{"text":"see \\"reference\\": \\"' + P1.encode() + b'\\""}],"v":1.10}}]}'
    )
    patient, observed = read_bundle(source).entries
    assert patient.reference == f"Patient/{P1[9:]}"
    assert patient.content == b'{"id":"' + P1[9:].encode() + b'", "resourceType" : "Patient" }'
    assert observed.content == (
        b'{"resourceType":"Observation","id":"o", "subject":{"reference" :\t"Patient/' + P1[9:].encode() + b'"},\n'
        b'  "note":[{"text":"see \\"reference\\": \\"' + P1.encode() + b'\\""}],"v":1.10}'
    )


def test_a_key_that_only_ends_like_reference_is_no_reference() -> None:
    url = "urn:uuid:0454d86b-2620-5063-b614-b2ccf7593f6e"
    odd = {"resourceType": "Basic", "id": "b", 'a"reference': url}
    parsed = read(entry({"resourceType": "Patient", "id": "p"}, url), entry(odd))
    assert json.loads(parsed.entries[1].content) == odd


def test_a_resource_without_a_name_is_named_after_its_bytes() -> None:
    one, same, other = (
        read_bundle(data).entries[0]
        for data in (b'{"resourceType":"Patient"}', b'\n{"resourceType":"Patient"} ', b'{"resourceType": "Patient"}')
    )
    assert one.reference == same.reference != other.reference
    assert one.content == b'{"id":"' + one.reference.partition("/")[2].encode() + b'","resourceType":"Patient"}'


def test_an_unknown_urn_stays_as_it_is() -> None:
    stranger = "urn:uuid:ffffffff-2620-5063-b614-b2ccf7593f6e"
    parsed = read(entry({"resourceType": "Patient", "id": "p", "link": [{"other": {"reference": stranger}}]}))
    assert stranger.encode() in parsed.entries[0].content


@pytest.mark.parametrize(
    ("entries", "path"),
    [
        ([{"fullUrl": P1}], "Bundle.entry[0].resource"),
        (["x"], "Bundle.entry[0].resource"),
        (
            [entry({"resourceType": "Patient"}), entry({"resourceType": "Nope"})],
            "Bundle.entry[1].resource.resourceType",
        ),
        (
            [entry({"resourceType": "Patient", "id": "p"}, method="DELETE", url="Patient/p")],
            "Bundle.entry[0].request.method",
        ),
        ([entry({"resourceType": "Patient", "id": "p"}, method="PUT", url="Patient/q")], "Bundle.entry[0].request.url"),
        ([entry({"resourceType": "Patient"}, method="POST", url="Person")], "Bundle.entry[0].request.url"),
        (
            [entry({"resourceType": "Patient"}, method="POST", url="Patient", ifNoneExist="name=x")],
            "Bundle.entry[0].request.ifNoneExist",
        ),
        (
            [entry({"resourceType": "Patient", "id": "p"}, method="PUT", url="Patient/p", ifMatch='W/"1"')],
            "Bundle.entry[0].request.ifMatch",
        ),
        ([entry({"resourceType": "Patient", "id": "p"})] * 2, "Bundle.entry[1].resource"),
        (
            [entry({"resourceType": "Patient", "id": "p"}, P1), entry({"resourceType": "Person", "id": "q"}, P1)],
            "Bundle.entry[1].fullUrl",
        ),
    ],
)
def test_what_would_be_ignored_or_guessed_is_refused(entries: list[Any], path: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        read(*entries)
    assert caught.value.issues[0].path == path


@pytest.mark.parametrize("kind", ["document", "message", "transaction-response", "", None, []])
def test_other_bundles_are_refused(kind: Any) -> None:
    with pytest.raises(InvalidResource) as caught:
        read(kind=kind)
    assert caught.value.issues[0].path == "Bundle.type"


def test_an_empty_bundle_is_nothing() -> None:
    assert patient_imports(read_bundle(b'{"resourceType":"Bundle","type":"collection"}')) == []


def test_resources_go_to_their_patient_and_shared_ones_to_the_directory() -> None:
    parsed = read(
        entry({"resourceType": "Patient", "id": "a", "gender": "female", "birthDate": "1980-02-29"}, P1),
        entry({"resourceType": "Patient", "id": "b"}, P2),
        entry(observation(P2, id="of-b")),
        entry(observation("Patient/a/_history/3", id="of-a")),
        entry(observation("Patient/elsewhere", id="of-c")),
        entry({"resourceType": "Coverage", "id": "cov", "beneficiary": {"reference": P1}}),
        entry({"resourceType": "Organization", "id": "org"}),
        entry({"resourceType": "Device", "id": "dev", "patient": {"reference": "Patient/b"}}),
        kind="collection",
    )
    imports = patient_imports(parsed, source="s")
    held = {one.reference: [record.reference for record in one.records] for one in imports}
    assert held == {
        DIRECTORY: [DIRECTORY, "Organization/org"],
        "Patient/a": ["Patient/a", "Observation/of-a", "Coverage/cov"],
        "Patient/b": ["Patient/b", "Observation/of-b", "Device/dev"],
        "Patient/elsewhere": ["Observation/of-c"],
    }
    assert imports[0].keep_existing
    person = next(one.person for one in imports if one.reference == "Patient/a")
    assert (str(person.birth_date), person.female) == ("1980-02-29", True)


def test_a_resource_of_nobody_needs_exactly_one_patient() -> None:
    nobodys = {"resourceType": "Provenance", "id": "prov"}
    alone = patient_imports(read(entry({"resourceType": "Patient", "id": "a"}), entry(nobodys)))
    assert [record.reference for record in alone[0].records] == ["Patient/a", "Provenance/prov"]
    for others in ([], [{"resourceType": "Patient", "id": "a"}, {"resourceType": "Patient", "id": "b"}]):
        with pytest.raises(InvalidResource, match="names no patient"):
            patient_imports(read(*[entry(one) for one in [*others, nobodys]]))


def test_the_directory_is_gathered_and_the_first_copy_stays() -> None:
    def of(patient: str, name: str) -> list[Any]:
        org = {"resourceType": "Organization", "id": "o", "name": name}
        return patient_imports(read(entry({"resourceType": "Patient", "id": patient}), entry(org)))

    gathered = list(gather_directory([*of("a", "first"), *of("b", "second")]))
    assert [one.reference for one in gathered] == ["Patient/a", "Patient/b", DIRECTORY]
    assert len(gathered[2].records) == 2
    assert b"first" in gathered[2].records[1].content
