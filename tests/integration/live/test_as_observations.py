"""What came by the live pipe among a patient's FHIR Observations: searched, paged, sorted, read by id, withheld."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import OFFICER, House
from tests.integration.live.test_over_http import ask, house, line, send, web
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.core.clock import iso
from twinward.core.vocabulary import Category, Purpose, Role, TwinId

__all__ = ["house", "web"]
SPO2, POTASSIUM = "59408-5", "2823-3"


def found(web: TestClient, house: House, query: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Every resource of a search, page after page, and what it says beside them."""
    resources, said, address = [], [], f"/fhir/Observation?{query}"
    while address:
        answer = web.get(address, headers=ask(house))
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        for entry in bundle.get("entry", []):
            if entry["search"]["mode"] == "match":
                assert entry["fullUrl"].endswith(f"/Observation/{entry['resource']['id']}")
                resources.append(entry["resource"])
            else:
                said.append(str(entry["resource"]))
        following = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), "")
        address = re.sub(r"^https?://[^/]+", "", following)
    return resources, said


def measured(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in resources if one["id"].startswith("live-")]


def test_readings_are_among_a_patients_observations(web: TestClient, house: House) -> None:
    twin = house.twins[0]
    patients = web.get("/fhir/Patient?_count=100", headers=ask(house)).json()["entry"]
    names = [f"Patient/{one['resource']['id']}" for one in patients]
    patient = next(one for one in names if house.node.twins.find(one) == twin)
    before, _ = found(web, house, f"patient={patient}&category=vital-signs")
    now_ms = house.node.clock.now_ms()
    lines = [line(house, 10 + at, 90 + at, code=SPO2, unit="%", subject=patient) for at in range(4)]
    for at, one in enumerate(lines):
        del one["device"]
        one["time"] = iso(now_ms - 3_600_000 + at * 1000)
    single = line(house, 20, 4.2, code=POTASSIUM, unit="mmol/L", subject=patient)
    del single["device"]
    assert "quarantined" not in send(web, house, *lines, single, source="lab").text
    size = house.size()
    vitals, _ = found(web, house, f"patient={patient}&category=vital-signs&_count=200")
    assert {one["id"] for one in before} <= {one["id"] for one in vitals}
    live = measured(vitals)
    assert [one["code"]["coding"][0]["code"] for one in live] == [SPO2] * len(live)
    told = [one["valueSampledData"]["data"] for one in live if "valueSampledData" in one]
    assert told == ["90 91 92 93"] or len(live) > 1  # the raster may be cut by the hour
    assert {one["subject"]["reference"] for one in live} == {patient}
    assert house.size() == size + 2  # the records, and what was measured
    (lab,) = measured(found(web, house, f"subject={patient}&code={POTASSIUM}&_sort=-date")[0])
    assert lab["valueQuantity"]["value"] == 4.2
    every, _ = found(web, house, f"patient={patient}&_count=7")
    assert len({one["id"] for one in every}) == len(every)
    assert {one["id"] for one in measured(every)} == {one["id"] for one in (*live, lab)}
    ordered, _ = found(web, house, f"patient={patient}&_count=7&_sort=-date")
    assert sorted(one["id"] for one in ordered) == sorted(one["id"] for one in every)
    counted = web.get(f"/fhir/Observation?patient={patient}&_summary=count", headers=ask(house)).json()
    assert counted["total"] == len(every)
    _bounded(web, house, patient, len(live) + 1, len(every))
    read = web.get(f"/fhir/Observation/{lab['id']}", headers=ask(house))
    assert read.status_code == 200
    assert read.json()["subject"] == {"reference": patient}
    for wrong in (
        lab["id"][:-1] + ("0" if lab["id"][-1] != "0" else "1"),
        f"live-{'0' * 32}-f{'0' * 25}",
        f"live-{'0' * 32}-fa{'0' * 24}",
        "live-x",
    ):
        assert web.get(f"/fhir/Observation/{wrong}", headers=ask(house)).status_code == 404
    assert web.get(f"/fhir/Observation/{lab['id']}", headers=ask(house, "vendor")).status_code == 403
    _withheld(web, house, twin, patient, lab["id"])


def _bounded(web: TestClient, house: House, patient: str, measured_now: int, every: int) -> None:
    assert every > measured_now
    for name, bound, status in (
        ("MOST_MEASURED", measured_now, 200),  # what is kept as records does not count
        ("MOST_MEASURED", measured_now - 1, 400),
        ("MOST_MEASURED_BYTES", 100, 400),
    ):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(f"twinward.fhir.search.service.{name}", bound)
            asked = web.get(f"/fhir/Observation?patient={patient}&_sort=-date", headers=ask(house))
        assert asked.status_code == status, asked.text


def _withheld(web: TestClient, house: House, twin: TwinId, patient: str, lab: str) -> None:
    said = Provision(effect="deny", roles=(Role.CLINICIAN,), categories=(Category.LABS,))
    house.node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (said,))])
    resources, told = found(web, house, f"patient={patient}&_count=200")
    assert lab not in {one["id"] for one in resources}
    assert measured(resources)
    assert any("labs" in one for one in told)
    assert web.get(f"/fhir/Observation/{lab}", headers=ask(house)).status_code == 403
