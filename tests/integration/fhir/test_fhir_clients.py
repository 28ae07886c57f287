"""Three clients that others wrote, unmodified, against the real service over TCP with a bearer token."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.console.fixtures import House, build
from tests.tools import ROOT, require
from twinward.demo.serving import served

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:fhirclient"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:fhirpy"),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("clients") / "home")
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def base(house: House) -> Iterator[str]:
    with served(house.node) as url:
        yield f"{url}/fhir"


def test_fhirpy_reads_searches_creates_updates_and_deletes(house: House, base: str) -> None:
    import fhirpy

    client = fhirpy.SyncFHIRClient(base, authorization=f"Bearer {house.tokens['clinician']}")
    patients = client.resources("Patient").limit(2).fetch_all()
    assert len(patients) == len({one.id for one in patients}) == len(house.twins)
    assert len(client.resources("Patient").limit(2).fetch()) == 2
    patient = patients[0]
    assert client.reference("Patient", patient.id).to_resource().serialize() == patient.serialize()

    observations = client.resources("Observation").search(patient=patient.id)
    vitals = observations.search(category="vital-signs").limit(3).fetch_all()
    every = observations.fetch_all()
    assert 0 < len(vitals) < len(every)
    assert all(one.subject.reference == f"Patient/{patient.id}" for one in every)

    made = client.resource(
        "Observation",
        status="final",
        code={"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        subject={"reference": f"Patient/{patient.id}"},
        valueQuantity={"value": 61, "unit": "/min"},
    )
    made.save()
    assert made.id
    made["valueQuantity"]["value"] = 62
    made.save()
    kept = client.get("Observation", made.id)
    assert kept["valueQuantity"]["value"] == 62
    assert (
        len(client.resources("Observation").search(patient=patient.id, code="8867-4").search(_id=made.id).fetch()) == 1
    )
    made.delete()
    with pytest.raises(fhirpy.base.exceptions.ResourceNotFound):
        client.get("Observation", made.id)
    history = client.execute(f"Observation/{made.id}/_history", method="get")
    assert [one["request"]["method"] for one in history["entry"]] == ["DELETE", "PUT", "PUT"]

    with pytest.raises(fhirpy.base.exceptions.OperationOutcome):
        client.resources("Observation").search(nonsense="1").fetch()
    stranger = fhirpy.SyncFHIRClient(base, authorization="Bearer nonsense")
    with pytest.raises(fhirpy.base.exceptions.AuthorizationError):
        stranger.resources("Patient").fetch()
    vendor = fhirpy.SyncFHIRClient(base, authorization=f"Bearer {house.tokens['vendor']}")
    with pytest.raises(fhirpy.base.exceptions.ForbiddenError):
        vendor.resources("Patient").fetch()


def test_fhirpy_sorts_counts_includes_and_creates_once(house: House, base: str) -> None:
    import fhirpy

    client = fhirpy.SyncFHIRClient(base, authorization=f"Bearer {house.tokens['clinician']}")
    patient = client.resources("Patient").limit(1).fetch()[0]
    observations = client.resources("Observation").search(patient=patient.id)
    assert observations.count() == len(observations.fetch_all())
    newest = observations.sort("-date").limit(1).fetch()[0]
    assert newest.effectiveDateTime == max(one.effectiveDateTime for one in observations.fetch_all())
    bundle = observations.include("Observation", "subject").limit(1).fetch_raw()
    assert [one.resource.resource_type for one in bundle.entry if one.search["mode"] == "include"] == ["Patient"]
    part = observations.elements("code").limit(1).fetch()[0]
    assert "valueQuantity" not in part

    everybody = client.resources("Observation")
    assert everybody.count() == len(everybody.fetch_all())
    of_all = everybody.sort("-date").limit(7).fetch()
    assert [one.effectiveDateTime for one in of_all] == sorted((one.effectiveDateTime for one in of_all), reverse=True)
    family = patient.name[0].family
    chained = everybody.search(**{"subject:Patient.family": family}).fetch_all()
    assert {one.subject.reference for one in chained} >= {f"Patient/{patient.id}"}
    with_weight = client.resources("Patient").has("Observation", "patient", code="29463-7")
    assert with_weight.count() == len(with_weight.fetch_all()) > 0

    reading = client.resource(
        "Observation",
        status="final",
        identifier=[{"system": "urn:ward", "value": "once"}],
        code={"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        subject={"reference": f"Patient/{patient.id}"},
    )
    once = client.resources("Observation").search(identifier="urn:ward|once")
    first, created = once.get_or_create(reading)
    again, created_again = once.get_or_create(reading)
    assert (bool(created), bool(created_again), first.id) == (True, False, again.id)
    reading["status"] = "amended"
    updated, _ = once.update(reading)
    assert (updated.id, updated.status) == (first.id, "amended")
    updated.delete()


def test_fhirpy_reads_versions_and_sends_bundles(house: House, base: str) -> None:
    import fhirpy

    client = fhirpy.SyncFHIRClient(base, authorization=f"Bearer {house.tokens['clinician']}")
    patient = client.resources("Patient").limit(1).fetch()[0]
    reading = {
        "resourceType": "Observation",
        "status": "preliminary",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
        "subject": {"reference": f"Patient/{patient.id}"},
    }
    post = {"method": "POST", "url": "Observation"}
    placeholder = "urn:uuid:5b0bff0a-1d1f-4a47-9d5c-0f3cf5a0f002"
    entries = [
        {"fullUrl": placeholder, "resource": reading, "request": post},
        {"resource": reading | {"hasMember": [{"reference": placeholder}]}, "request": post},
    ]
    answer = client.execute("", method="post", data={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    first, second = (one["response"]["location"].partition("/_history")[0] for one in answer["entry"])
    panel = client.reference(reference=second).to_resource()
    assert panel["hasMember"][0]["reference"] == first

    name = first.partition("/")[2]
    client.resource("Observation", **(reading | {"id": name, "status": "final"})).save()
    versions = [client.execute(f"{first}/_history/{number}", method="get")["status"] for number in (1, 2)]
    assert versions == ["preliminary", "final"]
    history = client.execute(f"{first}/_history", method="get")
    assert [one["resource"]["meta"]["versionId"] for one in history["entry"]] == ["2", "1"]
    everything = client.execute(f"Patient/{patient.id}/$everything", method="get")
    assert {name, second.partition("/")[2]} <= {one["resource"].get("id") for one in everything["entry"]}

    entries = [{"request": {"method": "GET", "url": url}} for url in (first, "Observation/nothing-of-this-name")]
    answer = client.execute("", method="post", data={"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert [one["response"]["status"][:3] for one in answer["entry"]] == ["200", "404"]
    backwards = client.resource("Observation", **reading, effectivePeriod={"start": "2024-01-02", "end": "2024-01-01"})
    with pytest.raises(fhirpy.base.exceptions.OperationOutcome, match="per-1"):
        backwards.save()


class _Bearer:
    """What fhirclient asks of an authorisation: to add the header of a token that is there already."""

    ready = True
    auth_type = "bearer"

    def __init__(self, token: str) -> None:
        self._token = token

    def can_sign_headers(self) -> bool:
        return True

    def signed_headers(self, headers: dict[str, str] | None) -> dict[str, str]:
        return (headers or {}) | {"Authorization": f"Bearer {self._token}"}


def _smart(base: str, token: str) -> Any:
    from fhirclient import server as server_module

    server = server_module.FHIRServer(None, base_uri=base)
    assert server.capabilityStatement.fhirVersion == "4.0.1"
    server.auth = _Bearer(token)
    return server


def test_fhirclient_reads_searches_creates_updates_and_deletes(house: House, base: str) -> None:
    server = _smart(base, house.tokens["clinician"])
    from fhirclient.models.condition import Condition
    from fhirclient.models.observation import Observation
    from fhirclient.models.patient import Patient

    patients = list(Patient.where({"_count": "2"}).perform_resources_iter(server))
    assert len({one.id for one in patients}) == len(house.twins)
    patient = Patient.read(patients[0].id, server)
    assert patient.as_json() == patients[0].as_json()
    found = list(Observation.where({"patient": patient.id, "_count": "5"}).perform_resources_iter(server))
    observations = [one for one in found if one.resource_type == "Observation"]
    assert len(observations) > 5
    assert {one.subject.reference for one in observations} == {f"Patient/{patient.id}"}

    condition = Condition(
        {
            "subject": {"reference": f"Patient/{patient.id}"},
            "code": {"coding": [{"system": "http://snomed.info/sct", "code": "38341003"}]},
        }
    )
    answer = condition.create(server)
    kept = Condition.read(answer["id"], server)
    assert kept.code.coding[0].code == "38341003"
    kept.code.text = "Hypertension"
    assert kept.update(server)["code"]["text"] == "Hypertension"
    assert Condition.read(answer["id"], server).code.text == "Hypertension"
    assert kept.delete(server) is None
    with pytest.raises(Exception, match="410"):
        Condition.read(answer["id"], server)


def test_fhirclient_reads_what_others_wrote_as_its_models(house: House, base: str) -> None:
    """A capability statement, a history, a batch and everything of a patient, each as the library's own classes."""
    server = _smart(base, house.tokens["clinician"])
    from fhirclient.models.bundle import Bundle
    from fhirclient.models.operationoutcome import OperationOutcome
    from fhirclient.models.patient import Patient

    served = {one.type for one in server.capabilityStatement.rest[0].resource}
    assert {"Patient", "Observation", "Condition"} <= served
    patient = next(iter(Patient.where({"_count": "1"}).perform_resources_iter(server)))
    for path, kind in (
        (f"Patient/{patient.id}/$everything", "searchset"),
        (f"Patient/{patient.id}/_history", "history"),
    ):
        bundle = Bundle(server.request_json(path))
        assert (bundle.type, bundle.entry[0].resource.as_json()) == (kind, patient.as_json())
    version = Patient(server.request_json(f"Patient/{patient.id}/_history/{patient.meta.versionId}"))
    assert version.as_json() == patient.as_json()
    batch = Bundle({"type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/nobody-of-this-name"}}]})
    answer = Bundle(server.post_json("", batch.as_json()).json())
    assert answer.entry[0].response.status.startswith("404")
    assert isinstance(answer.entry[0].response.outcome, OperationOutcome)


def test_each_request_of_a_client_is_an_access(house: House, base: str) -> None:
    server = _smart(base, house.tokens["clinician"])
    before = house.size()
    bundle = server.request_json("Patient?_count=1")
    assert house.size() == before + 1
    server.request_json(f"Patient/{bundle['entry'][0]['resource']['id']}")
    assert house.size() == before + 2


STEPS = [
    *("capabilities", "search", "read", "create", "update", "patch", "compartment", "operation"),
    *("delete", "batch", "transaction", "strangers"),
]


@pytest.mark.slow
def test_a_javascript_client_walks_the_node(house: House, base: str) -> None:
    """fhir-kit-client does all it can do; ``walk.mjs`` asserts each answer, and names what held."""
    walk = ROOT / "tests" / "clients" / "javascript" / "walk.mjs"
    node = require("node", install="apt-get install nodejs")
    require("fhir-kit-client", install="npm ci in tests/clients/javascript", beside=walk.parent / "node_modules")
    told = {"BASE": base, "TOKEN": house.tokens["clinician"], "STRANGER": house.tokens["vendor"]}
    done = subprocess.run(
        [node, str(walk)], env=os.environ | told, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == STEPS
