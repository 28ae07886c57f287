"""Works beside: one at a time, told of, and what goes wrong is said without what it held."""

from __future__ import annotations

import threading
from typing import Any

import structlog

from twinward.core.beside import Beside, Standing, Told
from twinward.core.errors import Conflict

PATIENCE_S = 30.0


def ended(beside: Beside, name: str) -> Standing:
    return beside.standing(name, PATIENCE_S)


def test_works_go_one_after_another_and_each_is_told_of() -> None:
    beside, goes_on, begun = Beside(), threading.Event(), threading.Event()
    order: list[str] = []

    def first(told: Told) -> None:
        told(7, 9)
        begun.set()
        goes_on.wait(PATIENCE_S)
        order.append("first")

    assert beside.standing("first") == Standing()
    beside.begin("first", 9, first)
    beside.begin("second", 3, lambda _: order.append("second"))
    beside.begin("first", 9, lambda _: order.append("twice"))  # it is under way
    assert begun.wait(PATIENCE_S)
    assert beside.standing("first", 0.001) == Standing(running=True, done=7, of=9)
    assert beside.standing("second") == Standing(running=True, done=0, of=3)
    goes_on.set()
    assert ended(beside, "second") == ended(beside, "first") == Standing()
    assert order == ["first", "second"]
    beside.begin("first", 9, lambda _: order.append("again"))
    assert ended(beside, "first") == Standing()
    assert order[2:] == ["again"]


def test_what_goes_wrong_is_said_and_a_defect_says_nothing_of_what_it_held() -> None:
    beside = Beside()

    def refused(_: Told) -> None:
        raise Conflict("the case is closed")

    def broken(_: Told) -> None:
        raise RuntimeError("a patient's name")

    with structlog.testing.capture_logs() as logged:
        for name, work in (("refused", refused), ("broken", broken)):
            beside.begin(name, 1, work)
            ended(beside, name)
    assert beside.standing("refused").trouble == "the case is closed"
    assert beside.standing("broken").trouble == "something failed in the node"
    assert [one["kind"] for one in logged] == ["RuntimeError"]
    assert "patient" not in str(logged)
    beside.begin("refused", 1, lambda _: None)
    assert ended(beside, "refused") == Standing(), "begun anew, the old trouble is over"


def test_a_process_that_ends_leaves_what_is_under_way_and_begins_nothing() -> None:
    beside, begun, done = Beside(), threading.Event(), list[Any]()

    def endless(told: Told) -> None:
        while True:
            told(1, 2)
            begun.set()

    beside.begin("endless", 2, endless)
    beside.begin("waits", 2, lambda _: done.append("waits"))
    assert begun.wait(PATIENCE_S)
    beside.close()
    beside.begin("late", 2, lambda _: done.append("late"))
    assert not any(one.name == "beside" and one.is_alive() for one in [beside._thread] if one is not None)
    assert done == []
    assert beside.standing("endless").trouble == ""


def test_old_works_are_forgotten_and_running_ones_never() -> None:
    beside, goes_on = Beside(), threading.Event()
    beside.begin("long", 5, lambda _: goes_on.wait(PATIENCE_S))
    for number in range(150):
        beside.begin(f"queued {number}", 5, lambda _: None)
    assert all(beside.standing(f"queued {number}").running for number in range(150))
    goes_on.set()
    ended(beside, "queued 149")
    assert len(beside._standings) <= 101


def test_one_account_has_a_few_works_and_all_together_some() -> None:
    beside, goes_on = Beside(most=3, of_one=2), threading.Event()
    done: list[str] = []

    def ask(name: str, by: str) -> Standing:
        def work(_: Told) -> None:
            assert goes_on.wait(PATIENCE_S)
            done.append(name)

        beside.begin(name, 1, work, by=by)
        return beside.standing(name)

    assert ask("own", "").running
    assert ask("a1", "a").running
    assert ask("a2", "a").running
    refused = ask("a3", "a")
    assert not refused.running
    assert refused.may_begin
    assert refused.trouble == "2 works of this account wait already; look again in a minute"
    assert ask("b1", "b").running, "another account has places left"
    assert ask("c1", "c").trouble == "as many works wait as this node takes; look again in a minute"
    assert ask("the node's", "").running, "what the node begins by itself is not refused"
    goes_on.set()
    assert ended(beside, "the node's") == Standing()
    assert done == ["own", "a1", "a2", "b1", "the node's"]
    assert ask("a3", "a").running, "what was done makes room"
    assert ended(beside, "a3") == Standing()


def test_a_work_that_failed_makes_room_and_is_not_begun_by_whoever_looks() -> None:
    beside = Beside(of_one=1)

    def refused(_: Told) -> None:
        raise Conflict("the case is closed")

    for name in ("one", "two"):
        beside.begin(name, 1, refused, by="a")
        assert ended(beside, name) == Standing(trouble="the case is closed", may_begin=False)
