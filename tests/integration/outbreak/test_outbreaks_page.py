"""The console's page of outbreaks: what was released and cost; a period is read, approved and taken back there."""

from __future__ import annotations

import html
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.integration.cli.conftest import PASSWORD
from tests.integration.console.test_console import sign_in
from tests.integration.console.test_emergencies_page import csrf
from tests.integration.outbreak.region import DAYS, NAMES, TODAY, Region, condition, opened_region, terms
from twinward.api.app import create_app
from twinward.console import mount
from twinward.federation.errors import NotApproved
from twinward.federation.models import COHORT
from twinward.node import open_node
from twinward.outbreak import agreement
from twinward.outbreak.agreement import AgreedPeriod
from twinward.outbreak.errors import OutbreakInvalid
from twinward.outbreak.syndromes import SYNDROMES

PAGE = "/console/outbreaks"


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


def test_the_page_draws_what_sums_let_expect_and_says_where_nothing_is(tmp_path: Path) -> None:
    with opened_page(tmp_path / "home") as (region, web):
        assert "No sums of daily counts were added up here" in web.get(PAGE).text
        with open_node(tmp_path / "home") as other:  # as a command beside the server
            Region(other).kept_sums([52, 60, 71, 66, 58, 35, -1] * 9)
        shown = web.get(PAGE).text
        assert 'role="img" aria-label="influenza: in 14 days ' in shown
        assert "cases a day" in shown
        assert "9 sums lie below zero: that is their noise" in shown
        assert "style=" not in shown
        for day in (DAYS[-1] + timedelta(days=1), DAYS[-1] + timedelta(days=14)):
            assert f">{day}</time>" in shown, day
        german = web.get(PAGE, headers={"accept-language": "de"}).text
        assert 'aria-label="influenza: in 14 Tagen' in german
        assert "9 Summen liegen unter null" in german
        assert "lie below" not in german
        others = ("st-anna", "northgate", "far-away")
        region.kept_sums([1, -4, 2, 0, 3] * 9, "elsewhere", hospitals=others)
        quiet = web.get(PAGE).text
        assert quiet.count('role="img"') == 1, "sums of other hospitals are another series"
        assert "9 sums lie below zero" in quiet
        region.kept_sums([1, -4, 2, 0, 3] * 12, "lately", hospitals=others, first_day=TODAY - timedelta(days=59))
        german = web.get(PAGE, headers={"accept-language": "de"}).text
        assert "Nichts wird vorhergesagt" in german
        assert "stands out" not in german


@contextmanager
def opened_page(home: Path) -> Iterator[tuple[Region, TestClient]]:
    """Three hospitals, and their officer signed in."""
    with opened_region(home) as region:
        app = create_app(region.node)
        mount(app, region.node)
        with TestClient(app, follow_redirects=False) as web:
            assert sign_in(web, PASSWORD, "olga").status_code == 303
            yield region, web


def test_a_period_is_read_approved_and_taken_back_with_reasons(tmp_path: Path) -> None:
    with opened_page(tmp_path / "home") as (region, web):
        region.admit("st-anna", "ann", condition(DAYS[0]))
        invitation = region.invited(terms())
        token = csrf(web.get(PAGE).text)
        pasted = {"invitation": invitation.decode().replace("\n", "\r\n"), "csrf": token}  # as a browser sends it
        read = web.post(f"{PAGE}/invitation", data=pasted)
        page = html.unescape(read.text)
        for said in ("influenza", str(DAYS[0]), "ε = 2", "are left", "st-anna", terms().fingerprint().hex()):
            assert said in page, said
        assert "No period was approved here" in web.get(PAGE).text  # reading approves nothing
        assert web.post(f"{PAGE}/approve", data=pasted | {"reason": "  "}).status_code == 400
        assert web.post(f"{PAGE}/approve", data=pasted | {"reason": "x", "csrf": "x" * 43}).status_code == 403
        assert "No period was approved here" in web.get(PAGE).text
        decision = pasted | {"reason": "the <b>board</b> agreed"}
        approved = web.post(f"{PAGE}/approve", data=decision)
        assert approved.status_code == 200
        assert approved.headers["content-disposition"] == 'attachment; filename="week.st-anna.approval.json"'
        assert web.post(f"{PAGE}/approve", data=decision).content == approved.content
        others = [region.approved(name, invitation) for name in NAMES if name != "st-anna"]
        agreed = AgreedPeriod.join(invitation, [approved.content, *others])
        with region.part("st-anna") as (releases, by):
            releases.reserve(by, agreed)
        assert region.released("st-anna", agreed, 1)
        back = {"period": terms().fingerprint().hex(), "reason": "patients asked us to", "csrf": token}
        assert web.post(f"{PAGE}/withdraw", data=back | {"period": "0" * 64}).status_code == 403
        assert web.post(f"{PAGE}/withdraw", data=back).headers["location"] == PAGE
        assert "withdrawn" in web.get(PAGE).text
        with pytest.raises(NotApproved, match="took back"):
            region.released("st-anna", agreed, 2)
        listed = html.unescape(web.get("/console/accesses?action=study").text)
        assert "patients asked us to" in listed
        assert "the <b>board</b> agreed" in listed


def test_a_period_under_another_releases_code_lists_is_shown_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_page(tmp_path / "home") as (region, web):
        region.admit("st-anna", "ann", condition(DAYS[0]))
        agreed, invitation = region.agreed(terms()), region.invited(terms())
        region.released("st-anna", agreed, 1)
        with monkeypatch.context() as later:
            later.setattr(agreement, "fingerprint", lambda: bytes(32))
            later.setattr(agreement, "SYNDROMES", {"covid-19": SYNDROMES["covid-19"]})
            page = web.get(PAGE)
            assert page.status_code == 200
            assert "agreed on code lists of another release" in page.text
            assert "1 of 5" in page.text
            with pytest.raises(OutbreakInvalid, match="cannot be run"):
                AgreedPeriod.parse(agreed.content)
            with region.part("st-anna") as (releases, by), pytest.raises(OutbreakInvalid, match="cannot be run"):
                releases.approve(by, invitation)
            token = csrf(page.text)
            back = {"period": agreed.terms.fingerprint().hex(), "reason": "it cannot be finished", "csrf": token}
            assert web.post(f"{PAGE}/withdraw", data=back).headers["location"] == PAGE
            assert "withdrawn" in web.get(PAGE).text
        with pytest.raises(NotApproved, match="took back"):
            region.released("st-anna", agreed, 2)


def test_a_store_of_periods_that_was_altered_is_no_chain_that_does_not_answer(tmp_path: Path) -> None:
    with opened_page(tmp_path / "home") as (region, web):
        region.agreed(terms())
        with sqlite3.connect(tmp_path / "home/outbreak.db") as stored:
            assert stored.execute("UPDATE outbreak_period SET sealed = zeroblob(length(sealed))").rowcount
        page = web.get(PAGE)
        assert page.status_code == 503
        assert "Restore the newest backup" in page.text


def test_what_is_no_invitation_to_this_hospital_is_refused_in_words_and_approves_nothing(tmp_path: Path) -> None:
    with opened_page(tmp_path / "home") as (region, web):
        altered = json.loads(region.invited(terms()))
        altered["terms"]["epsilon"] = 9.0
        token = csrf(web.get(PAGE).text)
        for text in ("", "{}", "[" * 5000, json.dumps(altered), "nonsense <script>"):
            for step in ("invitation", "approve"):
                data = {"invitation": text, "reason": "agreed", "csrf": token}
                answer = web.post(f"{PAGE}/{step}", data=data, headers={"accept-language": "de"})
                assert answer.status_code in (400, 422), (text[:20], step, answer.status_code)
                assert "<script>" not in answer.text
        assert "No period was approved here" in web.get(PAGE).text


def test_a_period_that_the_budget_does_not_pay_for_says_so_before_it_is_approved(tmp_path: Path) -> None:
    with opened_page(tmp_path / "home") as (region, web):
        region.node.consortium.cap_privacy("st-anna", COHORT, terms().cost - 1)
        dear = terms()
        data = {"invitation": region.invited(dear).decode(), "reason": "agreed", "csrf": csrf(web.get(PAGE).text)}
        assert "would be refused" in web.post(f"{PAGE}/invitation", data=data).text
        refused = web.post(f"{PAGE}/approve", data=data, headers={"accept-language": "de"})
        assert refused.status_code == 403
        assert "1/σ²" in refused.text
        assert "this period costs" not in refused.text
