"""What came by the live pipe among a patient's FHIR Observations: searched, paged, sorted, read by id, withheld."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import OFFICER, House
from tests.integration.live.test_over_http import ask, house, line, send, web
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.core.clock import iso
from twinward.core.vocabulary import Category, Purpose, Role, TwinId
from twinward.live.storage.series import WINDOW_MS, SeriesSealer

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
            patched.setattr(f"twinward.fhir.search.live.{name}", bound)
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


def patient_of(web: TestClient, house: House, twin: TwinId) -> str:
    patients = web.get("/fhir/Patient?_count=100", headers=ask(house)).json()["entry"]
    names = [f"Patient/{one['resource']['id']}" for one in patients]
    return next(one for one in names if house.node.twins.find(one) == twin)


def everything(web: TestClient, house: House, patient: str, query: str = "") -> list[list[dict[str, Any]]]:
    """Every page."""
    pages, address = [], f"/fhir/{patient}/$everything?{query}"
    while address:
        answer = web.get(address, headers=ask(house))
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        pages.append([one["resource"] for one in bundle.get("entry", []) if one["search"]["mode"] == "match"])
        following = next((one["url"] for one in bundle["link"] if one["relation"] == "next"), "")
        address = re.sub(r"^https?://[^/]+", "", following)
    return pages


def exported(web: TestClient, house: House, query: str) -> list[dict[str, Any]]:
    """What was measured, of an export."""
    headers = ask(house, "officer", **{"x-purpose": "compliance"})
    asked = web.get(f"/fhir/$export?{query}", headers=headers | {"prefer": "respond-async"})
    assert asked.status_code == 202, asked.text
    address = re.sub(r"^https?://[^/]+", "", asked.headers["content-location"])
    while (told := web.get(address, headers=headers)).status_code == 202:
        time.sleep(0.02)
    for one in told.json()["output"]:
        if one["type"] == "Observation":
            file = web.get(re.sub(r"^https?://[^/]+", "", one["url"]), headers=headers)
            return measured([json.loads(raw) for raw in file.content.splitlines()])
    return []


def test_hours_before_since_are_not_opened(web: TestClient, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = patient_of(web, house, house.twins[0])
    now_ms, opened, opens = house.node.clock.now_ms(), list[int](), SeriesSealer.open
    times = [now_ms - hours * WINDOW_MS for hours in (30, 29, 28, 27)]
    for number, time_ms in enumerate(times):
        one = line(house, 300 + number, 90 + number, code=SPO2, unit="%", subject=patient)
        one["time"] = iso(time_ms)
        del one["device"]
        assert "quarantined" not in send(web, house, one, source="monitor-3").text

    def seen(self: SeriesSealer, keys: Any, row: Any) -> Any:
        opened.append(row.window_ms)
        return opens(self, keys, row)

    monkeypatch.setattr(SeriesSealer, "open", seen)
    whole = {one["id"] for one in measured(everything(web, house, patient, "_type=Observation")[0])}
    hours = list(opened)
    assert len(hours) >= len(times)
    for since_ms in (times[2], now_ms + WINDOW_MS, now_ms + 75 * 365 * 24 * WINDOW_MS):
        opened.clear()
        query = f"_type=Observation&_since={iso(since_ms).replace('+', '%2B')}"
        later = {one["id"] for one in measured(everything(web, house, patient, query)[0])}
        assert later < whole
        assert bool(later) is (since_ms < now_ms)
        assert opened == [one for one in hours if one + WINDOW_MS > since_ms], "those that ended before are not opened"


def test_everything_and_exports_hold_what_was_measured_once(web: TestClient, house: House) -> None:
    twin = house.twins[1]
    patient = patient_of(web, house, twin)
    now_ms = house.node.clock.now_ms()
    lines = []
    for number in range(9):  # no raster: an Observation each, over three hours
        lines.append(line(house, 100 + number, 4 + number / 10, code=POTASSIUM, unit="mmol/L", subject=patient))
        lines[-1]["time"] = iso(now_ms - 10_000_000 + number * number * 100_000)
        del lines[-1]["device"]
    assert "quarantined" not in send(web, house, *lines, source="lab-2").text
    whole = everything(web, house, patient)
    assert len(whole) == 1
    assert whole[0][0]["resourceType"] == "Patient"
    assert len(measured(whole[0])) == 9
    for count in (1, 4, 200):
        pages = everything(web, house, patient, f"_count={count}")
        assert [one["id"] for page in pages for one in page] == [one["id"] for one in whole[0]], "paged, in one order"
        assert all(len(page) <= count for page in pages)
    for text in ("1f" + "-" * 35, "1f1" + "-" * 34, "1f1f" + "0" * 33):
        assert web.get(f"/fhir/{patient}/$everything?_cursor={text}", headers=ask(house)).status_code == 400
    for place in ("f" + "-" * 35, "f1" + "-" * 34):
        cursor = base64.urlsafe_b64encode(f"{twin}/{place}".encode()).decode()
        forged = web.get(f"/fhir/Observation?patient={patient}&_cursor={cursor}", headers=ask(house))
        assert forged.status_code == 400
    counted = web.get(f"/fhir/{patient}/$everything?_summary=count", headers=ask(house)).json()
    assert counted["total"] == len(whole[0])
    (some,) = everything(web, house, patient, f"_type=Observation&start={lines[7]['time'][:19]}Z")
    assert len(measured(some)) == 2
    assert not measured(everything(web, house, patient, "_type=Condition")[0])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("twinward.fhir.rest.everything.MOST_MEASURED", 4)
        pages = everything(web, house, patient)
    assert [len(measured(page)) for page in pages] == [4, 4, 1], (
        "what is not asked in pages comes in pages all the same"
    )

    out = [one for one in exported(web, house, "_type=Observation") if one["subject"] == {"reference": patient}]
    assert sorted(one["id"] for one in out) == sorted(one["id"] for one in measured(whole[0]))
    assert len(exported(web, house, "_type=Observation&_since=1900-01-01")) >= len(out)
    since = iso(house.node.clock.now_ms() + 1).replace("+", "%2B")
    assert exported(web, house, f"_type=Observation&_since={since}") == []
    house.node.live.closing.run(now=True)  # stored anew: it comes again, whole
    assert len(exported(web, house, f"_type=Observation&_since={iso(now_ms).replace('+', '%2B')}")) >= 9

    across, told = found(web, house, "code=2823-3")
    assert not measured(across)
    assert any("where the patient is named" in one for one in told), "nobody takes it for all there is"

    said = Provision(effect="deny", roles=(Role.CLINICIAN, Role.OFFICER), categories=(Category.LABS,))
    house.node.access.set_consents(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), [(twin, (said,))])
    assert not measured([one for page in everything(web, house, patient) for one in page])
    assert not [one for one in exported(web, house, "_type=Observation") if one["subject"] == {"reference": patient}]
