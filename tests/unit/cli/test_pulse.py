"""The heartbeat: acts only when there is something new, and survives whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from twinward.node.background import Checks, Heartbeats, Pulse


@dataclass(frozen=True)
class _State:
    pending: int
    problem: str = ""
    cosigned: int = 3
    witnesses: int = 3


class _Trail:
    """Anchors everything at once; may be told to fail."""

    def __init__(self, pending: int, *, failures: int = 0, problem: str = "") -> None:
        self.pending, self.failures, self.problem = pending, failures, problem
        self.beats, self.cosigned = 0, 3
        self.done = threading.Event()

    def status(self) -> _State:
        return _State(self.pending, cosigned=self.cosigned)

    def checkpoint_and_anchor(self) -> _State:
        self.beats += 1
        if self.beats <= self.failures:
            raise RuntimeError("Mrs Example, born 1950")
        if not self.problem:
            self.pending = 0
        self.done.set()
        return _State(self.pending, self.problem)


def test_nothing_new_is_not_signed_again() -> None:
    trail = _Trail(3)
    pulse = Pulse(trail, 60)
    with capture_logs() as lines:
        pulse.beat()
        pulse.beat()
    assert trail.beats == 1
    assert [line["event"] for line in lines] == ["anchored"]


def test_a_chain_that_is_down_is_tried_again() -> None:
    trail = _Trail(3, problem="the chain does not answer: secret")
    pulse = Pulse(trail, 60)
    with capture_logs() as lines:
        pulse.beat()
        pulse.beat()
    assert trail.beats == 2
    assert [line["event"] for line in lines] == ["anchor_waits", "anchor_waits"]
    assert "secret" not in str(lines)


def test_failures_are_logged_by_type_and_survived() -> None:
    trail = _Trail(1, failures=3)
    with capture_logs() as lines, Pulse(trail, 0.001):
        assert trail.done.wait(20)
    assert [line.get("kind") for line in lines[:3]] == ["RuntimeError"] * 3
    assert "Mrs Example" not in str(lines)


@pytest.mark.parametrize("interval_s", [0.001, 3600])
def test_it_stops_when_told(interval_s: float) -> None:
    before = threading.active_count()
    with Pulse(_Trail(0), interval_s):
        pass
    assert threading.active_count() == before


def test_a_witness_that_has_not_signed_is_asked_again() -> None:
    trail = _Trail(0)
    trail.cosigned = 2
    pulse = Pulse(trail, 60)
    pulse.beat()
    pulse.beat()
    assert trail.beats == 2


def test_a_heartbeat_is_written_at_once_and_then_again() -> None:
    beats: list[int] = []
    enough = threading.Event()

    def write() -> None:
        beats.append(len(beats))
        if len(beats) == 1:
            raise RuntimeError("Mrs Example, born 1950")
        if len(beats) == 4:
            enough.set()

    with capture_logs() as lines, Heartbeats(write, 0.001):
        assert beats
        assert enough.wait(20)
    assert lines == [{"event": "heartbeat_failed", "kind": "RuntimeError", "log_level": "error"}]


def test_everything_is_checked_at_once_and_given_up_when_the_node_stops() -> None:
    begun, given_up = threading.Event(), threading.Event()

    def check(going_on: Callable[[], bool]) -> None:
        begun.set()
        while going_on():
            time.sleep(0.001)
        given_up.set()

    with Checks(check, 3600):
        assert begun.wait(20)
    assert given_up.is_set()


def test_a_check_that_fails_is_told_by_its_kind_only() -> None:
    def check(_: Callable[[], bool]) -> None:
        raise RuntimeError("Mrs Example, born 1950")

    with capture_logs() as lines:
        Checks(check, 60).beat()
    assert [(line["event"], line["kind"]) for line in lines] == [("log_check_failed", "RuntimeError")]
