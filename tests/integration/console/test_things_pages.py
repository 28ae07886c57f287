"""Pages of things and of the exchange: who sees what, what each look leaves in the log, what is said of wrong names."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import NIGHT_PASSWORD, OFFICER, PASSWORD, House, build
from tests.integration.console.shared_things import break_down, equip, lend
from tests.integration.console.test_console import sign_in
from tests.integration.console.test_languages_and_clocks import GERMAN, left_in_english
from tests.integration.console.test_ward_pages import words
from twinward.access.consent import Provision
from twinward.access.interfaces import AccessContext
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Category, Purpose, Role
from twinward_contracts.bindings import ResourceExchange
from twinward_ledger.errors import ChainError

NAMED = re.compile("Intensive care|St. Mary|Saline|bag|Ventilator 1|said")
"""What the ward calls its things."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, clock: FixedClock) -> Iterator[House]:
    made = build(tmp_path_factory.mktemp("things") / "home", patients=3, clock=clock)
    equip(made)
    clock.advance(1_000)
    break_down(made)
    yield made
    made.node.close()


@pytest.fixture
def web(house: House, clock: FixedClock) -> Iterator[TestClient]:
    clock.advance(60_001)  # no earlier sign-in counts
    with TestClient(house.app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


def test_a_ward_is_told_to_whom_it_may_and_each_look_is_one_access(house: House, web: TestClient) -> None:
    lies = house.twins[-1]
    sign_in(web, PASSWORD, "olive")
    before = house.size()
    listed = words(web.get("/console/things"))
    assert house.size() == before + 1
    for said in ("st-mary St. Mary&#39;s", "hospital", "device, ventilator", "stock, medication: 40 bag"):
        assert said in listed, said
    assert "vent-1" not in words(web.get("/console/things?kind=ward"))
    operator = web.get("/console/things/icu")
    for said in (
        "Beds 2 Taken 1 Free 1",
        "Due for service: vent-1",
        "bed-1",
        lies,
        "part of st-mary",
        "contains bed-2",
    ):
        assert said in words(operator), said
    assert f"/console/ward/{lies}" not in operator.text
    device = words(web.get("/console/things/vent-1"))
    for said in ("due a fault was noted", "1 fault since.", "It was never serviced here.", "in bed-1"):
        assert said in device, said
    assert "40 bag are there." in words(web.get("/console/things/saline"))
    sign_in(web, NIGHT_PASSWORD, "nurse")
    ward = web.get("/console/things/icu")
    assert f'href="/console/ward/{lies}"' in ward.text
    assert "not measured: 1" in words(ward)


def test_an_officer_sees_no_patient_and_no_small_number(house: House, web: TestClient) -> None:
    sign_in(web)
    before = house.size()
    for path in ("icu", "bed-1", "st-mary"):
        page = web.get(f"/console/things/{path}")
        assert page.status_code == 200
        assert not any(twin in page.text for twin in house.twins), path
    assert house.size() == before + 3
    assert "Taken * Free *" in words(web.get("/console/things/icu"))


def test_whom_consent_withholds_is_named_to_nobody(house: House, web: TestClient) -> None:
    lies, by = house.twins[-1], AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT)
    denied = Provision(effect="deny", roles=(Role.OPERATOR,), categories=(Category.ENCOUNTERS,))
    house.node.access.set_consents(by, [(lies, (denied,))])
    sign_in(web, PASSWORD, "olive")
    for path in ("icu", "bed-1"):
        page = web.get(f"/console/things/{path}")
        assert "withheld from you" in words(page), path
        assert lies not in page.text, path
    house.node.access.set_consents(by, [(lies, ())])


@pytest.mark.parametrize("name", ["nothing-here", "%3Cscript%3E", "..%2f..", "x" * 65, "bed-1%0d%0aset-cookie:a"])
def test_a_name_that_is_none_is_answered_in_words(web: TestClient, name: str) -> None:
    sign_in(web, PASSWORD, "olive")
    answer = web.get(f"/console/things/{name}")
    assert answer.status_code in (400, 404), answer.status_code
    assert "<script>" not in answer.text
    assert "set-cookie" not in answer.headers
    assert web.get("/console/things?kind=patient").status_code == 400


def test_the_exchange_says_what_stands_what_would_help_and_what_is_late(
    house: House, web: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(web)
    assert "has no exchange yet" in words(web.get("/console/exchange"))
    lend(house)
    before = house.size()
    page = web.get("/console/exchange")
    assert house.size() == before + 1
    for said in ("offers ventilators for intensive care 3 of 5", "needs ventilators for intensive care 1 of 3",
                 "1 × ventilators for intensive care (offer 1, request 2)", "promised"):  # fmt: skip
        assert said in words(page), said
    assert not any(twin in page.text for twin in house.twins)

    def silent(*_: object) -> int:
        raise ChainError("no answer")

    monkeypatch.setattr(ResourceExchange, "listing_count", silent)
    assert "The chain does not answer" in words(web.get("/console/exchange"))
    sign_in(web, PASSWORD, "olive")
    assert web.get("/console/exchange").status_code == 403


def test_they_are_german_where_it_is_asked_for(web: TestClient) -> None:
    sign_in(web)
    for path in ("things", "things/icu", "things/vent-1", "things/saline", "exchange"):
        page = web.get(f"/console/{path}", headers=GERMAN)
        assert page.status_code == 200
        assert [one for one in left_in_english(page) if not NAMED.search(one)] == [], path
