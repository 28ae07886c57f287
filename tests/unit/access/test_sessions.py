"""Browsers' sign-ins: how long one is good, which gives way, and how hard an id is to guess."""

from __future__ import annotations

import pytest

from twinward.access.errors import SignInRefused
from twinward.access.interfaces import Principal
from twinward.access.sessions import SESSION_LIFETIME_MS, Sessions
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Role

OFFICER = Principal("officer", Role.OFFICER)
OTHER = Principal("other", Role.OFFICER)


def test_a_session_is_good_for_eight_hours_and_not_a_millisecond_longer() -> None:
    clock = FixedClock()
    sessions = Sessions(clock)
    session_id = sessions.begin(OFFICER, must_change=False)
    assert SESSION_LIFETIME_MS == 28_800_000
    clock.advance(SESSION_LIFETIME_MS - 1)
    assert sessions.find(session_id).principal == OFFICER
    assert sessions.number_of("officer") == 1
    clock.advance(1)
    with pytest.raises(SignInRefused):
        sessions.find(session_id)
    assert sessions.number_of("officer") == 0
    assert sessions.end(session_id) is None


def test_whoever_begins_one_clears_away_what_has_ended() -> None:
    clock = FixedClock()
    sessions = Sessions(clock)
    sessions.begin(OFFICER, must_change=False)
    clock.advance(1)
    sessions.begin(OFFICER, must_change=False)
    clock.advance(SESSION_LIFETIME_MS - 1)
    sessions.begin(OTHER, must_change=False)
    assert sessions.number_of("officer") == 1
    assert sessions.number_of("other") == 1


def test_the_oldest_gives_way_where_there_are_too_many() -> None:
    sessions = Sessions(FixedClock(), most=3)
    first, second, *_ = [sessions.begin(OFFICER, must_change=False) for _ in range(4)]
    with pytest.raises(SignInRefused):
        sessions.find(first)
    assert sessions.find(second).principal == OFFICER
    assert sessions.number_of("officer") == 3


def test_ids_and_form_tokens_are_256_and_128_random_bits() -> None:
    sessions = Sessions(FixedClock())
    ids = {sessions.begin(OFFICER, must_change=True) for _ in range(20)}
    found = [sessions.find(one) for one in ids]
    assert {len(one) for one in ids} == {43}
    assert {len(one.csrf) for one in found} == {22}
    assert len({one.csrf for one in found}) == len(ids) == 20
    assert all(one.must_change for one in found)
