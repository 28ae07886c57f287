from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bundles import read_bundle
from twinward.core.vocabulary import Again
from twinward.fhir.errors import InvalidResource
from twinward.fhir.mapping.bundle import ParsedBundle
from twinward.fhir.mapping.ids import Origin
from twinward.fhir.mapping.records import gather_directory, patient_imports
from twinward.twins.models import DIRECTORY, IfKept

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


COVERAGE = {"resourceType": "Coverage", "status": "active", "payor": [{"display": "x"}]}


def read(*entries: dict[str, Any], kind: str = "transaction") -> ParsedBundle:
    return read_bundle(bundle(*entries, kind=kind))


def observation(subject: str, **more: Any) -> dict[str, Any]:
    fixed = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    return fixed | {"subject": {"reference": subject}, **more}


def test_references_are_resolved_and_ids_given_with_every_other_byte_kept() -> None:
    source = (
        b'{"resourceType":"Bundle","type":"transaction","entry":[\n'
        b'{"fullUrl":"' + P1.encode() + b'","resource":{ "resourceType" : "Patient" }},\n'
        b'{"resource":{"resourceType":"Observation","id":"o", "subject":{"reference" :\t"' + P1.encode() + b'"},\n'
        b'  "note":[{"text":"see \\"reference\\": \\"' + P1.encode() + b'\\""}],'
        b'"status":"final", "code":{"text":"x"},"valueQuantity":{"value":1.10}}}]}'
    )
    patient, observed = read_bundle(source).entries
    given = patient.reference.removeprefix("Patient/")
    assert given not in P1
    assert patient.content == b'{"id":"' + given.encode() + b'", "resourceType" : "Patient" }'
    assert observed.content == (
        b'{"resourceType":"Observation","id":"o", "subject":{"reference" :\t"Patient/' + given.encode() + b'"},\n'
        b'  "note":[{"text":"see \\"reference\\": \\"' + P1.encode() + b'\\""}],'
        b'"status":"final", "code":{"text":"x"},"valueQuantity":{"value":1.10}}'
    )


def test_equal_bytes_are_not_the_same_resource() -> None:
    nameless = entry({"resourceType": "Patient"})
    first, second = read(nameless, nameless).entries
    assert first.reference != second.reference
    assert first.content == b'{"id":"' + first.reference[8:].encode() + b'","resourceType": "Patient"}'


def test_the_same_file_is_known_again_and_what_becomes_of_it_must_be_said() -> None:
    sent = bundle(entry({"resourceType": "Patient", "id": "x"}, P1, method="POST", url="Patient"))
    once, again = read_bundle(sent).entries[0], read_bundle(sent).entries[0]
    assert (once.reference, once.if_kept) == (again.reference, IfKept.REFUSE)
    assert json.loads(once.content)["id"] == once.reference[8:] != "x"
    assert read_bundle(sent + b" ").entries[0].reference != once.reference
    named = [read_bundle(one, Origin("ehr", Again.UPDATE)).entries[0] for one in (sent, sent + b" ")]
    assert named[0].reference == named[1].reference != once.reference
    assert named[0].if_kept is IfKept.UPDATE
    new = [read_bundle(sent, Origin("ehr", Again.NEW)).entries[0].reference for _ in range(2)]
    assert len({*new, once.reference, named[0].reference}) == 4


def test_another_servers_resource_is_not_the_one_with_its_id_here() -> None:
    there = "https://b.example/fhir"
    parsed = read(
        entry({"resourceType": "Patient", "id": "1"}, f"{there}/Patient/1"),
        entry(observation("Patient/1", id="a"), f"{there}/Observation/a"),
        entry(observation(f"{there}/Patient/1/_history/4", id="b"), f"{there}/Observation/b"),
        entry(observation("Patient/2", id="c", performer=[{"reference": "Practitioner/9"}]), f"{there}/Observation/c"),
        kind="searchset",
    )
    patient, *observed = parsed.entries
    assert patient.reference != "Patient/1"
    owners = [json.loads(one.content)["subject"]["reference"] for one in observed]
    assert owners[:2] == [patient.reference] * 2
    assert owners[2] not in {"Patient/2", patient.reference}
    assert json.loads(observed[2].content)["performer"][0]["reference"] == f"{there}/Practitioner/9"


@pytest.mark.parametrize("full_url", ["Patient/p", "p", "", "#p", "http://e.example/Patient/p/_history/1", 7])
def test_a_full_url_is_absolute_and_of_no_version(full_url: Any) -> None:
    with pytest.raises(InvalidResource) as caught:
        read({"fullUrl": full_url, "resource": {"resourceType": "Patient", "id": "p"}})
    assert caught.value.issues[0].path == "Bundle.entry[0].fullUrl"


def test_a_full_url_and_its_resource_name_the_same() -> None:
    for wrong in ("Patient/q", "Person/p"):
        with pytest.raises(InvalidResource, match="two different things"):
            read(entry({"resourceType": "Patient", "id": "p"}, f"https://e.example/fhir/{wrong}"))


def test_links_of_every_kind_are_rewritten_and_nothing_else() -> None:
    document = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "subject": {"reference": P1.upper().replace("URN:UUID", "urn:uuid")},
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": P1}],
        "description": P1,
        "text": {"status": "generated", "div": f"<div><a href='{P1}'>{P1}</a><img src = \"{P2}\"/></div>"},
        "content": [{"attachment": {"url": P1, "title": P1}}],
        "extension": [
            {"url": "http://e.example", "valueUri": P1},
            {"url": "http://e.example", "valueOid": "urn:oid:1.2.3"},
            {"url": "http://e.example", "valueUuid": P2},
            {"url": "http://e.example", "valueString": P1},
        ],
        "meta": {"profile": ["http://e.example", P1]},
    }
    parsed = read(
        entry({"resourceType": "Patient", "id": "p"}, P1),
        entry(
            {
                "resourceType": "Binary",
                "id": "b",
                "contentType": "text/plain",
                "securityContext": {"reference": "Patient/p"},
            },
            "urn:oid:1.2.3",
        ),
        entry({"resourceType": "Organization", "id": "o", "name": "O"}, P2),
        entry(document),
    )
    kept = json.loads(parsed.entries[3].content)
    assert kept["subject"]["reference"] == kept["content"][0]["attachment"]["url"] == "Patient/p"
    assert kept["meta"]["profile"] == ["http://e.example", "Patient/p"]
    assert [one.popitem()[1] for one in kept["extension"]] == ["Patient/p", "Binary/b", "Organization/o", P1]
    assert kept["text"]["div"] == f"<div><a href='Patient/p'>{P1}</a><img src = \"Organization/o\"/></div>"
    assert (kept["identifier"][0]["value"], kept["description"], kept["content"][0]["attachment"]["title"]) == (P1,) * 3


def test_a_placeholder_is_recognised_however_json_writes_it() -> None:
    sent = bundle(entry({"resourceType": "Patient", "id": "p"}, P1), entry(observation(P1, id="o")))
    escaped = sent.replace(b'"reference": "urn:', b'"reference": "\\u0075rn\\u003a')
    assert escaped != sent
    assert json.loads(read_bundle(escaped).entries[1].content)["subject"]["reference"] == "Patient/p"


def test_an_unknown_urn_stays_as_it_is() -> None:
    stranger = "urn:uuid:ffffffff-2620-5063-b614-b2ccf7593f6e"
    parsed = read(
        entry({"resourceType": "Patient", "id": "p", "link": [{"type": "seealso", "other": {"reference": stranger}}]})
    )
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
        ([entry({"resourceType": "Patient"}, method=["POST"], url="Patient")], "Bundle.entry[0].request.method"),
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
        entry(COVERAGE | {"id": "cov", "beneficiary": {"reference": P1}}),
        entry({"resourceType": "Organization", "id": "org", "name": "O"}),
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
    assert imports[0].records[1].if_kept is IfKept.SKIP
    person = next(one.person for one in imports if one.reference == "Patient/a")
    assert (str(person.birth_date), person.female) == ("1980-02-29", True)


def test_a_resource_of_nobody_needs_exactly_one_patient() -> None:
    nobodys: dict[str, Any] = {"resourceType": "Provenance", "id": "prov", "recorded": "2024-01-01T00:00:00Z"}
    nobodys |= {"target": [{"reference": "#"}], "agent": [{"who": {"display": "x"}}]}
    alone = patient_imports(read(entry({"resourceType": "Patient", "id": "a"}), entry(nobodys)))
    assert [record.reference for record in alone[0].records] == ["Patient/a", "Provenance/prov"]
    for others in ([], [{"resourceType": "Patient", "id": "a"}, {"resourceType": "Patient", "id": "b"}]):
        with pytest.raises(InvalidResource, match="names no patient"):
            patient_imports(read(*[entry(one) for one in [*others, nobodys]]))


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "urn:uuid:ffffffff-2620-5063-b614-b2ccf7593f6e"},
        {"reference": "https://other.example/fhir/Patient/a"},
        {"reference": "#a"},
        {"identifier": {"system": "http://m.example", "value": "somebody else"}},
        {"display": "Anna"},
        {"type": "Patient"},
        {},
    ],
)
def test_a_subject_that_names_nobody_here_is_not_the_only_patient(subject: dict[str, Any]) -> None:
    patient = entry({"resourceType": "Patient", "id": "a"})
    whose: dict[str, Any] = {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}}
    whose |= {"performer": [{"reference": "Patient/a"}]}
    with pytest.raises(InvalidResource) as caught:
        patient_imports(read(patient, entry(whose | {"subject": subject})))
    assert caught.value.issues[0].path == "Bundle.entry[1].resource.subject"
    lone = COVERAGE | {"id": "c", "beneficiary": subject}
    with pytest.raises(InvalidResource):
        patient_imports(read(patient, entry(lone)))
    absent = patient_imports(read(patient, entry(whose)))
    assert [record.reference for record in absent[0].records] == ["Patient/a", "Observation/o"]


def test_a_record_of_two_patients_is_refused() -> None:
    both: dict[str, Any] = {"resourceType": "Account", "id": "c", "status": "active"}
    both |= {"subject": [{"reference": "Patient/a"}, {"reference": "Patient/b"}]}
    with pytest.raises(InvalidResource, match="two patients"):
        patient_imports(read(entry(both)))


def test_a_reference_to_either_of_two_entries_is_refused() -> None:
    anna, berta = (entry({"resourceType": "Patient", "id": "x"}, method="POST", url="Patient") for _ in range(2))
    assert len({one.reference for one in read(anna, berta).entries}) == 2
    with pytest.raises(InvalidResource, match="either of two"):
        read(anna, berta, entry(observation("Patient/x", id="o")))


def test_the_directory_is_gathered_and_the_first_copy_stays() -> None:
    def of(patient: str, name: str) -> list[Any]:
        org = {"resourceType": "Organization", "id": "o", "name": name}
        return patient_imports(read(entry({"resourceType": "Patient", "id": patient}), entry(org)))

    gathered = list(gather_directory([*of("a", "first"), *of("b", "second")]))
    assert [one.reference for one in gathered] == ["Patient/a", "Patient/b", DIRECTORY]
    assert len(gathered[2].records) == 2
    assert b"first" in gathered[2].records[1].content


def test_a_history_that_tells_of_a_deletion_is_refused_and_says_what_to_do() -> None:
    kept = entry({"resourceType": "Patient", "id": "a"}, method="PUT", url="Patient/a")
    gone = {"request": {"method": "DELETE", "url": "Patient/a"}, "response": {"status": "204"}}
    with pytest.raises(InvalidResource, match=r"Bundle\.entry\[1\]: .*tells of a deletion") as refusal:
        read(kept, gone, kind="history")
    assert "send DELETE" in refusal.value.hint
    with pytest.raises(InvalidResource, match="carries a resource"):
        read(kept, {"resource": 7}, kind="history")
    with pytest.raises(InvalidResource, match="asks for nothing else"):
        read(kept, entry({"resourceType": "Binary", "contentType": "x/y"}, method="PATCH", url="Patient/a"))
