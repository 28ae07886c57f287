"""From a person to a twin: with a reason, an event of its own, names only in the answer."""

from __future__ import annotations

import msgspec
import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import OFFICER, House
from tests.integration.console.test_accesses_page import token_of
from tests.integration.console.test_console import sign_in
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, Principal
from twinward.audit.models import AccessEvent
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.overview.log import permit_to_examine
from twinward.overview.people import look_up

WHY = "the patient asks who read her record"


def patient(house: House, twin: TwinId) -> dict[str, object]:
    context = AccessContext(Principal("dr-lee", Role.CLINICIAN), Purpose.TREATMENT)
    permit = house.node.access.decide(context.request(Action.READ, twin, {Category.DEMOGRAPHICS}))
    return msgspec.json.decode(house.node.vault.read_twin(permit, record_type="Patient")[0].content)  # type: ignore[no-any-return]


def events_since(house: House, size: int) -> list[AccessEvent]:
    permit = permit_to_examine(house.node.access, AccessContext(OFFICER, Purpose.COMPLIANCE), "test")
    rows = [house.node.audit_reader.event(permit, index) for index in range(size, house.size() - 1)]
    return [row.event for row in rows if row.event]


def ask(web: TestClient, **said: str) -> str:
    token = token_of(web.get("/console/people").text)
    answer = web.post("/console/people", data={"csrf": token, "reason": WHY} | said)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return answer.text


def test_an_identifier_opens_its_patient_alone_and_both_stand_in_the_log(web: TestClient, console_house: House) -> None:
    twin = console_house.twins[1]
    of = patient(console_house, twin)
    number = of["identifier"][0]["value"]  # type: ignore[index]
    family = of["name"][0]["family"]  # type: ignore[index]
    sign_in(web)
    empty = web.get("/console/people")
    assert empty.status_code == 200
    assert 'name="identifier" value=""' in empty.text
    before = console_house.size() + 1
    page = ask(web, identifier=number)
    assert f"/console/accesses?twin={twin}" in page
    assert family in page
    search, opened = events_since(console_house, before)
    assert (search.action, search.twin, opened.action, opened.twin) == (Action.SEARCH, None, Action.SEARCH, twin)
    for event in (search, opened):
        assert event.decision == "permit"
        assert event.reason == "data officers may look up which twin is whose, with a reason"
        assert dict(event.detail)["justification"] == WHY
        assert number not in str(event.detail)
    assert family not in web.get("/console/accesses").text


def test_a_name_opens_everybody_and_says_so(web: TestClient, console_house: House) -> None:
    of = patient(console_house, console_house.twins[0])
    family = of["name"][0]["family"]  # type: ignore[index]
    sign_in(web)
    page = ask(web, name=family[:4].upper())
    assert f"/console/accesses?twin={console_house.twins[0]}" in page
    assert f"{len(console_house.twins)} patients&#39; demographics were" in page or "demographics were opened" in page
    assert "Nobody found" in ask(web, name="Nobody-Has-This-Name")


@pytest.mark.parametrize(
    "said",
    [
        {"identifier": "1", "reason": ""},
        {"identifier": "1", "reason": "xxxxxxxxxxxxxxxx"},
        {"identifier": "", "name": ""},
        {"identifier": "1", "name": "Lee"},
        {"name": "x" * 101},
    ],
)
def test_without_a_reason_or_a_question_nothing_is_looked_up(
    web: TestClient, console_house: House, said: dict[str, str]
) -> None:
    sign_in(web)
    token = token_of(web.get("/console/people").text)
    before = console_house.size()
    answer = web.post("/console/people", data={"csrf": token, "reason": WHY} | said)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert console_house.size() == before


def test_a_form_of_another_session_looks_nobody_up(web: TestClient) -> None:
    sign_in(web)
    assert web.post("/console/people", data={"csrf": "no", "identifier": "1", "reason": WHY}).status_code == 403


@pytest.mark.parametrize("role", [one for one in Role if one not in (Role.OFFICER, Role.NODE)])
def test_only_officers_look_people_up(console_house: House, role: Role) -> None:
    with pytest.raises(AccessDenied):
        look_up(console_house.node, Principal("somebody", role), identifier="1", reason=WHY)


def test_officers_may_search_for_nothing_else(console_house: House) -> None:
    context = AccessContext(OFFICER, Purpose.COMPLIANCE, WHY)
    for categories in ({Category.LABS}, {Category.DEMOGRAPHICS, Category.LABS}, set(Category), set()):
        assert not console_house.node.access.check(
            context.request(Action.SEARCH, console_house.twins[0], categories)
        ).permitted
    assert not console_house.node.access.check(
        AccessContext(OFFICER, Purpose.COMPLIANCE).request(Action.SEARCH, None, {Category.DEMOGRAPHICS})
    ).permitted
