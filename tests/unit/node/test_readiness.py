"""Whether a node can answer: asked seldom, one at a time, and told without a word of what is silent."""

from __future__ import annotations

import threading

import pytest

from twinward.core.clock import FixedClock
from twinward.core.errors import Unavailable
from twinward.node.readiness import KEPT_MS, Readiness
from twinward_ledger.errors import LogUnavailable

HOST = "db.hospital.example"


class Store:
    def __init__(self) -> None:
        self.asked = 0
        self.dead = False

    def probe(self) -> None:
        self.asked += 1
        if self.dead:
            raise LogUnavailable(f"twinward@{HOST}: no route to host")


def test_it_follows_the_store_and_asks_once_in_a_while() -> None:
    clock, store = FixedClock(), Store()
    readiness = Readiness({"log": store.probe}, clock)
    for _ in range(5):
        readiness.require()
    assert store.asked == 1
    store.dead = True
    clock.advance(KEPT_MS)
    for _ in range(5):
        with pytest.raises(Unavailable):
            readiness.require()
    assert store.asked == 2
    store.dead = False
    clock.advance(KEPT_MS)
    readiness.require()


def test_which_store_is_silent_is_for_the_log_alone(capsys: pytest.CaptureFixture[str]) -> None:
    store = Store()
    store.dead = True
    readiness = Readiness({"records": lambda: None, "log": store.probe}, FixedClock())
    with pytest.raises(Unavailable) as refused:
        readiness.require()
    assert HOST not in " ".join(refused.value.outside())
    logged = capsys.readouterr().out
    assert "silent=log" in logged.replace("\x1b[35m", "").replace("\x1b[0m", "").replace("\x1b[36m", "")
    assert HOST not in logged


def test_while_a_store_is_silent_nobody_else_waits_for_it() -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        answer.wait(10)

    readiness = Readiness({"records": slow}, FixedClock())
    first = threading.Thread(target=readiness.require)
    first.start()
    assert asked.wait(10)
    with pytest.raises(Unavailable):  # nothing is known yet, and it is said at once
        readiness.require()
    answer.set()
    first.join(10)
    readiness.require()
