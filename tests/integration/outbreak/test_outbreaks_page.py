"""The console's page of outbreaks says what was released, what it cost, and that nothing is in force."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from tests.integration.cli.conftest import PASSWORD
from tests.integration.console.test_console import sign_in
from tests.integration.outbreak.region import DAYS, condition, opened_region, terms
from twinward.api.app import create_app
from twinward.console import mount


def test_the_page_says_what_was_released_and_what_it_cost(tmp_path: Path) -> None:
    with opened_region(tmp_path / "home") as region:
        region.admit("st-anna", "ann", condition(DAYS[0]))
        app = create_app(region.node)
        mount(app, region.node)
        with TestClient(app, follow_redirects=False) as web:
            assert sign_in(web, PASSWORD, "olga").status_code == 303
            empty = web.get("/console/outbreaks").text
            assert "No period was approved here" in empty
            assert "No quorum of hospitals says" in empty
            agreed = region.agreed(terms())
            region.released("st-anna", agreed, 2)
            shown = web.get("/console/outbreaks").text
            for words in ("week", "influenza", "2 of 5", "running", "olga", f"{agreed.terms.cost:,}".split(",")[0]):
                assert words in shown, words
            assert "ann" not in shown.replace("st-anna", "").replace("St-Anna", "").replace("St. Anna", "")
            german = web.get("/console/outbreaks", headers={"accept-language": "de"}).text
            assert "2 von 5" in german
