"""Officers' steps under kill -9: an erasure goes on or begins again, a breach's case and the policy lose nothing."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.console.fixtures import OFFICER, House, build
from tests.integration.durability.officer_steps import POINTS, SECOND
from tests.tools import ROOT
from twinward.access.interfaces import AccessContext, AccessRequest
from twinward.audit.models import Filters
from twinward.breach.models import Scope, ScopeKind
from twinward.core.vocabulary import Action, Purpose
from twinward.erasure.proposals import ERASED, UNDER_WAY, WAITING
from twinward.node import open_node

pytestmark = pytest.mark.slow

ROUNDS = 4
Kill = Callable[[Path, str, str, str], str]


@pytest.fixture(scope="module")
def kill() -> Iterator[Kill]:
    command = [sys.executable, "-m", "tests.integration.durability.officer_steps"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def one(home: Path, job: str, when: str, name: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{home} {job} {when} {name}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield one
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> House:
    made = build(tmp_path_factory.mktemp("killed") / "home", patients=2)
    made.node.close()
    return made


@pytest.fixture
def home(built: House, tmp_path: Path) -> Path:
    shutil.copytree(built.node.settings.home, tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize("point", POINTS)
def test_an_approved_erasure_goes_on_or_begins_again(kill: Kill, built: House, home: Path, point: str) -> None:
    twin = built.twins[0]
    with open_node(home) as node:
        asked = AccessContext(OFFICER, Purpose.PATIENT_REQUEST)
        name = node.erasure_desk.propose(asked, twin, (), "the patient asked for it by letter").name
    assert kill(home, "erase", point, name) == "killed"
    with open_node(home) as node:
        one = node.erasure_desk.proposal(name)
        gone = point != "decided"
        assert node.keyring.is_shredded(twin) is gone
        assert one.state == (UNDER_WAY if gone else WAITING) or (point, one.state) == ("logged", ERASED)
        assert one.interrupted_by == ("" if gone else SECOND.principal.id)
        if not gone:
            assert any(node.store.of_twin(twin))  # nothing of it is touched
            node.erasure_desk.approve(SECOND, name)
        node.erasure_desk.carry_on()
        one = node.erasure_desk.proposal(name)
        assert (one.state, one.twin, one.approved_by) == (ERASED, twin, SECOND.principal.id)
        assert not any(node.store.of_twin(twin))
        assert node.keyring.unfinished() == []
        assert any(node.store.of_twin(built.twins[1]))
        assert node.audit.verify(deep=True).size == node.log.store.size()


def test_what_was_noted_on_a_breach_stands(kill: Kill, home: Path) -> None:
    chance = random.Random(2028)
    with open_node(home) as node:
        permit = node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
        name = node.breaches.open(permit, Scope(ScopeKind.ACCOUNT, account="dr-lee"), "read about neighbours").name
    for _ in range(ROUNDS):
        assert kill(home, "breach", f"{chance.uniform(0.05, 0.5):.3f}", name) == "killed"
    said = (home.parent / "done").read_text().splitlines()
    with open_node(home) as node:
        permit = node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
        steps = [one.say for one in node.breaches.case(permit, name).steps[1:]]
        assert said == [one for one in steps if one in set(said)]  # every one, once, in its order
        assert len(said) <= len(steps) <= len(said) + ROUNDS  # one a round may have been logged and not told
        node.breaches.note(permit, name, "and it goes on as before")
        assert node.audit.verify(deep=True).size == node.log.store.size()
    assert len(said) >= ROUNDS


def test_a_policy_is_in_force_whole_or_not_at_all(kill: Kill, home: Path) -> None:
    chance = random.Random(2029)
    for _ in range(ROUNDS):
        assert kill(home, "policy", f"{chance.uniform(0.05, 0.5):.3f}", "-") == "killed"
        with open_node(home) as node:
            versions = node.policy.versions()
            said = [int(one) for one in (home.parent / "done").read_text().splitlines()]
            assert [one.version for one in versions] == list(range(len(versions) - 1, -1, -1))
            assert said == sorted(set(said))
            assert versions[0].version >= max(said, default=0)
            assert node.policy.current().hash == versions[0].sha256
            node.policy.verify()
            permit = node.access.decide(AccessRequest(OFFICER, Action.AUDIT, Purpose.COMPLIANCE))
            approved = set[str]()
            for row in node.audit_reader.select(permit, Filters(action=Action.POLICY), stop=node.log.store.size()):
                if row.event is not None and ("step", "approved") in row.event.detail:
                    approved.add(dict(row.event.detail)["version"])
            assert {str(one.version) for one in versions[:-1]} <= approved  # none in force that the log does not know
            for left in node.policy.proposals():  # proposed, and killed before the approval: as good as ever
                node.policy_desk.withdraw(SECOND, left.name)
    assert max(said) >= ROUNDS
