"""A vendor's page: what it asked over HTTP is counted, what it is told is said in words, what is left is drawn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import House, build
from tests.integration.console.test_console import sign_in
from twinward.client import VendorClient
from twinward.console.plots import burn_down, steps_of
from twinward.console.vendor_page import known_by
from twinward.core.clock import FixedClock
from twinward.core.config import Settings
from twinward.core.vocabulary import Category
from twinward.overview.external_use import model_cards
from twinward.overview.vendors import Learnt, Spending

PAGE = "/console/outside/acme"
QUIET = Learnt({}, 0, 0, 0, 0, 0, 0, 0, (), 0, 0, True)
SPENT = Spending(12, 9, 120, ((7, 0), (8, 2), (9, 3)), 1500, 1250)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, clock: FixedClock) -> Iterator[House]:
    """A house whose vendor has asked and was answered."""
    built = build(tmp_path_factory.mktemp("vendor") / "home", patients=6, clock=clock)
    with TestClient(built.app) as http:
        vendor = VendorClient("http://testserver", built.tokens["vendor"], http=http)
        vendor.query_gated({"age": 61.0}, nearest=3)
        vendor.query_gated({"age": 20.0}, nearest=3)
    yield built
    built.node.close()


@pytest.fixture
def desk(asked: House, clock: FixedClock) -> Iterator[TestClient]:
    clock.advance(60_001)
    with TestClient(asked.app, raise_server_exceptions=False, follow_redirects=False) as client:
        sign_in(client)
        yield client


def counted(page: str, what: str) -> int:
    found = re.search(rf"<tr><td>[^\n]*{what}[^\n]*</td><td class=\"num\">(\d+)</td></tr>", page)
    assert found, what
    return int(found[1])


@pytest.mark.slow
def test_what_was_asked_told_and_refused_is_counted(desk: TestClient, asked: House) -> None:
    page = desk.get(PAGE).text
    assert "What could Acme Diagnostics have learnt?" in page
    assert counted(page, "opened by the gate") == 2
    told = counted(page, "patients that it was told of")
    assert 3 <= told <= len(asked.twins) - 1  # one gave no consent
    assert counted(page, "refusals") == 1  # the records it asked for on its day
    assert re.search(rf"told of {told} patients in \d groups?, the smallest of [3-6]\.", page)
    assert "10 of 12 queries in epoch" in page
    assert "118 of 120 in these" in page
    assert f'href="{PAGE}"' in desk.get("/console/outside").text
    drawn = page[page.index('<svg class="chart plot"') : page.index("</svg>")]
    assert "style=" not in drawn
    assert "<style" not in drawn
    assert "118; 2 were spent" in drawn


@pytest.mark.slow
def test_who_is_no_vendor_has_no_page(desk: TestClient) -> None:
    for name in ("nobody", "dr-lee", "<b>", "a" * 65):
        answer = desk.get(f"/console/outside/{name}")
        assert answer.status_code in (400, 404)
        assert "<b>" not in answer.text


def test_each_way_of_learning_has_its_words() -> None:
    settings = Settings()
    assert known_by(QUIET, SPENT, settings) == ["Nothing: it was given no answer."]
    every = {"gated": 4, "vendor-key": 2, "matrix": 1, "feasibility": 3}
    said = known_by(
        replace(QUIET, asked=every, told=9, groups=2, smallest=4, records=1, categories=(Category.LABS,)),
        SPENT,
        settings,
    )
    assert len(said) == 6
    assert "4 answers at most" in said[0]
    assert "9 patients in 2 groups, the smallest of 4" in said[1]
    assert "2 times the distance" in said[2]
    assert "ε 0.25 spent" in said[4]
    assert "records of 1 patient (labs)" in said[5]


def test_it_is_not_said_that_it_learnt_nothing_where_that_is_not_known() -> None:
    settings = Settings()
    (more,) = known_by(replace(QUIET, whole=False), SPENT, settings)
    assert "It may be more" in more
    (told,) = known_by(replace(QUIET, told=24), SPENT, settings)
    assert "told of 24 patients" in told


def test_a_burn_down_ends_where_the_contract_says() -> None:
    epochs, left = steps_of(SPENT.window, SPENT.by_epoch)
    assert (epochs, left) == ((7, 8, 9), (120, 118, 115))
    assert SPENT.window_left == left[-1]
    assert steps_of(3, [(1, 5)]) == ((1,), (0,))  # a grant that was lowered since
    picture = burn_down(epochs, left, 120, 'says <"so">', ("epoch", "queries left"))
    assert picture == burn_down(epochs, left, 120, 'says <"so">', ("epoch", "queries left"))
    assert 'aria-label="says &lt;&#34;so&#34;&gt;"' in picture
    assert "clip" not in picture  # a clip's rectangle is black in either face
    assert "#000001" not in picture
    assert "#000002" not in picture


@pytest.mark.slow
def test_a_models_card_is_told_where_it_is_the_one_on_the_chain(asked: House) -> None:
    folder = asked.node.settings.home / "models"
    folder.mkdir()
    (folder / "good.card.json").write_text(json.dumps({"study": "sepsis-1", "limits": ["a", "b"]}))
    (folder / "bad.card.json").write_text("[" * 3000)
    (folder / "none.card.json").write_text('{"other": 1}')
    assert [one["study"] for one in model_cards(asked.node).values()] == ["sepsis-1"]
