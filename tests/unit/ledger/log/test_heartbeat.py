"""Heartbeats promise; gaps are where the promise was broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward_ledger.errors import MalformedLeaf
from twinward_ledger.formats.leaf import MINUTE_MS, Leaf, LeafKind
from twinward_ledger.log.heartbeat import Gap, find_clock_steps, find_gaps, heartbeat, promise

HOUR = 60


def beat(minute: int, interval_s: int = 3600) -> bytes:
    return heartbeat(minute * MINUTE_MS, interval_s).leaf


def event(minute: int) -> bytes:
    return Leaf(LeafKind.ACCESS, minute, bytes(32)).encode()


def gaps(*leaves: bytes, now: int | None = None) -> list[Gap]:
    return list(find_gaps(leaves, now_ms=None if now is None else now * MINUTE_MS))


def test_a_heartbeat_says_in_the_open_what_it_promises() -> None:
    leaf = Leaf.decode(beat(7, 600))
    assert (leaf.kind, leaf.minute, promise(leaf)) == (LeafKind.HEARTBEAT, 7, 600)
    assert promise(Leaf.decode(event(7))) is None
    with pytest.raises(MalformedLeaf):
        promise(Leaf(LeafKind.HEARTBEAT, 7, bytes(32)))
    for wrong in (-1, 2**32):
        with pytest.raises(MalformedLeaf):
            heartbeat(0, wrong)


def test_a_silence_longer_than_promised_is_named_from_when_to_when() -> None:
    found = gaps(beat(0), event(30), event(30 + HOUR + 2), beat(200))
    assert found == [
        Gap(1, 30 * MINUTE_MS, (30 + HOUR + 2) * MINUTE_MS, 3600, ended=True),
        Gap(2, (30 + HOUR + 2) * MINUTE_MS, 200 * MINUTE_MS, 3600, ended=True),
    ]


def test_what_was_kept_is_no_gap() -> None:
    assert gaps(beat(0), beat(HOUR), event(2 * HOUR), beat(3 * HOUR + 1), now=4 * HOUR + 2) == []


def test_before_the_first_heartbeat_and_after_the_last_promise_was_taken_back_nothing_is_owed() -> None:
    assert gaps(event(0), event(10_000), beat(10_001), beat(10_002, 0), event(50_000), now=90_000) == []


def test_a_log_that_is_silent_now_is_told() -> None:
    assert gaps(beat(0), now=HOUR + 2) == [Gap(0, 0, (HOUR + 2) * MINUTE_MS, 3600, ended=False)]
    assert gaps(beat(0), now=HOUR + 1) == []
    assert gaps(now=10) == []


def test_a_clock_set_back_hides_no_gap() -> None:
    found = gaps(beat(100), event(20), event(100 + HOUR + 5))
    assert [(gap.after, gap.from_ms // MINUTE_MS) for gap in found] == [(1, 100)]


@given(st.lists(st.integers(0, 500), min_size=2, max_size=40), st.integers(60, 7200))
def test_a_gap_is_exactly_a_difference_beyond_the_promise(steps: list[int], interval_s: int) -> None:
    minutes = [sum(steps[:count]) for count in range(1, len(steps) + 1)]
    found = gaps(beat(minutes[0], interval_s), *map(event, minutes[1:]))
    assert [gap.after for gap in found] == [
        number for number, step in enumerate(steps[1:]) if step * 60 > interval_s + 60
    ]


def test_a_clock_that_was_ahead_hides_no_later_silence() -> None:
    year = 365 * 24 * HOUR
    found = gaps(beat(0), beat(10 * year), beat(60), event(60 + 5 * HOUR), now=60 + 5 * HOUR)
    assert [(one.after, one.ended) for one in found] == [(0, True), (2, True)]


def test_where_times_go_back_is_named() -> None:
    leaves = [beat(0), event(100), event(97), event(3), event(103)]
    steps = list(find_clock_steps(leaves, now_ms=103 * MINUTE_MS))
    assert [(one.after, one.from_ms // MINUTE_MS, one.to_ms // MINUTE_MS) for one in steps] == [(2, 100, 3)]
    assert [one.ended for one in find_clock_steps([event(100)], now_ms=0)] == [False]
    assert list(find_clock_steps([event(100)], now_ms=96 * MINUTE_MS)) == []
