"""What another consent would change, before anybody says it: for the officer, and for the patient."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import PASSWORD, House
from tests.integration.console.test_console import sign_in
from twinward.access.consent_choices import CHOICES
from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Category, Purpose
from twinward.overview.consents import preview_consent
from twinward.overview.log import permit_to_examine


@pytest.fixture
def officer(console_house: House) -> AccessContext:
    return AccessContext(console_house.node.accounts.named("officer"), Purpose.COMPLIANCE)


@pytest.fixture
def patient(console_house: House, officer: AccessContext) -> Iterator[str]:
    desk = console_house.node.account_desk
    account = f"pat-{secrets.token_hex(4)}"
    desk.add_patient(account, "Pat", PASSWORD, console_house.twins[0], officer)
    yield account
    desk.untie(account, officer)


def test_it_counts_who_would_have_more_or_less_and_which_decisions_would_fall_otherwise(
    console_house: House, officer: AccessContext
) -> None:
    node, twin = console_house.node, console_house.twins[0]
    permit = permit_to_examine(node.access, officer, "consents", twin)
    before = node.access.consent_of(twin)
    same = preview_consent(node, permit, twin, before.provisions)
    assert (same.effects, same.decisions.differences) == ((), ())
    more = preview_consent(node, permit, twin, (*before.provisions, CHOICES["treat-psychiatry"], CHOICES["research"]))
    gained = {str(one.who): set(one.gained) for one in more.effects}
    assert gained["a clinician who treats"] == {Category.PSYCHIATRY}
    assert gained["a study that trains"] == {Category.FEATURES, Category.MONITORING}
    assert not any(one.lost for one in more.effects)
    assert {(one.role, one.action, one.now, one.then) for one in more.decisions.differences} == {
        ("clinician", "read", False, True)
    }
    less = preview_consent(node, permit, twin, ())
    assert not any(one.gained for one in less.effects)
    assert node.access.consent_of(twin) == before


def test_an_officer_and_a_patient_see_it_and_nothing_is_recorded(
    web: TestClient, console_house: House, patient: str
) -> None:
    node, twin = console_house.node, console_house.twins[0]
    before = node.access.consent_of(twin)
    sign_in(web)
    page = web.get("/console/consents", params={"twin": twin, "version": before.version, "add": "treat-psychiatry"})
    assert page.status_code == 200
    assert "would be permitted" in page.text
    assert re.search(r'name="add" value="treat-psychiatry" checked', page.text)
    stale = web.get("/console/consents", params={"twin": twin, "version": before.version + 1})
    assert stale.status_code == 409
    web.cookies.clear()
    sign_in(web, account=patient)
    token = re.search(r'name="csrf" value="([^"]+)"', web.get("/console/my/consents").text)
    assert token
    form = {"csrf": token[1], "version": str(before.version), "add": "treat-psychiatry"}
    assert web.post("/console/my/consents/preview", data=form | {"csrf": "x"}).status_code == 403
    assert web.post("/console/my/consents/preview", data=form | {"add": "everything"}).status_code == 400
    looked = web.post("/console/my/consents/preview", data=form)
    assert "clinicians, to treat you, would be permitted" in looked.text
    assert "<td>those who treat you</td><td>mental health</td>" in looked.text
    assert "decisions about you" in looked.text
    assert "this patient" not in looked.text
    assert node.access.consent_of(twin) == before


def test_each_choice_can_be_looked_at_before(web: TestClient, console_house: House, patient: str) -> None:
    twin = console_house.twins[0]
    version = console_house.node.access.consent_of(twin).version
    sign_in(web)
    for choice in CHOICES:
        looked = web.get("/console/consents", params={"twin": twin, "version": version, "add": choice})
        assert (choice, looked.status_code) == (choice, 200)
    web.cookies.clear()
    sign_in(web, account=patient)
    token = re.search(r'name="csrf" value="([^"]+)"', web.get("/console/my/consents").text)
    assert token
    for choice in CHOICES:
        form = {"csrf": token[1], "version": str(version), "add": choice}
        looked = web.post("/console/my/consents/preview", data=form)
        assert (choice, looked.status_code) == (choice, 200)
        assert "What would change" in looked.text
