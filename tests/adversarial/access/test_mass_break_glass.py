"""One clinician sweeps everybody's psychiatry under ETREAT: by every route, against a served node."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.console.fixtures import House, build
from twinward.demo.serving import served
from twinward.node.background import FollowUps

WHY = "unconscious, overdose suspected"
LIMIT = 5


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = build(tmp_path_factory.mktemp("sweep") / "home", patients=9)
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def url(house: House) -> Iterator[str]:
    with served(house.node) as base, FollowUps(house.node.follow_up.do, 0.1) as follow_ups:
        house.node.emergencies.on_begin = follow_ups.wake
        yield base


def as_(house: House, url: str, name: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {house.tokens[name]}"}, timeout=20)


@pytest.mark.parametrize("why", ["..........", "aaaaaaaaaaaa", "help help help", "1234567890", "😱" * 10, " " * 12, ""])
def test_what_is_no_sentence_opens_nothing_and_says_what_is_missing(house: House, url: str, why: str) -> None:
    with as_(house, url, "clinician") as web:
        for twin in house.twins:
            asked = {"category": "psychiatry", "purpose": "ETREAT", "justification": why}
            answer = web.get(f"/api/1/twins/{twin}/records", params=asked)
            assert answer.status_code == 403
            assert "what happened" in answer.json()["error"]["message"]


def test_a_sweep_stops_at_the_limit_by_every_route_and_the_officers_know(house: House, url: str) -> None:
    glass = {"X-Purpose-Of-Use": "ETREAT", "X-Justification": WHY}
    ways = (
        "/api/1/twins/{}/records?category=psychiatry&category=genomics",
        "/api/1/twins/{}",
        "/api/1/twins/{}/features",
        "/api/1/twins/{}/features/bmi",
    )
    opened, refused = set(), set()
    with as_(house, url, "clinician") as web:
        for way in ways:
            for twin in house.twins:
                answer = web.get(way.format(twin), headers=glass)
                if answer.status_code == 429:
                    refused.add(twin)
                    assert answer.json()["error"]["kind"] == "TooManyEmergencies"
                elif answer.status_code == 200:
                    opened.add(twin)
        everybody = web.get("/api/1/twins?option=size(40)&fields=features", headers=glass)
        assert everybody.status_code == 403  # an emergency is one patient's, never a search
        for patient in ("Patient?_count=50", "Condition?_count=50"):
            assert web.get(f"/fhir/{patient}", headers=glass).status_code == 403
    assert (len(opened), opened & refused) == (LIMIT, set())
    with as_(house, url, "officer") as web:
        said = web.get("/api/1/emergencies").json()["emergencies"]
        assert {one["twin"] for one in said if one["state"] == "open"} == opened
        deadline = time.monotonic() + 30
        while not all(one["declared"] for one in said):
            assert time.monotonic() < deadline, "the contract was never told"
            time.sleep(0.05)
            said = web.get("/api/1/emergencies").json()["emergencies"]
        denied = web.get("/api/1/audit/events?action=read&decision=deny&limit=500").json()["events"]
        assert {
            one["twin"] for one in denied if one["purpose"] == "ETREAT" and "emergencies" in one["reason"]
        } == refused


def test_an_emergency_is_ended_over_http_by_its_own_clinician_and_reviewed_by_an_officer(
    house: House, url: str
) -> None:
    with as_(house, url, "officer") as officer, as_(house, url, "clinician") as clinician:
        one = officer.get("/api/1/emergencies?unreviewed=true").json()["emergencies"][0]
        path = f"/api/1/emergencies/{one['emergency']}"
        assert officer.post(f"{path}/stop").status_code == 403
        assert clinician.post(f"{path}/stop").json()["state"] == "ended"
        assert clinician.post(f"{path}/stop").status_code == 409
        review = {"justified": True, "note": "confirmed by the ward"}
        assert clinician.post(f"{path}/review", json=review).status_code == 403
        assert officer.post(f"{path}/review", json=review | {"note": "..."}).status_code == 400
        assert officer.post(f"{path}/review", json=review).json()["finding"] == "justified"
        assert officer.post(f"{path}/review", json=review).status_code == 409
