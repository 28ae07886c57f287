"""The doctor on a real node: in order it says so, and each thing that is wrong is named with what to type."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.integration.console.fixtures import CLINICIAN, OFFICER, SYSTEMS, House, build
from twinward.access.errors import PolicyInvalid
from twinward.access.interfaces import AccessContext, AccessRequest
from twinward.breach.models import HOUR_MS, Scope, ScopeKind
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Category, Purpose, Role
from twinward.overview.doctor import CHECKS, Finding, Severity, examined
from twinward.overview.work import work_waiting


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = build(tmp_path_factory.mktemp("doctor") / "home", patients=2, clock=FixedClock())
    yield made
    made.node.close()


def found(house: House) -> dict[str, Finding]:
    return {one.check: one for one in examined(house.node)}


def test_a_node_in_order_has_nothing_bad_and_every_check_speaks(house: House) -> None:
    findings = found(house)
    assert list(findings) == list(CHECKS)
    assert {one.check for one in findings.values() if one.severity is Severity.BAD} == set()
    assert all(one.say and (one.remedy or one.severity is Severity.OK) for one in findings.values())
    assert findings["emergencies"].severity is Severity.NOTE  # the first day's
    assert findings["server"].remedy == "twinward node serve"


def test_what_is_overdue_is_bad_and_waits_on_home(house: House) -> None:
    node = house.node
    permit = node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
    node.breaches.open(permit, Scope(ScopeKind.ACCOUNT, account="dr-lee"), "somebody read too much")
    assert found(house)["breaches"].severity is Severity.NOTE
    assert isinstance(node.clock, FixedClock)
    node.clock.advance(73 * HOUR_MS)
    findings = found(house)
    assert (findings["breaches"].severity, findings["breaches"].remedy) == (
        Severity.BAD,
        "twinward breach list --as OFFICER",
    )
    assert findings["emergencies"].severity is Severity.BAD
    asked = AccessContext(OFFICER, Purpose.COMPLIANCE)
    proposal = node.policy_desk.propose(asked, node.policy.current().text + "// anew\n", "to see that it waits")
    assert found(house)["policy"].severity is Severity.NOTE
    waiting = {one.kind: (one.count, one.overdue) for one in work_waiting(node)}
    assert waiting == {"reviews": (None, 0), "emergencies": (1, 1), "breaches": (1, 1), "policy": (1, 0)}
    node.policy_desk.withdraw(asked, proposal.name)


def test_rules_that_the_policy_in_force_lacks_are_named(house: House) -> None:
    node = house.node
    lacking = re.sub(r'@id\("officer-reviews"\).*?;\n', "", node.policy.current().text, flags=re.DOTALL)
    asked = AccessContext(OFFICER, Purpose.COMPLIANCE)
    proposal = node.policy_desk.propose(asked, lacking, "officers do not review here any more")
    node.policy_desk.approve(AccessContext(SYSTEMS["officer"], Purpose.COMPLIANCE), proposal.name)
    said = found(house)["policy"]
    assert (said.severity, "officer-reviews" in said.say) == (Severity.NOTE, True)
    back = node.policy_desk.restore(asked, 0, "officers review after all, as was decided")
    node.policy_desk.approve(AccessContext(SYSTEMS["officer"], Purpose.COMPLIANCE), back.name)
    assert found(house)["policy"].severity is Severity.OK


def test_networks_that_rules_name_and_settings_do_not_are_told_of(house: House) -> None:
    node = house.node
    rule = '@id("a") @say("b") forbid (principal, action, resource) when { context.network == Network::"annexe" };'
    asked, other = (AccessContext(who, Purpose.COMPLIANCE) for who in (OFFICER, SYSTEMS["officer"]))
    desk = replace(node.policy_desk, networks=("annexe", *node.networks.names))  # as the settings were once
    proposal = desk.propose(asked, node.policy.current().text + rule, "nobody works in the annexe")
    with pytest.raises(PolicyInvalid, match="no network annexe"):
        node.policy_desk.approve(other, proposal.name)
    desk.approve(other, proposal.name)
    said = found(house)["policy"]
    assert (said.severity, "annexe" in said.say) == (Severity.WARN, True)
    back = node.policy_desk.restore(asked, 0, "the annexe is gone")
    node.policy_desk.approve(other, back.name)
    assert found(house)["policy"].severity is Severity.OK


def test_settings_that_open_a_door_are_named(house: House) -> None:
    settings = house.node.settings
    try:
        house.node.settings = settings.model_copy(update={"listen_host": "192.0.2.1"})
        assert found(house)["network"].severity is Severity.BAD
        house.node.settings = house.node.settings.model_copy(update={"public_url": "https://st-anna.example"})
        for roles, severity in (
            ((), Severity.WARN),
            ((Role.OFFICER,), Severity.WARN),  # clinicians and operators sign in to the console, too
            ((Role.OFFICER, Role.CLINICIAN, Role.OPERATOR), Severity.OK),
        ):
            house.node.settings = house.node.settings.model_copy(update={"second_factor_roles": roles})
            assert found(house)["network"].severity is severity
    finally:
        house.node.settings = settings


def test_a_store_that_was_altered_is_bad_and_the_other_checks_are_still_made(house: House) -> None:
    file = house.node.settings.home / "accounts.db"
    kept = "UPDATE account_record SET record = replace(record, '\"disabled\":{}', '\"disabled\":{}') WHERE id = 'nurse'"
    with sqlite3.connect(file) as db:
        db.execute(kept.format("false", "true"))
    db.close()
    try:
        findings = found(house)
        assert findings["stores"].severity is Severity.BAD
        assert "altered" in findings["stores"].say
        assert len(findings) == len(CHECKS)
    finally:
        with sqlite3.connect(file) as db:
            db.execute(kept.format("true", "false"))
        db.close()


def test_no_finding_names_a_patient_or_a_secret(house: House) -> None:
    emergency = AccessRequest(
        CLINICIAN,
        Action.READ,
        Purpose.EMERGENCY,
        house.twins[0],
        frozenset({Category.LABS}),
        "collapsed in the corridor",
    )
    house.node.access.decide(replace(emergency))
    said = " ".join(f"{one.say} {one.remedy}" for one in examined(house.node))
    for secret in (*house.twins, *house.tokens.values(), "collapsed", "dr-lee"):
        assert secret not in said
