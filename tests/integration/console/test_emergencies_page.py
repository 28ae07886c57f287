"""Broken glass in the console: Home says so at once, an overdue review is red, and an officer reviews in a form."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from tests.integration.console.fixtures import CLINICIAN, House
from tests.integration.console.test_console import sign_in
from twinward.access.interfaces import AccessRequest
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Category, Purpose

PAGE = "/console/emergencies"
WHY = 'seizure, <script>alert("x")</script> in the corridor'
HOUR_MS = 3_600_000


def break_glass(house: House) -> None:
    labs = frozenset({Category.PSYCHIATRY})
    house.node.access.decide(AccessRequest(CLINICIAN, Action.READ, Purpose.EMERGENCY, house.twins[1], labs, WHY))


def csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


def light(page: str) -> str | None:
    found = re.search(r'class="card light (\w+)" id="emergencies"', page)
    return found and found[1]


def test_home_says_it_at_once_and_red_once_it_is_overdue(
    web: TestClient, console_house: House, clock: FixedClock
) -> None:
    clock.advance(2 * HOUR_MS)
    sign_in(web)
    break_glass(console_house)
    page = web.get("/console").text
    assert light(page) == "warn"
    assert "1 emergency is open now" in page
    clock.advance(73 * HOUR_MS)
    sign_in(web)
    page = web.get("/console").text
    assert light(page) == "bad"
    assert "overdue" in page
    assert "review overdue" in web.get(PAGE).text


def test_an_officer_reviews_in_a_form_and_once(web: TestClient, console_house: House, clock: FixedClock) -> None:
    clock.advance(2 * HOUR_MS)
    break_glass(console_house)
    sign_in(web)
    page = web.get(PAGE).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    names = re.findall(r'action="(/console/emergencies/[0-9a-f]{16})"', page)
    assert names
    data = {"finding": "unjustified", "note": "nobody had a seizure", "csrf": csrf(page)}
    for wrong in ({"csrf": "x"}, {"finding": "perhaps"}, {"note": "."}):
        before = console_house.node.emergencies.counts().unreviewed
        assert web.post(names[0], data=data | wrong).status_code in (400, 403)
        assert console_house.node.emergencies.counts().unreviewed == before
    for name in names:
        answer = web.post(name, data=data)
        assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    assert web.post(names[0], data=data).status_code == 409
    assert web.post(f"{PAGE}/{'0' * 16}", data=data).status_code == 404
    page = web.get(PAGE).text
    assert "No emergency access waits" in page
    assert "nobody had a seizure" in page
    assert light(web.get("/console").text) is None


def test_a_stranger_reviews_nothing(web: TestClient, console_house: House, clock: FixedClock) -> None:
    clock.advance(2 * HOUR_MS)
    break_glass(console_house)
    waiting = console_house.node.emergencies.counts().unreviewed
    answer = web.post(f"{PAGE}/{'0' * 16}", data={"finding": "justified", "note": WHY, "csrf": "x"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
    assert console_house.node.emergencies.counts().unreviewed == waiting
