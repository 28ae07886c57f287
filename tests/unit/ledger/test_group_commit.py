"""Appends that come at once share a transaction: whoever writes gives way first, and not for ever."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import count

import pytest

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.group_commit import MOST_TURNS, GroupCommit


class Store:
    """Counts what is written, in which groups; others come while ``give_way`` is asked, one each time."""

    def __init__(self, others: int) -> None:
        self.groups: list[list[bytes]] = []
        self.size = 0
        self.fault = ""
        self.others = others
        self.threads: list[threading.Thread] = []
        self.found: dict[bytes, range] = {}
        self.turns = count()
        self.commit = GroupCommit(self.write, self.give_way)

    def write(self, groups: Sequence[Sequence[Entry]]) -> list[range]:
        if self.fault:
            raise LogUnavailable(self.fault)
        self.groups.append([entry.leaf for entries in groups for entry in entries])
        ranges = []
        for entries in groups:
            ranges.append(range(self.size, self.size + len(entries)))
            self.size += len(entries)
        return ranges

    def give_way(self) -> None:
        number = next(self.turns)
        if number >= self.others:
            return
        before = self.commit.waiting()
        self.threads.append(threading.Thread(target=self.append, args=(b"other %d" % number,)))
        self.threads[-1].start()
        while self.commit.waiting() == before:
            pass

    def append(self, leaf: bytes) -> None:
        self.found[leaf] = self.commit.append([Entry(leaf=leaf, body=b"", tags=())])

    def ended(self) -> None:
        for one in self.threads:
            one.join(10)


def test_who_comes_while_it_gives_way_is_taken_along_each_with_its_own_indices() -> None:
    store = Store(others=3)
    store.append(b"first")
    store.ended()
    assert store.groups == [[b"first", b"other 0", b"other 1", b"other 2"]]
    assert store.found == {
        b"first": range(1),
        **{b"other %d" % number: range(number + 1, number + 2) for number in range(3)},
    }


def test_who_is_alone_gives_way_once() -> None:
    store = Store(others=0)
    store.append(b"alone")
    assert (store.groups, next(store.turns)) == ([[b"alone"]], 1)


def test_however_many_come_it_is_written() -> None:
    store = Store(others=10 * MOST_TURNS)
    store.append(b"first")
    store.ended()
    assert len(store.groups[0]) == 1 + MOST_TURNS
    assert store.size == sum(map(len, store.groups)) == len(store.found)


def test_a_transaction_that_fails_fails_for_all_that_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(others=1)
    store.fault = "the disk is full"
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda said: failed.append(said.exc_type))
    with pytest.raises(LogUnavailable, match="full"):
        store.append(b"first")
    store.ended()
    assert failed == [LogUnavailable]
    assert (store.groups, store.found) == ([], {})
