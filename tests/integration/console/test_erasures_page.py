"""Erasing in the console: looked at first, proposed by one officer, approved by another, and shown by a receipt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.integration.cli.conftest import run
from tests.integration.console.fixtures import OFFICER, SYSTEMS, House, build
from tests.integration.console.test_console import sign_in
from tests.integration.console.test_emergencies_page import csrf
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, Principal
from twinward.audit.models import Filters
from twinward.core.clock import FixedClock
from twinward.core.errors import Conflict, NotFound
from twinward.core.vocabulary import Action, Category, Purpose, Role
from twinward.erasure.receipt import check_receipt
from twinward.overview.log import permit_to_examine
from twinward.vault.errors import TwinShredded

PAGE = "/console/erasures"
WHY = "the patient asked by letter & <b>in person</b>"
SECOND = AccessContext(SYSTEMS["officer"], Purpose.COMPLIANCE)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, clock: FixedClock) -> Iterator[House]:
    """A house of these tests alone: patients leave it."""
    built = build(tmp_path_factory.mktemp("erasing") / "home", patients=5, clock=clock)
    built.node.accounts.add_person(Principal("otto", Role.OFFICER, "Otto Officer"), "yet another password")
    yield built
    built.node.close()


@pytest.fixture(scope="module")
def desk(own: House, clock: FixedClock) -> Iterator[TestClient]:
    """An officer who has just signed in."""
    clock.advance(60_001)
    with TestClient(own.app, raise_server_exceptions=False, follow_redirects=False) as client:
        sign_in(client)
        yield client


def another(desk: TestClient) -> TestClient:
    """Another browser at the same node."""
    return TestClient(desk.app, raise_server_exceptions=False, follow_redirects=False)


def propose(web: TestClient, twin: str, *categories: str) -> str:
    """Propose by the form that the dry run shows; the proposal's name."""
    query = "".join(f"&category={one}" for one in categories)
    page = web.get(f"{PAGE}?twin={twin}{query}").text
    fields = dict(re.findall(r'<input type="hidden" name="(twin|purpose)" value="([^"]*)"', page))
    data = {**fields, "category": list(categories), "reason": WHY, "csrf": csrf(page)}
    before = set(names(web.get(PAGE).text))
    assert web.post(PAGE, data=data).headers["location"] == PAGE
    (name,) = set(names(web.get(PAGE).text)) - before
    return name


def names(page: str) -> list[str]:
    return re.findall(rf'action="{PAGE}/([0-9a-f]{{16}})/withdraw"', page)


def test_what_would_go_is_counted_and_nothing_goes(desk: TestClient, own: House) -> None:
    node, twin = own.node, own.twins[0]
    stored = node.store.count()
    page = desk.get(f"{PAGE}?twin={twin}").text
    held = node.vault.record_types(twin)
    assert held
    total = int(re.search(r"<dt>Records</dt><dd>(\d+) with", page)[1])  # type: ignore[index]
    assert total == sum(1 for _ in node.store.of_twin(twin))
    part = desk.get(f"{PAGE}?twin={twin}&category=labs").text
    labs = int(re.search(r"<dt>Records</dt><dd>(\d+) with", part)[1])  # type: ignore[index]
    left = int(re.search(r"(\d+) others stay", part)[1])  # type: ignore[index]
    assert (0 < labs < total, labs + left) == (True, total)
    assert "its row leaves the running cohort" in page
    assert f"{node.erasures.plan().keys - 1} keys of other twins" in page
    assert (node.store.count(), node.keyring.is_shredded(twin)) == (stored, False)
    assert "There is no such twin" in desk.get(f"{PAGE}?twin=nobody").text


def test_two_officers_erase_a_patient_and_the_receipt_holds(desk: TestClient, own: House) -> None:
    node, twin = own.node, own.twins[0]
    name = propose(desk, twin)
    page = desk.get(PAGE).text
    assert "&lt;b&gt;in person&lt;/b&gt;" in page
    assert f"{name}/approve" not in page  # one's own
    token = csrf(page)
    assert desk.post(f"{PAGE}/{name}/approve", data={"csrf": token}).status_code == 409
    assert desk.get(f"{PAGE}/{name}/receipt").status_code == 409
    assert "1 proposed erasure waits for a second officer" in desk.get("/console").text
    assert not node.keyring.is_shredded(twin)
    second = another(desk)
    sign_in(second, "yet another password", "otto")
    page = second.get(PAGE).text
    assert f"{name}/approve" in page
    assert second.post(f"{PAGE}/{name}/approve", data={"csrf": csrf(page)}).status_code == 303
    assert node.keyring.is_shredded(twin)
    assert "keys destroyed, backups being closed" in desk.get(PAGE).text
    (done,) = node.erasure_desk.carry_on()
    assert node.erasure_desk.carry_on() == []
    page = desk.get(PAGE).text
    assert "approved by otto" in page
    assert names(page) == []
    file = desk.get(f"{PAGE}/{name}/receipt")
    assert file.status_code == 200
    held = check_receipt(file.content, node.trust())
    assert (held.twin, held.agent, held.index, held.proposed_by) == (twin, "otto", done.done_at_index, "officer")
    permit = permit_to_examine(node.access, SECOND, "test")
    (row,) = [
        one
        for one in node.audit_reader.events(permit, limit=100, filters=Filters(action=Action.SHRED)).rows
        if one.event and ("shredded", "done") in one.event.detail
    ]
    assert row.event is not None
    assert row.event.purpose is Purpose.PATIENT_REQUEST
    for again in ("approve", "withdraw"):
        assert second.post(f"{PAGE}/{name}/{again}", data={"csrf": csrf(second.get(PAGE).text)}).status_code == 409


def test_a_category_goes_and_the_rest_stays(desk: TestClient, own: House) -> None:
    node, twin = own.node, own.twins[1]
    name = propose(desk, twin, "labs", "vitals")
    node.erasure_desk.approve(SECOND, name)
    node.erasure_desk.carry_on()
    one = node.erasure_desk.proposal(name)
    assert (one.state, one.twin) == ("done", twin)
    assert one.categories == {Category.LABS, Category.VITALS}
    assert not node.keyring.is_shredded(twin)
    assert "labs" not in desk.get(f"{PAGE}?twin={twin}").text.split("<dt>Records</dt>")[1].split("</dd>")[0]


def test_what_is_typed_stands_on_the_page_and_what_is_clicked_in_the_list(
    desk: TestClient, own: House, tmp_path: Path
) -> None:
    """Another process on the same home; both ways, and refused to the one who proposed."""
    node, twin = own.node, own.twins[4]
    own_home = ("--home", str(node.settings.home))

    def typed(*arguments: str) -> Any:
        done = run("erasure", *arguments, "--json", *own_home)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    clicked = propose(desk, twin, "labs")
    asked = ("propose", twin, "--category", "notes", "--as", "otto", "--purpose", "PATRQT")
    assert run("erasure", *asked, "--reason", "x", *own_home).exit_code == 2
    assert run("erasure", *asked[:-1], "TREAT", "--reason", WHY, *own_home).exit_code == 2
    made = typed(*asked, "--reason", WHY)
    assert set(names(desk.get(PAGE).text)) == {clicked, made["erasure"]}
    waiting = {
        one["erasure"]: one["proposed_by"]
        for one in typed("list", "--as", "otto")["erasures"]
        if one["state"] == "waiting"
    }
    assert waiting == {clicked: "officer", made["erasure"]: "otto"}
    file, out = tmp_path / "labs.proof", ("--out", str(tmp_path / "labs.proof"))
    for words, code in (
        (("approve", made["erasure"], "--as", "otto", "--yes"), 4),
        (("approve", clicked, "--as", "otto"), 2),
        (("approve", clicked, "--as", "dr-lee", "--yes"), 6),
        (("receipt", clicked, "--as", "otto", *out), 4),
        (("withdraw", "0" * 16, "--as", "otto"), 3),
    ):
        assert run("erasure", *words, *own_home).exit_code == code, words
    assert not file.exists()
    done = typed("approve", clicked, "--as", "otto", "--yes")
    assert (done["state"], done["approved_by"]) == ("done", "otto")
    assert "approved by otto" in desk.get(PAGE).text
    from_page = desk.get(f"{PAGE}/{clicked}/receipt").content  # it signs the log, by this test's clock
    typed("receipt", clicked, "--as", "otto", *out)
    assert file.read_bytes() == from_page
    held = check_receipt(from_page, node.trust())
    assert (held.twin, held.agent, held.proposed_by) == (twin, "otto", "officer")
    assert typed("withdraw", made["erasure"], "--as", "otto") == {"withdrawn": made["erasure"]}
    assert names(desk.get(PAGE).text) == []


def test_what_is_withdrawn_or_done_by_others_waits_no_more(desk: TestClient, own: House) -> None:
    node, twin = own.node, own.twins[2]
    name = propose(desk, twin)
    assert desk.post(PAGE, data={"twin": twin, "purpose": "PATRQT", "reason": WHY, "csrf": csrf(desk.get(PAGE).text)})
    assert len(names(desk.get(PAGE).text)) == 1  # the same a second time
    assert desk.post(f"{PAGE}/{name}/withdraw", data={"csrf": csrf(desk.get(PAGE).text)}).status_code == 303
    with pytest.raises(Conflict):
        node.erasure_desk.approve(SECOND, name)
    name = propose(desk, twin)
    node.erasures.erase([AccessContext(OFFICER, Purpose.PATIENT_REQUEST).request(Action.SHRED, twin)])
    assert node.erasure_desk.proposal(name).state == "moot"
    with pytest.raises(Conflict):
        node.erasure_desk.approve(SECOND, name)
    with pytest.raises(NotFound):
        node.erasure_desk.propose(SECOND, twin, (), "it is erased already, as is known")
    with pytest.raises(TwinShredded):
        node.keyring.keys(twin)


def test_strangers_forged_forms_and_others_change_nothing(desk: TestClient, own: House) -> None:
    twin = own.twins[3]
    name = propose(desk, twin)
    size = own.size()
    forms = (
        (PAGE, {"twin": twin, "purpose": "PATRQT", "reason": WHY}),
        *((f"{PAGE}/{name}/{one}", {}) for one in ("approve", "withdraw")),
    )
    for path, data in forms:
        assert desk.post(path, data=data | {"csrf": "x" * 32}).status_code == 403
    assert own.size() == size
    token = csrf(desk.get(PAGE).text)
    for wrong in ({"purpose": "TREAT"}, {"reason": "."}, {"twin": "nobody"}, {"category": "nonsense"}):
        assert desk.post(PAGE, data=forms[0][1] | {"csrf": token} | wrong).status_code in (400, 403, 404)
    assert desk.post(f"{PAGE}/{'0' * 16}/approve", data={"csrf": token}).status_code == 404
    with pytest.raises(AccessDenied):
        own.node.erasure_desk.approve(AccessContext(SYSTEMS["clinician"], Purpose.TREATMENT), name)
    stranger = another(desk)
    for path, data in forms:
        assert stranger.post(path, data=data | {"csrf": token}).headers["location"] == "/console/sign-in"
    assert stranger.get(f"{PAGE}/{name}/receipt").headers["location"] == "/console/sign-in"
    assert own.node.erasure_desk.proposal(name).state == "waiting"
