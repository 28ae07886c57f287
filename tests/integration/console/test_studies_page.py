"""Studies in the console: an invitation from its text to a decision, in every process at once; what the budget lost."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.held_keys import HeldKeysBudget
from tests.integration.console.fixtures import SYSTEMS, House
from tests.integration.console.test_console import sign_in
from tests.integration.console.test_emergencies_page import csrf
from twinward.access.interfaces import AccessContext
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Purpose
from twinward.federation.errors import NotApproved
from twinward.federation.invitation import Invitation
from twinward.federation.models import COHORT
from twinward.federation.study import StudyProtocol
from twinward.node import open_node
from twinward.node.study_approvals import invite, member
from twinward.node.study_inbox import FOLDER

PAGE = "/console/studies"
HOSPITALS = ("st-anna", "northgate", "lakeside")


def invitation(house: House, name: str) -> str:
    """An invitation's text; it is not here yet."""
    study = StudyProtocol.for_dp_var(name, HOSPITALS, epsilon=1.0)
    by = AccessContext(SYSTEMS["researcher"], Purpose.RESEARCH)
    content = invite(house.node, study, (), by)
    for path in (house.node.settings.home / FOLDER).glob("*.json"):
        if path.read_bytes() == content:
            path.unlink()
    return content.decode()


def take_in(web: TestClient, text: str) -> str:
    answer = web.post(PAGE, data={"invitation": text, "csrf": csrf(web.get(PAGE).text)})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def is_approved(home: Path, text: str) -> bool:
    """As another process of the hospital sees it."""
    study = Invitation.parse(text.encode()).study.fingerprint()
    with open_node(home) as node, member(node, node.settings.tenant) as own:
        try:
            return own.approvals().of(study).invitation.study.fingerprint() == study
        except NotApproved:
            return False


def test_an_invitation_is_read_approved_and_taken_back_with_reasons(web: TestClient, console_house: House) -> None:
    sign_in(web)
    home = console_house.node.settings.home
    text = invitation(console_house, "console-1")
    place = take_in(web, text.replace("\n", "\r\n"))  # as a browser sends it
    assert take_in(web, text) == place
    assert place in web.get(PAGE).text.partition("Decided")[0]
    page = html.unescape(web.get(place).text)
    for said in ("marie at st-anna", "2.72-fold", "NOT ENOUGH", "does not pay for this study", "told to nobody"):
        assert said in page
    assert not is_approved(home, text)
    data = {"reason": "  ", "csrf": csrf(web.get(place).text)}
    for step in ("approve", "withdraw"):
        assert web.post(f"{place}/{step}", data=data).status_code == 400
    data["reason"] = "the <b>board</b> agreed"
    assert web.post(f"{place}/withdraw", data=data).status_code == 403  # there is nothing to take back
    assert web.post(f"{place}/approve", data=data).headers["location"] == place
    assert is_approved(home, text)
    assert "the &lt;b&gt;board&lt;/b&gt; agreed" in web.get(place).text
    data["reason"] = "a patient asked us to"
    with open_node(home) as node, member(node, "st-anna") as own:
        study = Invitation.parse(text.encode()).study.fingerprint()
        assert own.approvals().of(study)
        assert web.post(f"{place}/withdraw", data=data).headers["location"] == place
        with pytest.raises(NotApproved, match="took back"):  # at once, in a process that runs all along
            own.approvals().of(study)
    assert not is_approved(home, text)
    assert "a patient asked us to" in web.get(PAGE).text.partition("Decided")[2]
    listed = web.get("/console/accesses?action=study").text
    assert "took back the approval of" in listed


def test_a_decision_needs_a_fresh_proof_and_the_form_of_the_session(
    web: TestClient, console_house: House, clock: FixedClock
) -> None:
    sign_in(web)
    text = invitation(console_house, "console-2")
    place = take_in(web, text)
    token = csrf(web.get(place).text)
    assert web.post(f"{place}/approve", data={"reason": "agreed", "csrf": "x" * 43}).status_code == 403
    clock.advance((console_house.node.settings.fresh_sign_in_s + 1) * 1000)
    answer = web.post(f"{place}/approve", data={"reason": "agreed", "csrf": token})
    assert "confirm" in answer.text or "confirm" in answer.headers.get("location", "")
    assert not is_approved(console_house.node.settings.home, text)


def test_what_is_no_invitation_to_this_hospital_is_refused_and_kept_nowhere(
    web: TestClient, console_house: House
) -> None:
    sign_in(web)
    token = csrf(web.get(PAGE).text)
    folder = console_house.node.settings.home / FOLDER
    before = sorted(folder.glob("*")) if folder.exists() else []
    altered = json.loads(invitation(console_house, "console-3"))
    altered["study"]["epsilon"] = 9.0
    for text in ("", "{}", "[" * 5000, json.dumps(altered), "nonsense <script>"):
        answer = web.post(PAGE, data={"invitation": text, "csrf": token})
        assert answer.status_code in (400, 422), (text[:20], answer.status_code)
        assert "<script>" not in answer.text
    assert web.post(PAGE, data={"invitation": "x" * (300 << 10), "csrf": token}).status_code in (400, 413, 422)
    assert (sorted(folder.glob("*")) if folder.exists() else []) == before
    for digest in ("0" * 64, "../../keys", "0" * 63):
        assert web.get(f"{PAGE}/{digest}").status_code in (400, 404, 422)
    for step in ("approve", "withdraw"):
        done = web.post(f"{PAGE}/{'0' * 64}/{step}", data={"reason": "agreed", "csrf": token})
        assert done.status_code == 404


def test_the_budget_burns_down_by_what_studies_took(web: TestClient, console_house: House) -> None:
    node = console_house.node
    for name in ("st-anna", "northgate"):
        node.consortium.cap_privacy(name, COHORT, 1_000_000)
    budget = HeldKeysBudget(node.consortium.budgets, node.consortium.keys)
    study = Invitation.parse(invitation(console_house, "console-4").encode()).study
    sign_in(web)
    take_in(web, invitation(console_house, "console-4"))
    budget.commit(budget.reserve(study.fingerprint(), ["st-anna", "northgate"], 250_000))
    budget.reserve(b"u" * 32, ["st-anna"], 100_000)
    budget.reserve(b"v" * 32, ["northgate"], 1)  # not this hospital's
    page = web.get(PAGE).text
    for said in ("0.250000", "0.750000", "0.650000", "console-4", "paid for a model", "reserved"):
        assert said in page
    assert "0.000001" not in page
    assert 'aria-label="2 studies; 65 per cent' in page
