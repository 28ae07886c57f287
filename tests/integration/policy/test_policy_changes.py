"""Changing the policy on a real node: two officers, every process at its next decision, and what would change."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.console.fixtures import CLINICIAN, OFFICER, SYSTEMS, House, build
from twinward.access.errors import AccessDenied, PermitWithdrawn, PolicyInvalid
from twinward.access.interfaces import AccessContext, AccessRequest, Permit, Principal
from twinward.access.policy import Policy
from twinward.access.policy_preview import Preview
from twinward.access.policy_rules import MAX_POLICY_BYTES, checked, rules, warnings
from twinward.access.policy_store import MOST_PROPOSALS
from twinward.audit.models import Filters
from twinward.core.errors import Conflict, NotFound, StoreAltered
from twinward.core.vocabulary import Action, Category, Purpose, Role, TwinId
from twinward.node import Node, open_node
from twinward.overview.policy import preview_of

OTTO = Principal("officer-api", Role.OFFICER, "Officer's scripts", "data office")
WHY = "as the board decided in May"
NO_CARE = '@id("no-care")\n@say("nobody is treated any more")\nforbid (principal, action == Action::"read", resource)\n'
NO_CARE += 'when { context.purpose == "TREAT" };\n'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> House:
    made = build(tmp_path_factory.mktemp("policy") / "home", patients=1)
    made.node.close()
    return made


@pytest.fixture
def house(built: House, tmp_path: Path) -> Iterator[House]:
    """A copy of its own."""
    shutil.copytree(built.node.settings.home, tmp_path / "home")
    with open_node(tmp_path / "home") as node:
        yield replace(built, node=node)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """For what changes nothing."""
    made = build(tmp_path_factory.mktemp("policy") / "home", patients=2)
    yield made
    made.node.close()


def asked(who: Principal = OFFICER) -> AccessContext:
    return AccessContext(who, Purpose.COMPLIANCE)


def reading(twin: TwinId) -> AccessRequest:
    return AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT, twin, frozenset({Category.LABS}))


def officers(node: Node) -> Permit:
    return node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))


def changed(node: Node, more: str = NO_CARE) -> None:
    """A change that one officer proposes and another approves."""
    proposal = node.policy_desk.propose(asked(), node.policy.current().text + more, WHY)
    node.policy_desk.approve(asked(OTTO), proposal.name)


def steps(node: Node) -> list[dict[str, str]]:
    page = node.audit_reader.events(officers(node), filters=Filters(action=Action.POLICY))
    return [dict(row.event.detail) | {"agent": row.event.agent} for row in reversed(page.rows) if row.event]


# --- in force ------------------------------------------------------------------------------------------------------


def test_a_change_takes_two_officers_and_decides_at_once(house: House) -> None:
    node, twin = house.node, house.twins[0]
    before = node.policy.current().hash
    permit = node.access.decide(reading(twin))
    proposal = node.policy_desk.propose(asked(), node.policy.current().text + NO_CARE, WHY)
    assert node.access.check(reading(twin)).permitted  # a proposal changes nothing
    with pytest.raises(Conflict, match="does not approve"):
        node.policy_desk.approve(asked(), proposal.name)
    version = node.policy_desk.approve(asked(OTTO), proposal.name)
    assert (version.version, version.proposed_by, version.approved_by) == (1, "officer", "officer-api")
    refused = node.access.check(reading(twin))
    assert (refused.permitted, refused.policy_hash) == (False, version.sha256)
    assert "nobody is treated any more" in refused.reason
    with pytest.raises(AccessDenied):
        node.access.decide(reading(twin))
    row = node.audit_reader.events(officers(node), filters=Filters(agent="dr-lee"), limit=1).rows[0]
    assert row.event is not None
    assert row.event.policy_hash == version.sha256 != before
    with pytest.raises(PermitWithdrawn):  # given before, by another policy
        node.authority.require(permit, action=Action.READ, twin=twin, category=Category.LABS)
    assert [one["step"] for one in steps(node)] == ["proposed", "approved"]
    assert hashlib.sha256(steps(node)[0]["text"].encode()).hexdigest() == steps(node)[1]["sha256"] == version.sha256


def test_an_earlier_version_is_brought_back_by_two_as_well(house: House) -> None:
    node = house.node
    first = node.policy.current().hash
    changed(node)
    back = node.policy_desk.restore(asked(OTTO), 0, "it stopped all care")
    assert not node.access.check(reading(house.twins[0])).permitted
    version = node.policy_desk.approve(asked(), back.name)
    assert (version.version, version.restores, version.sha256) == (2, 0, first)
    assert node.access.check(reading(house.twins[0])).permitted
    assert [one.version for one in node.policy.versions()] == [2, 1, 0]
    with pytest.raises(NotFound):
        node.policy_desk.restore(asked(), 9, WHY)


def test_what_was_looked_at_is_what_is_approved(house: House) -> None:
    node = house.node
    late = node.policy_desk.propose(asked(), node.policy.current().text + NO_CARE.replace("no-care", "late"), WHY)
    changed(node)
    with pytest.raises(Conflict, match="came into force since"):
        node.policy_desk.approve(asked(OTTO), late.name)
    node.policy_desk.withdraw(asked(OTTO), late.name)
    with pytest.raises(NotFound):
        node.policy_desk.approve(asked(OTTO), late.name)
    assert node.policy.proposals() == []
    assert [one["step"] for one in steps(node)] == ["proposed", "proposed", "approved", "withdrawn"]


def test_a_change_outlives_the_process_and_wins_over_the_settings(house: House, tmp_path: Path) -> None:
    changed(house.node)
    held = house.node.policy.current().hash
    house.node.close()
    with open_node(tmp_path / "home") as again:
        assert again.policy.current().hash == held
        assert again.policy.base.hash != held
        assert again.verify_stores()["policies"] == 4  # proposed; withdrawn as proposal, its version, in force


def _other(home: Path, ready: object, go: object, answers: multiprocessing.Queue[object]) -> None:
    with open_node(home) as node:
        twin = node.twins.all()[0]
        answers.put(node.access.check(reading(twin)).permitted)
        go.wait(60)  # type: ignore[attr-defined]
        answers.put((node.access.check(reading(twin)).permitted, node.access.check(reading(twin)).policy_hash))


@pytest.mark.slow
def test_another_process_decides_by_it_at_its_next_decision(house: House, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    go, answers = spawn.Event(), spawn.Queue()
    process = spawn.Process(target=_other, args=(tmp_path / "home", None, go, answers))
    process.start()
    assert answers.get(timeout=120) is True
    changed(house.node)
    go.set()
    assert answers.get(timeout=60) == (False, house.node.policy.current().hash)
    process.join(60)


# --- who may not ---------------------------------------------------------------------------------------------------


def test_nobody_but_officers_changes_anything(shared: House) -> None:
    node, text = shared.node, shared.node.policy.current().text + NO_CARE
    for who in (CLINICIAN, SYSTEMS["operator"], SYSTEMS["vendor"], SYSTEMS["researcher"]):
        for attempt in (
            lambda who=who: node.policy_desk.propose(asked(who), text, WHY),
            lambda who=who: node.policy_desk.restore(asked(who), 0, WHY),
            lambda who=who: node.policy_desk.approve(asked(who), "0" * 16),
            lambda who=who: node.policy_desk.withdraw(asked(who), "0" * 16),
        ):
            with pytest.raises(AccessDenied):
                attempt()
    assert node.policy.proposals() == []


def test_a_storage_operator_changes_no_rule(house: House, tmp_path: Path) -> None:
    changed(house.node)
    house.node.close()
    file = tmp_path / "home" / "policies.db"
    kept = file.read_bytes()
    lax = '{"version":1,"text":"permit (principal, action, resource);","at_ms":0,'
    lax += '"proposed_by":"a","approved_by":"b","reason":"c"}'
    for attack in (
        "UPDATE policy_record SET record = replace(record, 'forbid', 'permit') WHERE subject = 'version:1'",
        "DELETE FROM policy_record WHERE subject = 'in-force'",
        "DELETE FROM policy_record; DELETE FROM policy_change",
        "DELETE FROM policy_change WHERE seq > 1",
        f"INSERT INTO policy_record VALUES ('version:2', '{lax}')",
    ):
        file.write_bytes(kept)
        for end in ("-wal", "-shm"):
            file.with_name(file.name + end).unlink(missing_ok=True)
        with sqlite3.connect(file) as db:
            db.executescript(attack)
        db.close()
        with open_node(tmp_path / "home") as node, pytest.raises(StoreAltered):
            _looked_at(node, house.twins[0])


def _looked_at(node: Node, twin: TwinId) -> None:
    node.access.check(reading(twin))
    node.verify_stores()


def test_care_in_an_emergency_goes_on_by_the_settings_where_the_store_is_altered(house: House, tmp_path: Path) -> None:
    changed(house.node)
    house.node.close()
    with sqlite3.connect(tmp_path / "home" / "policies.db") as db:
        db.execute("DELETE FROM policy_change")
    db.close()
    with open_node(tmp_path / "home") as node:
        emergency = replace(
            reading(house.twins[0]), purpose=Purpose.EMERGENCY, justification="found unconscious at home"
        )
        assert node.access.decide(emergency).policy_hash == node.policy.base.hash
        with pytest.raises(StoreAltered):
            node.access.decide(reading(house.twins[0]))


# --- what may be proposed ------------------------------------------------------------------------------------------

DEFAULT = Policy.load().text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("permit (principal, action, resource", "does not parse"),
        ("", "a policy has rules"),
        (DEFAULT + 'forbid (principal, action, resource) when { context.purpos == "TREAT" };', "no name"),
        (DEFAULT + NO_CARE.replace("context.purpose", "context.purpos"), "no request has purpos$"),
        (DEFAULT + NO_CARE.replace('"read"', '"raed"'), "raed"),
        (DEFAULT + NO_CARE.replace('@say("nobody is treated any more")\n', ""), "no sentence"),
        (DEFAULT + NO_CARE + NO_CARE, "two rules"),
        (
            DEFAULT.replace('[Action::"audit", Action::"consent"]', '[Action::"consent"]'),
            "no officer could read the log",
        ),
        (DEFAULT.replace('action == Action::"policy"', 'action == Action::"note"'), "no officer could change"),
        (DEFAULT + "// " + "x" * MAX_POLICY_BYTES, "bytes at most"),
        (DEFAULT + "// \ud800", "UTF-8"),
    ],
)
def test_what_nobody_can_have_meant_is_refused_by_name(shared: House, text: str, said: str) -> None:
    size = shared.size()
    with pytest.raises(PolicyInvalid, match=said):
        shared.node.policy_desk.propose(asked(), text, WHY)
    assert shared.size() == size


def test_the_policy_that_ships_may_be_proposed_and_gives_nothing_to_think_about() -> None:
    assert warnings(checked(DEFAULT)) == []
    assert all(one.sentence and one.name for one in rules(DEFAULT))
    assert {one.permits for one in rules(DEFAULT)} == {True, False}


def test_what_an_officer_should_think_about_is_said() -> None:
    lax = checked(DEFAULT.replace('&& context.purpose == "CLINTRCH" && context.consent == "permit" };', "};"))
    assert any("vendor" in one and "without the patient's consent" in one for one in warnings(lax))


def test_only_so_many_changes_wait(house: House) -> None:
    for number in range(MOST_PROPOSALS):
        house.node.policy_desk.propose(asked(), DEFAULT + NO_CARE.replace("no-care", f"rule-{number}"), WHY)
    with pytest.raises(Conflict, match="wait already"):
        house.node.policy_desk.propose(asked(), DEFAULT + NO_CARE, WHY)


# --- what would change ---------------------------------------------------------------------------------------------


def previewed(house: House, text: str) -> Preview:
    return preview_of(house.node, officers(house.node), Policy(text))


def test_a_preview_says_which_decisions_would_come_out_otherwise(shared: House) -> None:
    found = previewed(shared, DEFAULT + NO_CARE)
    (only,) = found.differences
    assert (only.role, only.action, only.purpose, only.now, only.then) == ("clinician", "read", "TREAT", True, False)
    assert only.count == found.changed == 2 * len(shared.twins)  # the third read of each was refused before, too
    assert only.then_reason == "nobody is treated any more"
    for index in only.examples:
        event = shared.node.audit_reader.event(officers(shared.node), index).event
        assert event is not None
        assert (event.agent, event.decision) == ("dr-lee", "permit")


def test_the_same_policy_changes_no_decision_and_agrees_with_the_log(shared: House) -> None:
    found = previewed(shared, DEFAULT + "// a comment\n")
    assert (found.changed, found.unknown) == (0, 0)
    assert found.looked_at > 20


def test_a_preview_knows_the_consent_of_then(shared: House) -> None:
    text = DEFAULT.replace(
        '&& context.purpose == "CLINTRCH" && context.consent == "permit" };', '&& context.purpose == "CLINTRCH" };'
    )
    before = previewed(shared, text)
    twin = shared.twins[-1]
    shared.node.access.set_consent(AccessContext(OFFICER, Purpose.RECORD_MANAGEMENT), twin, ())
    assert previewed(shared, text).differences == before.differences
