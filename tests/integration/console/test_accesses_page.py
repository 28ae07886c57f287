"""The page of accesses over HTTP: filters in its address, saved ones, lists taken out, one access's story."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.access_events import read_by_a_clinician
from tests.integration.console.fixtures import House, build
from tests.integration.console.test_console import sign_in
from twinward.audit.saved_filters import MOST_OF_ACCOUNT
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Role


@pytest.fixture(scope="module")
def console_house(tmp_path_factory: pytest.TempPathFactory, clock: FixedClock) -> Iterator[House]:
    """Its own: what other files' tests did is no access here."""
    built = build(tmp_path_factory.mktemp("accesses") / "home", patients=3, clock=clock)
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def console_app(console_house: House) -> FastAPI:
    return console_house.app


def rows_of(page: str) -> list[str]:
    return re.findall(r'<tr role="row">\s*<td.*?</tr>', page, re.DOTALL)


def token_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("asked", "said", "never"),
    [
        ("role=clinician&decision=deny", "dr-lee", "permitted</span>"),
        ("emergency=yes", "an emergency", ">treatment</span>"),
        ("category=psychiatry", "psychiatry", "features"),
        ("unit=cardiology&purpose=TREAT", "cardiology", "data office"),
        ("text=UNCONSCIOUS", "unconscious", ">treatment</span>"),
        ("agent=acme", "acme", "dr-lee</span>"),
    ],
)
def test_filters_meet_and_stand_in_the_address(web: TestClient, asked: str, said: str, never: str) -> None:
    sign_in(web)
    page = web.get(f"/console/accesses?{asked}").text
    rows = rows_of(page)
    assert rows
    assert all(said in row and never not in row for row in rows)
    for part in asked.split("&"):
        name, value = part.split("=")
        assert re.search(rf'(name="{name}"[^>]*value="{value}"|<option value="{value}" selected)', page)


def test_officers_own_looks_are_left_out_until_they_are_asked_for(web: TestClient) -> None:
    sign_in(web)
    page = web.get("/console/accesses").text
    assert "own looks at the log are left out" in page
    assert not [row for row in rows_of(page) if "looked at the access log" in row and ">officer<" in row]
    shown = web.get("/console/accesses?own=yes").text
    assert [row for row in rows_of(shown) if "looked at the access log" in row]


def test_a_filter_is_kept_under_a_name_for_its_officer_alone(web: TestClient, console_house: House) -> None:
    sign_in(web)
    page = web.get("/console/accesses?agent=dr-lee&decision=deny").text
    saved = {"name": "  Refused\u202e to   Lee ", "query": "agent=dr-lee&decision=deny", "csrf": token_of(page)}
    assert web.post("/console/accesses/filters", data=saved | {"csrf": "wrong"}).status_code == 403
    answer = web.post("/console/accesses/filters", data=saved)
    assert answer.headers["location"] == "/console/accesses?agent=dr-lee&decision=deny"
    page = web.get("/console/accesses").text
    assert "Refused\\u202e to Lee" in page
    assert 'href="/console/accesses?agent=dr-lee&amp;decision=deny"' in page
    assert console_house.node.saved_filters.of("somebody-else") == []
    (kept,) = console_house.node.saved_filters.of("officer")
    console_house.node.saved_filters.drop("somebody-else", kept.id)
    assert console_house.node.saved_filters.of("officer") == [kept]
    web.post(f"/console/accesses/filters/{kept.id}/drop", data={"csrf": token_of(page)})
    assert console_house.node.saved_filters.of("officer") == []


@pytest.mark.parametrize(
    "bad",
    [
        {"name": " "},
        {"name": "x" * 61},
        {"query": "role=boss"},
        {"query": "nonsense"},
        {"query": "a=1&" * 60},
    ],
)
def test_a_filter_that_is_none_is_not_kept(web: TestClient, console_house: House, bad: dict[str, str]) -> None:
    sign_in(web)
    token = token_of(web.get("/console/accesses").text)
    answer = web.post("/console/accesses/filters", data={"name": "n", "query": "agent=a", "csrf": token} | bad)
    assert answer.status_code == 400
    assert console_house.node.saved_filters.of("officer") == []


def test_an_officer_keeps_so_many_filters_and_no_more(web: TestClient, console_house: House) -> None:
    sign_in(web)
    token = token_of(web.get("/console/accesses").text)
    answers = [
        web.post("/console/accesses/filters", data={"name": f"f{n}", "query": "", "csrf": token}).status_code
        for n in range(MOST_OF_ACCOUNT + 1)
    ]
    assert answers == [303] * MOST_OF_ACCOUNT + [409]
    for one in console_house.node.saved_filters.of("officer"):
        console_house.node.saved_filters.drop("officer", one.id)


def test_a_list_is_taken_out_as_csv_and_the_log_says_by_which_filter(web: TestClient, console_house: House) -> None:
    node, twin = console_house.node, console_house.twins[0]
    node.audit.record(
        [replace(read_by_a_clinician(twin), agent='=HYPERLINK("http://evil")', unit="@ward", reason="-1+1")]
    )
    sign_in(web)
    before = console_house.size()
    answer = web.get("/console/accesses/list.csv?role=clinician&sort=oldest")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    table = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert {row["role"] for row in table} == {"clinician"}
    assert [int(row["index"]) for row in table] == sorted(int(row["index"]) for row in table)
    assert table[-1]["agent"] == '\'=HYPERLINK("http://evil")'
    assert (table[-1]["unit"], table[-1]["reason"]) == ("'@ward", "'-1+1")
    assert console_house.size() == before + 1
    event = node.audit_reader.event(_permit(console_house), before).event
    assert event is not None
    assert (event.action, event.role, event.agent) == (Action.AUDIT, Role.OFFICER, "officer")
    assert dict(event.detail) | {"page": "list as CSV", "filter": "role: clinician, sort: oldest"} == dict(event.detail)


def test_a_list_on_paper_says_who_took_it_out_and_by_which_filter(web: TestClient) -> None:
    sign_in(web)
    page = web.get("/console/accesses/print?agent=dr-lee").text
    assert "Asked for: agent: dr-lee" in page
    assert "Taken out by Olga Officer" in page
    assert rows_of(page)
    assert all("dr-lee" in row for row in rows_of(page))


def test_pages_and_headings_carry_the_filters(web: TestClient) -> None:
    sign_in(web)
    page = web.get("/console/accesses?role=clinician").text
    assert re.search(r'href="/console/accesses\?role=clinician&amp;sort=agent"', page)
    assert 'aria-sort="descending"' in page
    by_agent = web.get("/console/accesses?role=clinician&sort=agent").text
    assert 'aria-sort="ascending"' in by_agent


def test_one_access_tells_its_whole_story(web: TestClient, console_house: House) -> None:
    sign_in(web)
    listed = web.get("/console/accesses?agent=dr-lee&emergency=yes&action=read").text
    found = re.search(r'href="/console/accesses/(\d+)"', listed)
    assert found
    before = console_house.size()
    page = web.get(f"/console/accesses/{found[1]}").text
    assert console_house.size() == before + 1
    assert f"Event {found[1]}: the whole story" in page
    assert "break-the-glass" in page
    assert "permit (principal, action in [Action::&#34;read&#34;, Action::&#34;break-glass&#34;], resource)" in page
    assert f'data-proof="/console/proofs/{found[1]}"' in page
    assert "durable in the log before the permit was given" in page
    assert "consent" in page
    assert "The same person, before and after" in page
    assert "The same patient, before and after" in page


def test_a_refused_access_tells_that_there_was_no_permit(web: TestClient) -> None:
    sign_in(web)
    found = re.search(r'href="/console/accesses/(\d+)"', web.get("/console/accesses?decision=deny&agent=dr-lee").text)
    assert found
    page = web.get(f"/console/accesses/{found[1]}").text
    assert "there never was a permit" in page
    assert "psychiatry-needs-consent" in page


def _permit(house: House):  # type: ignore[no-untyped-def]
    from tests.integration.console.fixtures import OFFICER
    from twinward.access.interfaces import AccessContext
    from twinward.core.vocabulary import Purpose
    from twinward.overview.log import permit_to_examine

    return permit_to_examine(house.node.access, AccessContext(OFFICER, Purpose.COMPLIANCE), "test")
