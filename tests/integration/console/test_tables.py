"""Tables that sort and page: every template's table has decided, and its heads put rows in order over all pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.browser.hospital import Hospital, Shown, furnished, pages_of
from tests.integration.console.fixtures import House
from tests.integration.console.test_console import sign_in
from twinward.access.interfaces import Principal
from twinward.console import tables
from twinward.console.pages import TEMPLATES
from twinward.console.sessions import SESSION_COOKIE
from twinward.console.tables import PAGE_ROWS, Column, Table, collated
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Role

FOLDER: Final = Path(tables.__file__).with_name("templates")
SHORT: Final = {
    "_accesses.html": ["put in order and paged by the index of events, or printed as it was on the screen"],
    "_preview.html": [
        "what would change, counted by kind: the most decisions first",
        "what would change, a row for each kind of person",
    ],
    "check.html": ["made by the browser, of a file that is no server's to sort"],
    "consents.html": ["a row for each kind of person"],
    "node.html": [
        "what to do, the most urgent first",
        "a row for each witness",
        "the newest key first, as they follow",
    ],
    "outbreaks.html": ["a forecast's days, a fortnight's, as time goes by"],
    "people.html": ["20 at most, in the answer to a form with a reason, which no link repeats"],
    "policy.html": ["the rules in the order in which the policy says them"],
    "session_list.html": ["20 of a kind at most, the newest first"],
    "vendor.html": ["a row for each kind of question"],
    "verify.html": ["a row for each witness"],
    "ward_patient.html": [
        "the parameters of NEWS2",
        "a row for each registered model",
        "a curve's points, as time goes by",
        "50 at most, the newest first",
    ],
}
"""Tables that are neither sorted nor paged by ``console/tables.py``, one after the other, and why."""
ARRANGED: Final = {
    "accounts.html": ["accounts"],
    "breach.html": ["subjects", "steps"],
    "breaches.html": ["closed"],
    "contact.html": ["people"],
    "contacts.html": ["rows"],
    "devices.html": ["devices", "sources"],
    "emergencies.html": ["reviewed"],
    "erasures.html": ["closed"],
    "exchange.html": ["listings", "transfers"],
    "external_use.html": ["vendors", "counts", "privacy", "models"],
    "outbreaks.html": ["alerts", "periods"],
    "policy.html": ["versions"],
    "quarantine.html": ["rows"],
    "studies.html": ["charges", "decided"],
    "thing.html": ["lying"],
    "things.html": ["things"],
}
"""Tables that are sorted by their heads and paged."""
PAGES: Final = (
    "accounts",
    "breaches",
    "contacts",
    "emergencies",
    "erasures",
    "exchange",
    "outside",
    "studies",
    "policy",
)


def test_a_table_of_any_page_is_sorted_and_paged_or_says_why_not() -> None:
    short, arranged = {}, {}
    for template in sorted(FOLDER.glob("*.html")):
        text = template.read_text("utf-8")
        if template.name != "_tables.html" and (count := len(re.findall(r"<table\b", text))):
            short[template.name] = count
        if found := re.findall(r"\btables\.table\((\w+),", text):
            arranged[template.name] = found
    assert short == {name: len(why) for name, why in SHORT.items()}, "sort and page it, or say here why not"
    assert arranged == ARRANGED


Row = tuple[int, str, int | None]
_TABLE: Final = Table[Row](
    "rows",
    (
        Column("Place"),
        Column("Name", "name", lambda one: one[1]),
        Column("Number", "number", lambda one: one[2], "num", falls=True),
    ),
)
_NAMES: Final = st.sampled_from(
    ("", "", "Äbte", "abte", "Abte", "Zoe", "Ångström", "bed 2", "bed 10", "ß", "ss", "李", "عمر")
)
ROWS: Final = st.lists(
    st.tuples(_NAMES | st.text(max_size=5), st.none() | st.integers(-3, 3) | st.integers(-(10**18), 10**18)),
    max_size=3 * PAGE_ROWS,
).map(lambda found: [(place, *one) for place, one in enumerate(found)])


class Shop:
    """A page with one such table, whose rows are changed."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        app = FastAPI()

        @app.get("/shop")
        def page(request: Request) -> HTMLResponse:
            try:
                found = _TABLE.arranged(request, self.rows).shown(lambda one: one[0])
            except BadInput as error:
                return HTMLResponse(error.hint, status_code=400)
            text = "{% import '_tables.html' as tables %}{% call(one) tables.table(found, 'Rows') %}"
            text += "<tr><td data-place>{{ one }}</td></tr>{% endcall %}"
            return HTMLResponse(TEMPLATES.from_string(text).render(found=found))

        self.web = TestClient(app)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop()


def over_all_pages(web: TestClient, address: str) -> list[int]:
    """The places that a table shows, page after page, by the links that lead on."""
    found: list[int] = []
    while address:
        page = web.get(address).text
        here = [int(one) for one in re.findall(r"<td data-place>(\d+)</td>", page)]
        assert len(here) <= PAGE_ROWS
        found += here
        later = re.search(r'href="([^"]+)" rel="next"', page)
        address = urljoin(address, unescape(later[1])) if later else ""
    return found


@pytest.mark.parametrize(("column", "name"), [(1, "name"), (2, "number")])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_pages_together_are_all_rows_in_order_whichever_way_it_goes(
    shop: Shop, column: int, name: str, rows: list[Row]
) -> None:
    shop.rows = rows
    key: Any = collated if column == 1 else lambda number: number
    missing = [one[0] for one in rows if one[column] in ("", None)]
    present = [one for one in rows if one[column] not in ("", None)]
    rising = over_all_pages(shop.web, f"/shop?sort={name}")
    falling = over_all_pages(shop.web, f"/shop?sort=-{name}")
    assert sorted(rising) == sorted(falling) == list(range(len(rows)))
    for found in (rising, falling):
        assert found[len(present) :] == missing, "what is missing stands last, as it was given"
    for found, way in ((rising, 1), (falling, -1)):
        values = [rows[place][column] for place in found[: len(present)]]
        pairs = pairwise(values)
        assert all(key(one) <= key(next_) if way > 0 else key(one) >= key(next_) for one, next_ in pairs)
        places = found[: len(present)]
        assert all(
            before < after for before, after in pairwise(places) if rows[before][column] == rows[after][column]
        ), "equals stay as they were given"
    assert over_all_pages(shop.web, "/shop") == list(range(len(rows)))


def test_names_stand_where_a_reader_looks_for_them() -> None:
    names = ["zoe", "Äpfel", "bed 10", "apfel", "Bed 2", "Strasse", "Straße", "azur", "Ängste", "bed 02", "Ωmega"]
    assert sorted(names, key=collated) == [
        *("Ängste", "apfel", "Äpfel", "azur"),
        *("Bed 2", "bed 02", "bed 10", "Strasse", "Straße", "zoe", "Ωmega"),
    ]


def test_heads_say_the_order_and_lead_to_the_other_one(shop: Shop) -> None:
    shop.rows = [(place, "x", place) for place in range(3 * PAGE_ROWS)]
    page = shop.web.get("/shop?page=2&kept=a%26b").text
    assert heads_of(page) == {
        "Name": ("", "?kept=a%26b&sort=name#table-rows"),
        "Number": ("", "?kept=a%26b&sort=-number#table-rows"),
    }
    assert "51–100 of 150" in page
    falling = heads_of(shop.web.get("/shop?sort=-number&page=2").text)
    assert falling == {"Name": ("", "?sort=name#table-rows"), "Number": ("descending", "?sort=number#table-rows")}
    assert heads_of(shop.web.get("/shop?sort=number").text)["Number"] == ("ascending", "?sort=-number#table-rows")
    assert re.search(r'<div class="scroll" id="table-rows" tabindex="0"', page), "the keyboard goes on from there"


@pytest.mark.parametrize(
    "asked", ["sort=place", "sort=--name", "sort=name;", "page=0", "page=-1", "page=x", "page=١", "page=" + "9" * 8]
)
def test_what_is_no_order_and_no_page_is_refused(shop: Shop, asked: str) -> None:
    answer = shop.web.get(f"/shop?{asked}")
    assert answer.status_code == 400
    assert "name, -name, number, -number" in answer.text or "count from 1" in answer.text


def test_beyond_the_last_page_is_the_last(shop: Shop) -> None:
    shop.rows = [(place, "x", None) for place in range(PAGE_ROWS + 1)]
    assert "page 2 of 2" in shop.web.get("/shop?page=9999999").text
    shop.rows = []
    assert over_all_pages(shop.web, "/shop?page=7") == []


def heads_of(page: str) -> dict[str, tuple[str, str]]:
    """Of each head that sorts: aria-sort, and where it leads."""
    found = re.findall(r'<th role="columnheader"[^>]*?(?: aria-sort="(\w+)")?><a href="([^"]+)">([^<]+?)\s*<', page)
    return {words: (order, unescape(address)) for order, address, words in found}


def test_every_head_of_the_officers_pages_leads_to_its_order_and_back(web: TestClient, console_house: House) -> None:
    sign_in(web)
    followed = 0
    for name in PAGES:
        address = f"/console/{name}"
        page = web.get(address).text
        for words, (_, link) in heads_of(page).items():
            there = web.get(urljoin(address, link))
            order, back = heads_of(there.text)[words]
            assert (there.status_code, order in ("ascending", "descending")) == (200, True), (name, words)
            assert {order, heads_of(web.get(urljoin(address, back)).text)[words][0]} == {"ascending", "descending"}
            followed += 1
        if "<th" in page and 'class="sorts"' in page:
            parameter = re.search(r"\?([\w-]*sort)=", page)
            assert parameter
            assert web.get(f"{address}?{parameter[1]}=nonsense").status_code == 400, name
    assert followed >= 15


def test_accounts_are_in_order_over_all_their_pages(web: TestClient, console_house: House) -> None:
    accounts, units = console_house.node.accounts, ("", "Ärzte", "ambulanz", "Zentrale")
    for number in range(2 * PAGE_ROWS):
        accounts.add_system(Principal(f"bulk-{number}", Role.SYSTEM, f"Bulk {number % 7}", units[number % 4]))
    sign_in(web)

    def walked(order: str) -> list[tuple[str, ...]]:
        found, address = [], f"/console/accounts?sort={order}"
        while address:
            page = web.get(address).text
            rows = re.findall(r"<tr><td><a [^>]+>([^<]+)</a></td>(.*?)</tr>", page, re.DOTALL)
            found += [(account, *re.findall(r"<td[^>]*>([^<]*)", rest)) for account, rest in rows]
            later = re.search(r'href="([^"]+)" rel="next"', page)
            address = urljoin(address, unescape(later[1])) if later else ""
        return found

    every = [one.id for one in accounts.records()]
    by_unit = walked("unit")
    assert sorted(one[0] for one in by_unit) == sorted(every)
    said = [one[3] for one in by_unit if one[3]]
    assert said == sorted(said, key=collated)
    assert [one for one in said if one in units] == sorted(
        (one for one in said if one in units), key=["ambulanz", "Ärzte", "Zentrale"].index
    )
    assert [one[3] for one in walked("-unit") if one[3]] == said[::-1]
    assert all(not one[3] for one in by_unit[len(said) :])
    by_account = [one[0] for one in walked("account") if one[0].startswith("bulk-")]
    assert by_account == [f"bulk-{number}" for number in range(2 * PAGE_ROWS)]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    with furnished(tmp_path_factory.mktemp("tables") / "home") as one:
        yield one


@pytest.mark.slow
def test_every_head_of_every_page_of_a_furnished_hospital_sorts(hospital: Hospital) -> None:
    followed: set[tuple[str, str]] = set()
    lying = Shown("/console/things/icu", "nurse", "/console/things/{name}")  # officers do not see who lies where
    with TestClient(hospital.house.app) as web:
        for shown in (*pages_of(hospital), lying):
            web.cookies.clear()
            if shown.person:
                web.cookies.set(SESSION_COOKIE, hospital.cookies[shown.person])
            heads = heads_of(web.get(shown.path).text)
            for words, (_, link) in heads.items():
                there = web.get(urljoin(shown.path, link))
                assert there.status_code == 200
                assert heads_of(there.text)[words][0] in ("ascending", "descending"), (shown.path, words)
                followed.add((shown.template, words))
    assert {one[0].removeprefix("/console/") for one in followed} >= {
        *("accesses", "accounts", "breaches/{name}", "contacts", "devices", "erasures", "exchange", "outside"),
        *("policy", "studies", "things", "things/{name}"),
    }
