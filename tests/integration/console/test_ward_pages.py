"""Pages of live twins: who sees what of whom, what each look leaves in the log, and what their forms do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import httpx
import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import NIGHT_PASSWORD, OFFICER, PASSWORD, House
from tests.integration.console.test_languages_and_clocks import left_in_english
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext, Principal
from twinward.audit.models import AccessEvent, Filters
from twinward.console.plots import over_time
from twinward.core.clock import FixedClock, iso
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.live.intake.lines import read_lines
from twinward.overview.log import permit_to_examine
from twinward.overview.own_record import own_bundle
from twinward.vault.interfaces import Record

GATEWAY = AccessContext(Principal("icu-gateway", Role.SYSTEM), Purpose.RECORD_MANAGEMENT)
BY_OFFICER = AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT)
UNITS = {"8867-4": "/min", "59408-5": "%", "9279-1": "/min", "3151-8": "L/min", "2823-3": "mmol/L"}
WELL = {"8867-4": 72, "59408-5": 97, "9279-1": 15, "3151-8": 2.5}
ILL = WELL | {"59408-5": 84, "9279-1": 31}
STAFF = {"officer": PASSWORD, "nurse": NIGHT_PASSWORD, "olive": PASSWORD}


class Ward:
    """The console's house with monitors; one browser."""

    number = 0

    def __init__(self, house: House, clock: FixedClock, web: TestClient) -> None:
        self.house, self.clock, self.web = house, clock, web
        self.live = house.node.live
        for bed, twin in enumerate(house.twins[:2], 1):
            if all(one.line.current is None for one in self.live.devices(GATEWAY) if one.device == f"bed-{bed}"):
                self.live.assign(GATEWAY, f"bed-{bed}", twin)
        clock.advance(600_001)  # what an earlier test watched is over

    def measure(self, device: str, values: Mapping[str, float], quality: str = "good") -> None:
        lines = []
        for code, value in values.items():
            Ward.number += 1
            reading = {
                "seq": Ward.number,
                "device": device,
                "code": code,
                "value": value,
                "unit": UNITS[code],
                "quality": quality,
            }
            lines.append(json.dumps(reading | {"time": iso(self.clock.now_ms())}).encode())
        self.live.intake.take(GATEWAY, "gw-1", read_lines(b"\n".join(lines)))

    def sign_in(self, account: str) -> None:
        form = {"account": account, "password": STAFF[account], "csrf": csrf_of(self.web.get("/console/sign-in"))}
        assert self.web.post("/console/sign-in", data=form).status_code == 303

    def post(self, path: str, of: str, **form: str) -> httpx.Response:
        return self.web.post(path, data={"csrf": csrf_of(self.web.get(of))} | form)

    def told(self, twin: TwinId, word: str) -> list[AccessEvent]:
        """What the log says of a patient, of one kind of live access."""
        permit = permit_to_examine(self.house.node.access, AccessContext(OFFICER, Purpose.COMPLIANCE), "test", twin)
        rows = self.house.node.audit_reader.of_twin(permit, twin, before=None, limit=200, filters=Filters()).rows
        return [one.event for one in rows if one.event is not None and ("live", word) in one.event.detail]


@pytest.fixture
def ward(console_house: House, clock: FixedClock, web: TestClient) -> Iterator[Ward]:
    made = Ward(console_house, clock, web)
    made.measure("bed-1", WELL)
    made.measure("bed-2", WELL)
    yield made
    console_house.node.access.set_consents(BY_OFFICER, [(one, ()) for one in console_house.twins[:2]])


def csrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def deny(ward: Ward, twin: TwinId, *categories: Category) -> None:
    said = Provision(effect="deny", roles=(Role.CLINICIAN,), categories=categories)
    ward.house.node.access.set_consents(BY_OFFICER, [(twin, (said,))])


def words(page: httpx.Response) -> str:
    assert page.status_code == 200, page.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))


PAGES = {"/console/ward": "nurse", "/console/alerts": "nurse", "/console/quarantine": "olive"}


@pytest.mark.parametrize("account", STAFF)
def test_each_page_is_shown_to_its_people_and_leads_to_no_others(ward: Ward, account: str) -> None:
    ward.sign_in(account)
    own = {path for path, whose in PAGES.items() if whose == account}
    own |= {"/console/devices", "/console/things"} if account != "officer" else set()
    for path in (*PAGES, "/console/devices", "/console/things", f"/console/ward/{ward.house.twins[0]}"):
        answer = ward.web.get(path)
        shown = path in own or path == "/console/things" or (account == "nurse" and path.startswith("/console/ward/"))
        assert answer.status_code == (200 if shown else 403), path
        if shown:
            nav = re.findall(r'href="(/console/[a-z]+)"', answer.text.split("</nav>")[0].split("<nav")[1])
            assert account == "officer" or set(nav) == own
    for path in ("/console/accesses", "/console/accounts", "/console/my"):
        assert (ward.web.get(path).status_code == 403) == (account != "officer" or path == "/console/my")
    begins = ward.web.get("/console")
    assert begins.headers.get("location", "") == {"nurse": "/console/ward", "olive": "/console/devices"}.get(
        account, ""
    )


def test_a_ward_shows_who_is_ill_first_and_is_one_access_of_each_for_ten_minutes(ward: Ward) -> None:
    ill, well = ward.house.twins[1], ward.house.twins[0]
    ward.measure("bed-2", ILL)
    ward.sign_in("nurse")
    before = {twin: len(ward.told(twin, "ward")) for twin in (ill, well)}
    page = ward.web.get("/console/ward")
    assert page.text.index(f"/console/ward/{ill}") < page.text.index(f"/console/ward/{well}")
    assert "no-store" in page.headers["cache-control"]
    said = words(page)
    assert "NEWS2 ≥ 8" in said  # 3 for breathing, 3 for oxygen in the blood, 2 for oxygen given
    assert "Oxygen saturation 84 %" in said
    assert "Heart rate 72 /min" in said
    assert "spo2-low" in said
    for _ in range(3):
        ward.clock.advance(15_000)
        ward.web.get("/console/ward")
    assert {twin: len(ward.told(twin, "ward")) - before[twin] for twin in (ill, well)} == {ill: 1, well: 1}
    told = ward.told(ill, "ward")[0]
    assert (told.agent, told.purpose) == ("nurse", Purpose.TREATMENT)
    assert set(told.categories) >= {"vitals", "labs", "monitoring", "demographics"}
    ward.clock.advance(600_000)
    assert "Last reading 10 minutes ago" in words(ward.web.get("/console/ward"))
    assert len(ward.told(ill, "ward")) - before[ill] == 2
    only = ward.web.get("/console/ward?devices=bed-1").text
    assert well in only
    assert ill not in only


def test_what_consent_withholds_is_named_and_not_shown_from_the_next_refresh_on(ward: Ward) -> None:
    twin = ward.house.twins[0]
    ward.measure("bed-1", {"2823-3": 6.7, "3151-8": 2.5})
    ward.sign_in("nurse")
    whole = words(ward.web.get(f"/console/ward/{twin}"))
    assert "Potassium 6.7 mmol/L" in whole
    assert "potassium-high" in whole
    assert "Withheld from you" not in whole
    deny(ward, twin, Category.LABS)
    part = words(ward.web.get(f"/console/ward/{twin}"))
    assert "6.7" not in part
    assert "potassium-high" not in part  # an alert says what was measured
    # Monitoring holds vitals and laboratory values: a no to one is a no to it.
    assert "by policy or consent: Inhaled oxygen flow, Inspired oxygen, Urine output, Lactate, Glucose, Potas" in part
    assert "counted as 0: Systolic pressure, Temperature, Glasgow coma score, Supplemental oxygen" in part
    assert "Heart rate 72 /min" in part
    assert "potassium-high" not in ward.web.get("/console/alerts").text
    assert "withheld from you" in words(ward.web.get("/console/ward"))
    deny(ward, twin)
    assert ward.web.get(f"/console/ward/{twin}").status_code == 403
    ward_page = ward.web.get("/console/ward")
    assert twin not in ward_page.text
    assert "1 patient with a device is not shown" in words(ward_page)
    devices = ward.web.get("/console/devices")
    assert twin not in devices.text
    assert "bed-1 withheld from you" in words(devices)


def test_a_patients_page_draws_what_was_measured_and_says_it_in_words_and_a_table(ward: Ward) -> None:
    twin = ward.house.twins[0]
    for value in (70, 80, 90):
        ward.measure("bed-1", {"8867-4": value})
        ward.clock.advance(60_000)
    ward.measure("bed-1", {"8867-4": 201}, "artefact")
    ward.sign_in("nurse")
    page = ward.web.get(f"/console/ward/{twin}?hours=1")
    assert 'Heart rate <span class="now">90 /min</span>' in page.text, "an artefact is no patient's value"
    assert ">201<" not in page.text
    assert not hasattr(over_time, "cache_info"), "no curve outlives its permit, nor its patient's erasure"
    assert 'role="img" aria-label="Heart rate over 1 hours: from' in page.text
    assert re.search(r'<path d="M [^"]+ L [^"]+"[^>]*class="stroke-line"', page.text.replace("\n", " "))  # a line
    assert "style=" not in page.text  # the content policy allows none
    assert re.search(r"<td class=\"num\">[\d.]+</td><td class=\"num\">70</td><td class=\"num\">90</td>", page.text)
    assert "bed-1" in page.text
    assert ward.web.get(f"/console/ward/{twin}?hours=999").status_code == 400
    assert ward.web.get("/console/ward/0198a1b2-0000-7000-8000-000000000000").status_code in (403, 404)
    assert len(ward.told(twin, "patient")) >= 1


def test_an_alert_is_seen_or_silenced_once_and_red_where_nobody_came(ward: Ward) -> None:
    twin = ward.house.twins[1]
    ward.measure("bed-2", WELL | {"59408-5": 97})
    ward.clock.advance(700_000)
    ward.measure("bed-2", ILL)
    ward.clock.advance(301_000)
    ward.live.watch.tick()
    ward.sign_in("nurse")
    page = ward.web.get("/console/alerts")
    assert "escalated" in words(page)
    assert 'class="card escalated"' in page.text
    caring = AccessContext(Principal("nurse", Role.CLINICIAN), Purpose.TREATMENT)
    raised = [one for one in ward.live.ward.alerts(caring).alerts if one.rule == "spo2-low"]
    alert = max(raised, key=lambda one: one.raised_ms).id
    silence, seen = f"/console/alerts/{alert}/silence", f"/console/alerts/{alert}/acknowledge"
    assert ward.web.post(seen, data={"csrf": "wrong"}).status_code == 403
    assert ward.post(silence, "/console/alerts", minutes="30", reason="x").status_code == 400
    assert (
        ward.post(silence, "/console/alerts", minutes="481", reason="Sonde wird gerade gewechselt").status_code == 400
    )
    done = ward.post(silence, "/console/alerts", minutes="30", reason="Sonde wird gerade gewechselt")
    assert done.headers["location"] == "/console/alerts"
    assert "silenced by nurse" in words(ward.web.get("/console/alerts"))
    assert ward.post(seen, "/console/alerts", then="//elsewhere.example").status_code == 400
    back = ward.post(seen, "/console/alerts", then=twin)
    assert back.headers["location"] == f"/console/ward/{twin}#alerts"
    assert "seen by nurse" in words(ward.web.get("/console/alerts"))
    assert ward.post(seen, "/console/alerts").status_code == 409
    assert [one.agent for one in ward.told(twin, "alert-acknowledged")][:1] == ["nurse"]


def test_quarantine_says_why_and_how_much_shows_no_value_and_replays_what_can_be_placed(ward: Ward) -> None:
    twin = ward.house.twins[2]
    ward.measure("pump-9", {"8867-4": 61.25, "59408-5": 93.75})
    ward.sign_in("olive")
    page = ward.web.get("/console/quarantine")
    said = words(page)
    assert "gw-1 of icu-gateway" in said
    assert "a device that was with nobody when it measured" in said
    assert "61.25" not in page.text
    assert "93.75" not in page.text
    ward.clock.advance(1000)
    since = iso(ward.clock.now_ms() - 60_000)[:16]
    assigned = ward.post("/console/devices/assign", "/console/devices", device="pump-9", twin=twin, begins=since)
    assert assigned.status_code == 303
    form = {"source": "gw-1", "account": "icu-gateway", "reason": "not-assigned"}
    replayed = ward.post("/console/quarantine/replay", "/console/quarantine", **form)
    assert replayed.headers["location"] == "/console/quarantine?placed=2&stayed=0"
    assert "2 readings were placed" in words(ward.web.get(replayed.headers["location"]))
    assert ward.web.post("/console/quarantine/replay", data={"csrf": "wrong"}).status_code == 403
    devices = words(ward.web.get("/console/devices"))
    assert "gw-1 of icu-gateway" in devices
    assert "said olive" in devices
    again = ward.post("/console/devices/assign", "/console/devices", device="pump-9", twin=twin)
    assert again.status_code == 409
    nobody = "0198a1b2-0000-7000-8000-000000000000"
    assert ward.post("/console/devices/assign", "/console/devices", device="x", twin=nobody).status_code == 404
    released = ward.post("/console/devices/release", "/console/devices", device="pump-9")
    assert released.status_code == 303
    assert ward.post("/console/devices/release", "/console/devices", device="pump-9").status_code == 404
    assert [one.agent for one in ward.told(twin, "released")] == ["olive"]


def test_a_patient_takes_along_what_was_measured_as_far_as_the_record_may_be(ward: Ward) -> None:
    def measured() -> list[tuple[str, float]]:
        found = [one["resource"] for one in json.loads(own_bundle(ward.house.node, own, twin))["entry"]]
        live = [one for one in found if one.get("id", "").startswith("live-")]
        patient = next(one["id"] for one in found if one["resourceType"] == "Patient")
        assert {one["subject"]["reference"] for one in live} <= {f"Patient/{patient}"}
        singles = [one for one in live if "valueQuantity" in one]
        return [(one["code"]["text"], one["valueQuantity"]["value"]) for one in singles]

    twin = ward.house.twins[0]
    own = AccessContext(Principal("ann", Role.PATIENT, own_twin=twin), Purpose.PATIENT_REQUEST)
    ward.measure("bed-1", {"2823-3": 4.25})
    assert ("Potassium", 4.25) in measured()
    assert ("Oxygen saturation", 97) in measured() or len(measured()) > 1
    recording = Record(twin, "Recording", Category.MONITORING, b"1 2 3")
    permit = ward.house.node.access.decide(GATEWAY.request(Action.WRITE, twin, {Category.MONITORING}))
    ward.house.node.vault.write(permit, [recording])
    assert "1 recordings of monitors are not in this file" in own_bundle(ward.house.node, own, twin).decode()
    said = Provision(effect="deny", roles=(Role.PATIENT,), categories=(Category.LABS,))
    ward.house.node.access.set_consents(BY_OFFICER, [(twin, (said,))])
    assert "Potassium" not in dict(measured())


def test_a_clock_that_is_ahead_is_shown_and_every_page_is_in_german(ward: Ward) -> None:
    ahead = AccessContext(Principal("night-gateway", Role.SYSTEM), Purpose.RECORD_MANAGEMENT)
    reading = {"seq": 1, "device": "bed-1", "code": "8867-4", "value": 70, "unit": "/min"}
    line = json.dumps(reading | {"time": iso(ward.clock.now_ms() + 90_000)}).encode()
    ward.live.intake.take(ahead, "gw-2", read_lines(line))
    ward.measure("pump-8", {"8867-4": 61})
    ward.measure("bed-2", ILL)
    ward.sign_in("olive")
    assert "90.0 s ahead" in words(ward.web.get("/console/devices"))
    ward.web.headers["accept-language"] = "de"
    assert "90,0 s voraus" in words(ward.web.get("/console/devices"))
    pages = {path: ward.web.get(path) for path in ("/console/devices", "/console/quarantine")}
    ward.sign_in("nurse")
    for path in ("/console/ward", "/console/alerts", f"/console/ward/{ward.house.twins[1]}", "/console/devices"):
        pages[f"nurse {path}"] = ward.web.get(path)
    assert {path: left_in_english(page) for path, page in pages.items() if left_in_english(page)} == {}
