"""The moving window against another's, and what that one does not do: forget, take back, bear a clock set back."""

from __future__ import annotations

import limits
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.storage import MemoryStorage
from limits.storage import memory as limits_memory
from limits.strategies import MovingWindowRateLimiter

from twinward.core import rate_limit
from twinward.core.clock import FixedClock
from twinward.core.rate_limit import MovingWindow

keys = st.sampled_from(["a", "b"])


# Pauses of three make no two requests exactly 2,000 ms apart: there the other reads seconds in floating point and may
# say either.
pauses_ms = st.integers(0, 500).map(lambda third: 3 * third)


@given(st.integers(1, 5), st.lists(st.tuples(keys, pauses_ms), max_size=40))
def test_it_admits_what_another_moving_window_admits(most: int, requests: list[tuple[str, int]]) -> None:
    clock = FixedClock()
    ours = MovingWindow(clock, most, 2_000)
    with pytest.MonkeyPatch.context() as patch:
        storage = MemoryStorage()
        storage.timer.cancel()
        patch.setattr(storage, "_MemoryStorage__schedule_expiry", lambda: None)  # its thread reads the time too
        patch.setattr(limits_memory.time, "time", lambda: clock.now_ms() / 1000)
        theirs, item = MovingWindowRateLimiter(storage), limits.RateLimitItemPerSecond(most, 2)
        for key, pause_ms in requests:
            clock.advance(milliseconds=pause_ms)
            assert (ours.admit(key) == 0) == theirs.hit(item, key)


def test_it_says_how_long_to_wait_and_waiting_so_long_helps() -> None:
    clock = FixedClock()
    window = MovingWindow(clock, 2, 1_000)
    assert (window.admit("a"), clock.advance(milliseconds=400), window.admit("a")) == (0, None, 0)
    assert window.admit("a") == 600
    clock.advance(milliseconds=599)
    assert window.admit("a") == 1
    clock.advance(milliseconds=1)
    assert window.admit("a") == 0


def test_one_taken_back_makes_room_for_one() -> None:
    window = MovingWindow(FixedClock(), 1, 1_000)
    window.admit("a")
    window.take_back("a")
    window.take_back("nobody")
    assert window.admit("a") == 0
    assert window.admit("a") > 0


def test_strangers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MOST_TRACKED", 3)
    window = MovingWindow(FixedClock(), 1, 1_000)
    for key in "abc":
        window.admit(key)
    assert window.admit("a") > 0  # seen again, so the last to be forgotten
    window.admit("d")
    assert window.admit("b") == 0
    assert window.admit("a") > 0


def test_a_clock_set_back_holds_nobody_longer_than_a_window() -> None:
    clock = FixedClock()
    window = MovingWindow(clock, 1, 1_000)
    clock.advance(milliseconds=10_000)
    window.admit("a")
    clock.advance(milliseconds=-9_000)
    assert window.admit("a") == 0
