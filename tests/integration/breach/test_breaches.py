"""Cases of breaches on a real node: whom they affect, what they stand on, and that every process knows the same."""

from __future__ import annotations

import csv
import io
import multiprocessing
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.audit.pdf_text import text_of
from tests.integration.console.fixtures import CLINICIAN, OFFICER, SYSTEMS, House, build
from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessContext, AccessRequest, Permit
from twinward.audit.models import Filters
from twinward.audit.proofs.trust import check_proof
from twinward.breach.affected import ALTERED, SEALED_UNDER, SHOWN
from twinward.breach.drafts import places
from twinward.breach.errors import BreachConflict, BreachInvalid, NoSuchBreach
from twinward.breach.files import MAX_PROOFS, BreachFormat
from twinward.breach.models import AUTHORITY_MS, HOUR_MS, Audience, BreachCase, Outcome, Scope, ScopeKind
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.node import Node, open_node
from twinward.overview.breaches import file_of

TITLE = "a colleague looked at neighbours"
LEE = Scope(ScopeKind.ACCOUNT, account="dr-lee")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = build(tmp_path_factory.mktemp("breaches") / "home", patients=3, clock=FixedClock())
    yield made
    made.node.close()


def officers(node: Node) -> Permit:
    return node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))


def opened(house: House, scope: Scope = LEE) -> BreachCase:
    return house.node.breaches.open(officers(house.node), scope, TITLE)


def filled(house: House, case: BreachCase, audience: Audience = Audience.AUTHORITY) -> None:
    """A draft in which nothing is left to fill in."""
    node = house.node
    case = node.breaches.draft(officers(node), case.name, audience)
    text = case.drafts_for(audience)[-1].text
    for place in places(text):
        text = text.replace(place, "as was said on the telephone")
    node.breaches.draft(officers(node), case.name, audience, text)


def forward(house: House, milliseconds: int) -> None:
    assert isinstance(house.node.clock, FixedClock)
    house.node.clock.advance(milliseconds)


def by_hand(house: House, size: int, agent: str) -> dict[str, list[int]]:
    """Whom an account's permitted accesses affect, by reading the whole log."""
    node, found, before = house.node, dict[str, list[int]](), size
    permit = officers(node)
    while True:
        page = node.audit_reader.events(permit, before=before, limit=500)
        for row in page.rows:
            event = row.event
            permitted = event is not None and event.decision == "permit" and event.action in SHOWN | ALTERED
            if event and event.twin and event.agent == agent and permitted:
                found.setdefault(event.twin, []).insert(0, row.index)
        if page.before is None:
            return found
        before = page.before


# --- whom it affects -----------------------------------------------------------------------------------------------


def test_whom_an_account_affects_is_what_reading_the_whole_log_says(house: House) -> None:
    case = opened(house)
    found = house.node.breaches.assess(officers(house.node), case.name)
    expected = by_hand(house, found.size, "dr-lee")
    assert {one.twin: one.indices for one in found.subjects} == expected
    assert set(expected) == set(house.twins)
    assert found.refused > 0  # psychiatry without consent: it showed nothing
    assert found.accesses == sum(map(len, expected.values()))
    assert set(dict(found.categories)) == {"labs", "vitals", "conditions", "psychiatry"}
    kept = house.node.breaches.case(officers(house.node), case.name).assessment
    assert kept is not None
    assert (kept.size, kept.subjects, kept.accesses) == (found.size, len(expected), found.accesses)


def test_what_is_logged_after_the_assessment_is_not_in_it(house: House) -> None:
    case = opened(house)
    before = house.node.breaches.assess(officers(house.node), case.name)
    house.read(CLINICIAN, house.twins[0], Category.LABS)
    case = house.node.breaches.case(officers(house.node), case.name)
    assert house.node.breaches.affected(officers(house.node), case) == before
    after = house.node.breaches.assess(officers(house.node), case.name)
    assert after.accesses == before.accesses + 1


def test_a_time_holds_what_happened_in_it_and_nothing_else(house: House) -> None:
    forward(house, 3 * HOUR_MS)
    start = house.node.clock.now_ms()
    forward(house, 500)
    house.read(CLINICIAN, house.twins[0], Category.LABS)
    house.read(CLINICIAN, house.twins[1], Category.VITALS)
    end = house.node.clock.now_ms() + 1
    forward(house, 1000)
    house.read(CLINICIAN, house.twins[2], Category.LABS)  # the same minute, too late
    case = opened(house, Scope(ScopeKind.TIME, from_ms=start, until_ms=end))
    found = house.node.breaches.assess(officers(house.node), case.name)
    assert {one.twin for one in found.subjects} == set(house.twins[:2])
    narrowed = replace(LEE, from_ms=start, until_ms=end)
    assert house.node.breaches.assess(officers(house.node), opened(house, narrowed).name).accesses == 2


def test_a_patients_case_is_about_that_patient(house: House) -> None:
    case = opened(house, Scope(ScopeKind.PATIENT, twin=house.twins[1]))
    found = house.node.breaches.assess(officers(house.node), case.name)
    assert [one.twin for one in found.subjects] == [house.twins[1]]
    about = house.node.audit_reader.events(
        officers(house.node), filters=Filters(twin=house.twins[1], action=Action.BREACH)
    )
    assert [dict(row.event.detail)["step"] for row in about.rows if row.event] == ["concerns"]


def test_a_lost_key_affects_everybody_whose_key_it_may_have_wrapped(house: House) -> None:
    case = opened(house, Scope(ScopeKind.KEY, kek=1))
    found = house.node.breaches.assess(officers(house.node), case.name)
    assert set(house.twins) <= {one.twin for one in found.subjects}
    assert {one.known_by for one in found.subjects} == {SEALED_UNDER}
    assert found.accesses == 0
    text = house.node.breaches.draft(officers(house.node), case.name, Audience.AUTHORITY).drafts[-1][1].text
    assert "A key that opens health records was lost" in text


def test_a_vendors_case_wants_a_vendor(house: House) -> None:
    case = opened(house, Scope(ScopeKind.VENDOR, account="acme"))
    found = house.node.breaches.assess(officers(house.node), case.name)
    assert (found.subjects, found.refused) == ((), 1)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(ScopeKind.ACCOUNT, account="nobody"),
        Scope(ScopeKind.ACCOUNT),
        Scope(ScopeKind.VENDOR, account="dr-lee"),
        Scope(ScopeKind.PATIENT),
        Scope(ScopeKind.PATIENT, twin=TwinId("01941f29-7c00-7000-8000-0000000000ff")),
        Scope(ScopeKind.KEY, kek=7),
        Scope(ScopeKind.KEY),
        Scope(ScopeKind.TIME, from_ms=1),
        Scope(ScopeKind.TIME, from_ms=5, until_ms=5),
        Scope(ScopeKind.ACCOUNT, account="dr-lee", from_ms=1 << 60),
    ],
)
def test_a_scope_that_names_nothing_opens_no_case(house: House, scope: Scope) -> None:
    before = len(house.node.breaches.all(officers(house.node)))
    with pytest.raises(BreachInvalid):
        opened(house, scope)
    assert len(house.node.breaches.all(officers(house.node))) == before


# --- the clock -----------------------------------------------------------------------------------------------------


def test_the_clock_runs_from_when_the_hospital_became_aware(house: House) -> None:
    node = house.node
    aware = node.clock.now_ms() - 70 * HOUR_MS
    case = node.breaches.open(officers(node), LEE, TITLE, aware)
    assert (case.state(node.clock.now_ms()), case.due_ms) == ("open", aware + AUTHORITY_MS)
    before = node.breaches.counts()
    forward(house, 2 * HOUR_MS + 1)
    assert node.breaches.case(officers(node), case.name).state(node.clock.now_ms()) == "overdue"
    assert node.breaches.counts().overdue > before.overdue
    for wrong in (node.clock.now_ms() + 1, 0):
        with pytest.raises(BreachInvalid):
            node.breaches.open(officers(node), LEE, TITLE, wrong)


def test_nobody_is_told_late_without_a_reason(house: House) -> None:
    node, case = house.node, opened(house)
    filled(house, case)
    forward(house, AUTHORITY_MS + 1)
    with pytest.raises(BreachConflict, match="72 hours"):
        node.breaches.notify(officers(node), case.name, Audience.AUTHORITY, "by the portal")
    why = "the officer was ill and nobody stood in"
    told = node.breaches.notify(officers(node), case.name, Audience.AUTHORITY, "by the portal", late=why)
    assert told.state(node.clock.now_ms()) == "told"
    assert why in told.steps[-1].say


# --- steps ---------------------------------------------------------------------------------------------------------


def test_a_case_goes_its_way_and_is_closed_for_good(house: House) -> None:
    node, case = house.node, opened(house)
    with pytest.raises(BreachConflict, match="nobody has counted"):
        node.breaches.close(officers(node), case.name, Outcome.NO_RISK, "nothing left the hospital")
    node.breaches.assess(officers(node), case.name)
    with pytest.raises(BreachConflict, match="no draft"):
        node.breaches.notify(officers(node), case.name, Audience.AUTHORITY, "by the portal")
    node.breaches.draft(officers(node), case.name, Audience.AUTHORITY)
    with pytest.raises(BreachConflict, match="places to fill in"):
        node.breaches.notify(officers(node), case.name, Audience.AUTHORITY, "by the portal")
    with pytest.raises(BreachConflict, match="newest version"):
        node.breaches.draft(officers(node), case.name, Audience.AUTHORITY)
    with pytest.raises(BreachConflict, match="was not notified"):
        node.breaches.close(officers(node), case.name, Outcome.NOTIFIED, "everybody was told")
    text = node.breaches.case(officers(node), case.name).drafts[-1][1].text
    node.breaches.draft(officers(node), case.name, Audience.AUTHORITY, text.replace("[", "").replace("]", ""))
    node.breaches.notify(officers(node), case.name, Audience.AUTHORITY, "by the portal, case 117")
    closed = node.breaches.close(officers(node), case.name, Outcome.NOTIFIED, "everybody was told")
    assert closed.state(node.clock.now_ms()) == "closed"
    assert [one.kind for one in closed.steps] == ["opened", "assessed", "drafted", "drafted", "notified", "closed"]
    assert [one.index for one in closed.steps] == sorted(one.index for one in closed.steps)
    for step in (
        lambda: node.breaches.note(officers(node), case.name, "one more thing"),
        lambda: node.breaches.assess(officers(node), case.name),
        lambda: node.breaches.close(officers(node), case.name, Outcome.NO_BREACH, "it was none after all"),
    ):
        with pytest.raises(BreachConflict, match="closed"):
            step()


def test_every_step_is_an_event_that_says_who_took_it(house: House) -> None:
    node, case = house.node, opened(house)
    node.breaches.note(officers(node), case.name, "the account was disabled")
    step = node.breaches.case(officers(node), case.name).steps[-1]
    event = node.audit_reader.event(officers(node), step.index).event
    assert event is not None
    assert (event.agent, event.action, event.twin) == ("officer", Action.BREACH, None)
    assert dict(event.detail)["note"] == "the account was disabled"


@pytest.mark.parametrize("text", ["", "  \n ", ".", "x" * 30_001, "\ud800 and some words"])
def test_a_draft_that_cannot_be_kept_is_refused_and_nothing_is_logged(house: House, text: str) -> None:
    case = opened(house)
    size = house.size()
    permit = officers(house.node)
    with pytest.raises(BreachInvalid):
        house.node.breaches.draft(permit, case.name, Audience.PATIENTS, text)
    assert house.size() == size + 1


def test_the_longest_draft_fits_an_event_whatever_it_is_made_of(house: House) -> None:
    for filling in ('ab cd"' * 4990, "\\ef gh" * 4990, "患者さん" * 2490):
        text = f"to everybody: {filling}"
        case = house.node.breaches.draft(officers(house.node), opened(house).name, Audience.PATIENTS, text)
        assert case.drafts[-1][1].text.strip() == text.strip()


def test_only_a_permit_to_audit_opens_anything(house: House) -> None:
    node, case = house.node, opened(house)
    reading = node.access.decide(
        AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT, house.twins[0], frozenset({Category.LABS}))
    )
    forged = replace(officers(node), capability=b"\0" * 32)
    size = house.size()
    for permit in (reading, forged):
        for step in (
            lambda p: node.breaches.all(p),
            lambda p: node.breaches.case(p, case.name),
            lambda p: node.breaches.affected(p, case),
            lambda p: node.breaches.open(p, LEE, TITLE),
            lambda p: node.breaches.assess(p, case.name),
            lambda p: node.breaches.draft(p, case.name, Audience.AUTHORITY),
            lambda p: node.breaches.note(p, case.name, "some words here"),
            lambda p: node.breaches.notify(p, case.name, Audience.AUTHORITY, "by the portal"),
            lambda p: node.breaches.close(p, case.name, Outcome.NO_BREACH, "it was none"),
        ):
            with pytest.raises(PermitInvalid):
                step(permit)
    assert house.size() == size


@pytest.mark.slow
def test_a_case_outlives_its_patient(tmp_path: Path) -> None:
    house = build(tmp_path / "home", patients=2, clock=FixedClock())
    node, twin = house.node, house.twins[0]
    case = opened(house, Scope(ScopeKind.PATIENT, twin=twin))
    node.breaches.assess(officers(node), case.name)
    node.erasures._wait = lambda _: None
    node.erasures.erase([AccessContext(OFFICER, Purpose.PATIENT_REQUEST).request(Action.SHRED, twin)])
    node.close()
    with open_node(tmp_path / "home", clock=node.clock) as again:
        kept = again.breaches.case(officers(again), case.name)
        assert (kept.scope.twin, kept.title, kept.due_ms) == (None, TITLE, case.due_ms)
        assert again.breaches.affected(officers(again), kept).subjects == ()
        again.breaches.close(officers(again), case.name, Outcome.NO_RISK, "the patient had it erased")


# --- files ---------------------------------------------------------------------------------------------------------


def test_files_say_who_is_affected_and_prove_it(house: House) -> None:
    node, case = house.node, opened(house)
    filled(house, case)
    found = node.breaches.assess(officers(node), case.name)
    node.audit.checkpoint_and_anchor()
    case = node.breaches.case(officers(node), case.name)
    table = file_of(node, officers(node), case, BreachFormat.CSV)
    lines = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
    assert [line["twin"] for line in lines] == [one.twin for one in found.subjects]
    assert [len(line["log_entries"].split()) for line in lines] == [len(one.indices) for one in found.subjects]
    printed = text_of(file_of(node, officers(node), case, BreachFormat.PDF))
    for said in (TITLE, house.twins[0], "Who is affected", "article 33", case.name):
        assert said in printed
    trust = node.trust()
    with zipfile.ZipFile(io.BytesIO(file_of(node, officers(node), case, BreachFormat.PROOFS))) as archive:
        assert archive.read("affected.csv") == table
        names = [name for name in archive.namelist() if name.endswith(".proof")]
        assert len(names) == found.accesses <= MAX_PROOFS
        proven = check_proof(archive.read(names[0]), trust)
        assert proven.event is not None
        assert proven.event.agent == "dr-lee"


# --- two processes -------------------------------------------------------------------------------------------------


def _other(home: Path, name: str, answers: multiprocessing.Queue[object]) -> None:
    with open_node(home) as node:
        permit = officers(node)
        answers.put(node.breaches.case(permit, name).steps[-1].say)
        node.breaches.close(permit, name, Outcome.NO_BREACH, "another process found that it was none")


@pytest.mark.slow
def test_another_process_knows_a_case_at_once_and_its_steps_are_known_here(tmp_path: Path) -> None:
    house = build(tmp_path / "home", patients=1)
    node = house.node
    case = opened(house)
    node.breaches.note(officers(node), case.name, "seen by this process")
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    process = spawn.Process(target=_other, args=(tmp_path / "home", case.name, answers))
    process.start()
    assert answers.get(timeout=60) == "seen by this process"
    process.join(60)
    assert process.exitcode == 0
    with pytest.raises(BreachConflict, match="closed"):
        node.breaches.note(officers(node), case.name, "too late for this one")
    with pytest.raises(NoSuchBreach):
        node.breaches.case(officers(node), "0" * 16)
    assert SYSTEMS  # the house's
    node.close()
