"""Counting beside: what was asked for stands in the log before it is counted, and a kill -9 loses none of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.breach.test_breaches import LEE, TITLE, officers
from tests.integration.console.fixtures import CLINICIAN, OFFICER, SYSTEMS, House, build
from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessContext, AccessRequest
from twinward.breach.errors import BreachConflict
from twinward.breach.models import Outcome
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Category, Purpose
from twinward.node import open_node

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = build(tmp_path_factory.mktemp("counting") / "home", patients=3, clock=FixedClock())
    yield made
    made.node.close()


def opened(house: House) -> str:
    return house.node.breaches.open(officers(house.node), LEE, TITLE).name


def test_who_asks_waits_for_nothing_and_the_figures_are_of_the_moment_they_asked(house: House) -> None:
    node, name, goes_on = house.node, opened(house), threading.Event()
    node.beside.begin("something else", 1, lambda _: goes_on.wait(PATIENCE_S))
    node.breach_counting.ask(officers(node), name)
    size = house.size()
    node.breach_counting.ask(officers(node), name)
    assert house.size() == size + 1, "asked once more while it waits: the officer's own look, and no second count"
    case = node.breaches.case(officers(node), name)
    assert case.asked is not None
    assert (case.assessment, case.asked.by) == (None, OFFICER.id)
    assert node.breach_counting.standing(name).running
    house.read(CLINICIAN, house.twins[0], Category.LABS)  # too late for this count
    goes_on.set()
    assert node.breach_counting.standing(name, PATIENCE_S).trouble == ""
    case = node.breaches.case(officers(node), name)
    assert case.assessment is not None
    assert case.asked is None
    assert case.assessment.size < size
    assert [one.kind for one in case.steps] == ["opened", "counting", "assessed"]
    found = node.breaches.held(officers(node), case)
    assert found == node.breaches.affected(officers(node), case)
    again = node.breaches.assess(officers(node), name)
    assert again.accesses == found.accesses + 1 if found else 0


def test_how_far_it_is_comes_to_the_whole_log(house: House) -> None:
    told: list[tuple[int, int]] = []
    found = house.node.breaches.assess(officers(house.node), opened(house), lambda *so_far: told.append(so_far))
    assert [of for _, of in told] == [found.size] * len(told)
    done = [done for done, _ in told]
    assert done == sorted(done)
    assert 0 < done[-1] <= found.size


def test_a_closed_case_is_not_counted_and_who_may_not_look_asks_for_nothing(house: House) -> None:
    node, name = house.node, opened(house)
    reading = node.access.decide(
        AccessRequest(CLINICIAN, Action.READ, Purpose.TREATMENT, house.twins[0], frozenset({Category.LABS}))
    )
    size = house.size()
    for step in (
        lambda: node.breach_counting.ask(reading, name),
        lambda: node.breach_counting.read(reading, name),
        lambda: node.breaches.held(reading, node.breaches.case(reading, name)),
    ):
        with pytest.raises(PermitInvalid):
            step()
    assert house.size() == size
    node.breaches.assess(officers(node), name)
    node.breaches.close(officers(node), name, Outcome.NO_RISK, "nothing left the hospital")
    with pytest.raises(BreachConflict, match="closed"):
        node.breach_counting.ask(officers(node), name)


def test_a_case_that_is_closed_while_a_count_waits_shows_what_was_counted_before(house: House) -> None:
    node, name = house.node, opened(house)
    before = node.breaches.assess(officers(node), name)
    node.breaches.ask(officers(node), name)  # and its process ended
    node.breaches.close(officers(node), name, Outcome.NO_RISK, "nothing left the hospital")
    node.breaches._counted.clear()  # as a process that has just been started
    size = house.size()
    node.breach_counting.read(officers(node), name)
    assert node.breach_counting.standing(name, PATIENCE_S).trouble == ""
    case, found = node.breach_counting.read(officers(node), name)
    assert found == before
    assert case.assessment is not None
    assert house.size() == size + 2, "the officer's own looks; nothing more is counted in a closed case"


def _killed(home: Path, name: str) -> None:
    """A process that dies the moment the count is asked for, before it has counted anything."""
    with open_node(home) as node:
        node.beside.begin("something else", 1, lambda _: threading.Event().wait())
        node.breach_counting.ask(officers(node), name)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_count_that_a_kill_left_undone_is_gone_on_with_in_the_officers_name(tmp_path: Path) -> None:
    house = build(tmp_path / "home", patients=2)
    name = opened(house)
    expected = house.node.breaches.assess(officers(house.node), name)
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=(tmp_path / "home", name))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL
    node = house.node
    case = node.breaches.case(officers(node), name)
    assert case.asked is not None, "this process knows at once what the other one was asked for"
    node.breach_counting.go_on()  # as a served node does when it starts
    assert node.breach_counting.standing(name, PATIENCE_S).trouble == ""
    case = node.breaches.case(officers(node), name)
    assert case.assessment is not None
    assert case.asked is None
    assert (case.assessment.accesses, case.steps[-1].by) == (expected.accesses, OFFICER.id)
    size = house.size()
    node.breach_counting.go_on()
    assert house.size() == size, "it is counted once"
    node.close()


def test_what_was_asked_for_and_not_begun_is_begun_when_the_case_is_looked_at(house: House) -> None:
    node, name = house.node, opened(house)
    node.breaches.ask(officers(node), name)  # and its process ended
    node.breach_counting.read(officers(node), name)
    assert node.breach_counting.standing(name, PATIENCE_S).trouble == ""
    case, found = node.breach_counting.read(officers(node), name)
    assert case.asked is None
    assert found == node.breaches.affected(officers(node), case)


def test_a_count_of_somebody_who_is_no_officer_any_more_waits_for_another(house: House) -> None:
    node, name = house.node, opened(house)
    other = SYSTEMS["officer"]
    permit = node.access.decide(AccessRequest(other, Action.AUDIT, Purpose.COMPLIANCE))
    node.breaches.ask(permit, name)  # asked for, and its process ended
    node.account_desk.disable(other.id, AccessContext(OFFICER, Purpose.COMPLIANCE))
    node.breach_counting.go_on()
    trouble = node.breach_counting.standing(name, PATIENCE_S).trouble
    assert trouble == f"{other.id} asked for the count and is no officer any more"
    size = house.size()
    node.breach_counting.go_on()
    assert not node.breach_counting.standing(name).running, "it is not tried again and again"
    assert house.size() == size
    node.breach_counting.ask(officers(node), name)
    assert node.breach_counting.standing(name, PATIENCE_S).trouble == ""
    assert node.breaches.case(officers(node), name).assessment is not None
