"""A patient in the console: their own record and nothing else, whatever is asked for."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.integration.api.test_reason import api_routes
from tests.integration.console.fixtures import CLINICIAN, OFFICER, PASSWORD, House, build
from twinward.access.interfaces import AccessContext, Principal
from twinward.api.app import create_app
from twinward.console import mount
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import SENSITIVE, Action, Category, Purpose, Role, TwinId
from twinward.node import open_node
from twinward.overview.log import permit_to_examine

MINE = (
    *("/console/my", "/console/my/accesses", "/console/my/consents"),
    *("/console/my/studies", "/console/my/downloads"),
)
FILES = ("/console/my/record.json", "/console/my/accesses.json", "/console/my/accesses.pdf")
UNKNOWN = TwinId("00000000-0000-7000-8000-000000000000")
PLACES = {
    "number": "1",
    "vendor": "acme",
    "twin": "TWIN",
    "index": "0",
    "account": "officer",
    "name": "0" * 16,
    "digest": "0" * 64,
    "emergency": "0" * 16,
    "alert": UNKNOWN,
    "rest": "nowhere",
    "form": "pdf",
    "day": "2026-01-01",
}


@dataclass
class Hospital:
    house: House
    app: FastAPI
    clock: FixedClock

    @property
    def twins(self) -> tuple[TwinId, ...]:
        return self.house.twins


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    clock = FixedClock()
    house = build(tmp_path_factory.mktemp("patients") / "home", patients=2, clock=clock)
    node = house.node
    officer = AccessContext(node.accounts.named("officer"), Purpose.COMPLIANCE)
    for account, twin in (("ann", house.twins[0]), ("ben", house.twins[1])):
        node.account_desk.add_patient(account, account.title(), PASSWORD, twin, officer)
    node.audit.checkpoint_and_anchor()
    app = create_app(node)
    mount(app, node)
    yield Hospital(house, app, clock)
    node.close()


@pytest.fixture
def web(hospital: Hospital) -> Iterator[TestClient]:
    hospital.clock.advance(60_001)
    with TestClient(hospital.app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture
def ann(web: TestClient) -> TestClient:
    assert sign_in(web, "ann").headers["location"] == "/console"
    return web


def sign_in(web: TestClient, account: str) -> httpx.Response:
    form = csrf_of(web.get("/console/sign-in"))
    return web.post("/console/sign-in", data={"account": account, "password": PASSWORD, "csrf": form})


def csrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def newest(hospital: Hospital) -> tuple[str, str, str, str | None]:
    node = hospital.house.node
    permit = node.access.decide(AccessContext(node.accounts.named("officer"), Purpose.COMPLIANCE).request(Action.AUDIT))
    rows = node.audit_reader.events(permit).rows[1:]
    event = next(one.event for one in rows if one.event and one.event.agent != "node")
    return event.agent, event.action.value, event.decision, event.twin


def choose(web: TestClient, *added: str, keep: tuple[int, ...] | None = None, **other: str) -> httpx.Response:
    page = web.get("/console/my/consents")
    version = re.search(r'name="version" value="(\d+)"', page.text)
    assert version
    places = re.findall(r'name="keep" value="(\d+)"', page.text) if keep is None else [str(one) for one in keep]
    form = {"csrf": csrf_of(page), "version": version[1], "keep": places, "add": list(added)} | other
    return web.post("/console/my/consents", data=form)


def test_home_is_ones_own_page(ann: TestClient) -> None:
    assert ann.get("/console").headers["location"] == "/console/my"
    for page in MINE:
        answer = ann.get(page)
        assert answer.status_code == 200
        assert "twinward " not in answer.text
        assert "/console/accesses" not in answer.text
    assert ann.get("/console/account").status_code == 200
    assert "All accounts" not in ann.get("/console/account").text


def test_every_page_of_officers_is_refused_alike_whatever_it_names(ann: TestClient, hospital: Hospital) -> None:
    """Every address of the console is walked, so that a page that is added is refused too."""
    open_to_all = re.compile(
        r"/console/(my|account|confirm|preferences|sign-in|sign-out|signed-out|static)(/|$)|/console$"
    )
    walked = 0
    for route in api_routes(hospital.app.routes):
        if (
            not route.path.startswith("/console/")
            or open_to_all.match(route.path)
            or route.path.endswith("{rest:path}")
        ):
            continue
        for method in route.methods:
            said = set()
            for twin in (*hospital.twins, UNKNOWN):
                path = re.sub(r"\{(\w+)[^}]*\}", lambda one: PLACES[one[1]], route.path).replace("TWIN", twin)
                form = {"csrf": "x", "twin": twin, "format": "pdf", "old": "1"}
                sent = {"params": form} if method == "GET" else {"data": form}
                answer = ann.request(method, path, **sent)  # type: ignore[arg-type]
                assert answer.status_code in (400, 403), (method, path, answer.status_code)
                said.add(answer.text.replace(twin, ""))
            assert len(said) == 1, route.path
            walked += 1
    assert walked > 30


def test_an_officer_has_no_record_here(web: TestClient) -> None:
    sign_in(web, "officer")
    for page in (*MINE, *FILES):
        assert web.get(page).status_code == 403


def test_a_patient_reads_who_what_and_why_and_never_of_another(ann: TestClient, hospital: Hospital) -> None:
    other = hospital.twins[1]
    for address in (
        "/console/my/accesses",
        f"/console/my/accesses?twin={other}",
        f"/console/my/accesses?before={10**6}",
    ):
        page = html.unescape(ann.get(address).text)
        assert other not in page
        assert "Dr. Lee (dr-lee)" in page
        assert "who treats patients here, cardiology" in page
        assert "laboratory results, to treat you" in page
        assert 'patient found <unconscious> & "cold"' in page
        assert "tied to this patient" in page
    assert newest(hospital) == ("ann", "audit", "permit", hospital.twins[0])
    assert ann.get("/console/my/accesses?before=x").status_code == 400


def test_own_looks_fill_the_list_only_when_asked_for(ann: TestClient) -> None:
    ann.get("/console/my/accesses")
    assert ">You<" not in ann.get("/console/my/accesses").text
    assert ">You<" in ann.get("/console/my/accesses?looks=yes").text


def test_what_the_hospitals_system_does_again_is_one_line(ann: TestClient, hospital: Hospital) -> None:
    """Each look at "How are they connected" is one of the system's, and would fill the page; a person's never fold."""
    for _ in range(3):
        ann.get("/console/my/accesses?related=yes")
    newest_line = html.unescape(ann.get("/console/my/accesses").text).split('<li class="card"')[1]
    assert "by itself" in newest_line
    assert ", 3 times since <time" in newest_line
    for _ in range(2):
        hospital.house.read(CLINICIAN, hospital.twins[0], Category.LABS)
    lines = ann.get("/console/my/accesses").text.split('<li class="card"')
    assert [("laboratory results, to treat you" in one, "times since" in one) for one in lines[1:4]] == [
        (True, False),
        (True, False),
        (False, True),
    ]


def test_what_an_officer_examines_again_is_one_line_and_what_they_read_is_not(
    ann: TestClient, hospital: Hospital
) -> None:
    house, twin = hospital.house, hospital.twins[0]
    officer = AccessContext(OFFICER, Purpose.COMPLIANCE)
    for page in ("accesses", "accesses", "exports"):
        permit_to_examine(house.node.access, officer, page, twin)
    house.read(CLINICIAN, twin, Category.LABS)
    permit_to_examine(house.node.access, officer, "accesses", twin)
    for _ in range(2):
        house.read(OFFICER, twin, Category.LABS, purpose=Purpose.COMPLIANCE)  # refused or not, it was the record
    lines = ann.get("/console/my/accesses").text.split('<li class="card"')[1:6]
    assert ["times since" in one for one in lines] == [False, False, False, False, True]
    assert ", 3 times since <time" in lines[4]
    assert "laboratory results, to treat you" in lines[3]


def test_the_list_is_paged_without_gap_or_twice(ann: TestClient, hospital: Hospital) -> None:
    house = hospital.house
    for _ in range(60):
        house.read(CLINICIAN, hospital.twins[0], Category.IMAGING)
    tied: list[bool] = []
    seen, address = 0, "/console/my/accesses"
    while address:
        page = ann.get(address).text
        seen += page.count(": images, to treat you")
        tied = [*tied, "tied to this patient" in page]
        older = re.search(r'href="([^"]*before=[^"]*)"', page)
        address = html.unescape(older[1]) if older else ""
    assert seen == 60
    assert tied.count(True) == 1
    assert not tied[0]  # the first page is the newest


def test_a_patient_changes_their_own_consent_and_sees_it_at_once(ann: TestClient, hospital: Hospital) -> None:
    access, mine, other = hospital.house.node.access, hospital.twins[0], hospital.twins[1]
    before = access.consent_of(mine)
    theirs = access.consent_of(other)
    assert choose(ann, "research").status_code == 303
    assert newest(hospital) == ("ann", "consent", "permit", mine)
    now = access.consent_of(mine)
    assert now.version == before.version + 1
    assert set(before.provisions) < set(now.provisions)
    assert "Research here may learn" in ann.get("/console/my/consents").text
    assert choose(ann, keep=()).status_code == 303
    assert access.consent_of(mine).provisions == ()
    assert choose(ann, "similar", twin=other).status_code == 303
    assert access.consent_of(other) == theirs
    assert "changed what you consent to" in ann.get("/console/my/accesses").text


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({"version": "999"}, 409),
        ({"version": "-1"}, 400),
        ({"keep": "7"}, 400),
        ({"keep": "x"}, 400),
        ({"add": "everything"}, 400),
        ({"add": ["similar", "no-research"]}, 400),
        ({"csrf": "wrong"}, 403),
    ],
)
def test_what_is_no_choice_changes_nothing(
    ann: TestClient, hospital: Hospital, other: dict[str, str], status: int
) -> None:
    before = hospital.house.node.access.consent_of(hospital.twins[0])
    assert choose(ann, **other).status_code == status
    assert hospital.house.node.access.consent_of(hospital.twins[0]) == before


def test_a_no_to_everything_can_be_taken_back_by_whom_it_is(ann: TestClient, hospital: Hospital) -> None:
    from twinward.access.consent import Provision

    node = hospital.house.node
    node.access.set_consent(
        AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), hospital.twins[0], (Provision(effect="deny"),)
    )
    refused = ann.get("/console/my/record.json")
    assert refused.status_code == 403
    assert "data office" in refused.text
    assert "twinward " not in refused.text
    assert "No: everybody" in ann.get("/console/my/consents").text
    assert ann.get("/console/my/accesses").status_code == 200
    assert choose(ann, keep=()).status_code == 303
    assert ann.get("/console/my/record.json").status_code == 200


def test_the_record_leaves_without_what_needs_explicit_consent(ann: TestClient, hospital: Hospital) -> None:
    choose(ann, keep=())
    answer = ann.get("/console/my/record.json")
    bundle = json.loads(answer.content)
    outcome = bundle["entry"][-1]["resource"]
    assert (bundle["resourceType"], bundle["type"], outcome["resourceType"]) == (
        "Bundle",
        "collection",
        "OperationOutcome",
    )
    kept_back = outcome["issue"][0]["diagnostics"]
    assert all(one.value in kept_back for one in SENSITIVE)
    assert {one["resource"]["resourceType"] for one in bundle["entry"]} > {"Patient", "Observation"}
    assert len([one for one in bundle["entry"] if one["resource"]["resourceType"] == "Patient"]) == 1
    assert "no-store" in answer.headers["cache-control"]
    choose(ann, "own")
    assert "explicit consent" not in ann.get("/console/my/record.json").text


def test_the_report_is_the_patients_own_and_proven(ann: TestClient, hospital: Hospital) -> None:
    proof = ann.get("/console/my/accesses.json")
    assert proof.status_code == 200
    assert hospital.twins[0] in proof.headers["content-disposition"]
    assert ann.get("/console/my/accesses.pdf").content.startswith(b"%PDF")
    assert newest(hospital) == ("ann", "audit", "permit", hospital.twins[0])


def test_files_and_changes_ask_anew_who_it_is(ann: TestClient, hospital: Hospital) -> None:
    form = csrf_of(ann.get("/console/my/consents"))
    hospital.clock.advance(hospital.house.node.settings.fresh_sign_in_s * 1000 + 1)
    assert "confirm that it is you" in ann.get("/console/my/consents").text
    for file in FILES:
        assert ann.get(file).headers["location"].startswith("/console/confirm?next=%2Fconsole%2Fmy%2F")
    answer = ann.post("/console/my/consents", data={"csrf": form, "version": "1", "add": "research"})
    assert answer.headers["location"] == "/console/confirm?next=%2Fconsole%2Fmy%2Fconsents"


@pytest.mark.parametrize("how", ["untie", "disable"])
def test_what_another_process_takes_away_ends_at_once(web: TestClient, hospital: Hospital, how: str) -> None:
    node = hospital.house.node
    node.account_desk.add_patient(how, "", PASSWORD, hospital.twins[0], _officer(hospital))
    sign_in(web, how)
    assert web.get("/console/my/accesses").status_code == 200
    with open_node(node.settings.home) as other:
        desk = other.account_desk
        (desk.untie if how == "untie" else desk.disable)(how, _officer(hospital))
    for page in (*MINE, *FILES):
        assert web.get(page).headers["location"] == "/console/sign-in"
    hospital.clock.advance(60_001)
    if how == "disable":
        assert sign_in(web, how).status_code == 401
        return
    sign_in(web, how)
    assert "not connected with a record yet" in web.get("/console/my").text
    for page in (*MINE[1:], *FILES):
        answer = web.get(page)
        assert answer.status_code == 403
        assert hospital.twins[0] not in answer.text


def _officer(hospital: Hospital) -> AccessContext:
    return AccessContext(hospital.house.node.accounts.named("officer"), Purpose.COMPLIANCE)


def test_an_officer_ties_and_unties_in_the_console(web: TestClient, hospital: Hospital) -> None:
    node = hospital.house.node
    node.accounts.add_person(Principal("una", Role.PATIENT, "Una"), PASSWORD)
    sign_in(web, "officer")
    page = "/console/accounts/una"
    form = {"csrf": csrf_of(web.get(page)), "twin": f" {hospital.twins[1]} "}
    assert "so it sees nothing" in web.get(page).text
    assert web.post(f"{page}/tie", data=form | {"csrf": "wrong"}).status_code == 403
    assert web.post(f"{page}/tie", data=form | {"twin": UNKNOWN}).status_code == 404
    assert web.post("/console/accounts/nurse/tie", data=form).status_code == 400
    assert node.accounts.record("una").twin is None
    assert web.post(f"{page}/tie", data=form).status_code == 303
    assert node.accounts.record("una").twin == hospital.twins[1]
    assert newest(hospital) == ("officer", "account", "permit", hospital.twins[1])
    assert web.post(f"{page}/tie", data=form).status_code == 409
    assert hospital.twins[1] in web.get(page).text
    assert web.post(f"{page}/untie", data={"csrf": "wrong"}).status_code == 403
    assert web.post(f"{page}/untie", data=form).status_code == 303
    assert node.accounts.record("una").twin is None
    hospital.clock.advance(node.settings.fresh_sign_in_s * 1000 + 1)
    assert web.post(f"{page}/tie", data=form).headers["location"].startswith("/console/confirm")


def test_where_nothing_connects_anybody_the_page_says_what_that_means(ann: TestClient) -> None:
    assert "how it is connected with your care" not in ann.get("/console/my/accesses").text
    page = ann.get("/console/my/accesses?related=yes").text
    assert "Of none of these accesses do the hospital&#39;s records say how it is connected" in page.replace(
        "'", "&#39;"
    )
