"""Two clients that others wrote, unmodified, against the real service over TCP with a bearer token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.console.house import House, build
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


def test_each_request_of_a_client_is_an_access(house: House, base: str) -> None:
    server = _smart(base, house.tokens["clinician"])
    before = house.size()
    bundle = server.request_json("Patient?_count=1")
    assert house.size() == before + 1
    server.request_json(f"Patient/{bundle['entry'][0]['resource']['id']}")
    assert house.size() == before + 2
