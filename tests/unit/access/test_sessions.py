"""Browsers' sign-ins: how long one is good, which gives way, what a restart leaves, how hard an id is to guess."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sign_ins import sign_ins_of
from twinward.access import second_factors
from twinward.access.account_events import AT_THE_MACHINE
from twinward.access.accounts import Accounts
from twinward.access.emergencies import Limits
from twinward.access.errors import SignInEnded, SignInRefused
from twinward.access.interfaces import Principal
from twinward.access.second_factors import ENROLMENT_MS
from twinward.access.sessions import SESSION_IDLE_MS, SESSION_LIFETIME_MS
from twinward.access.sign_in_store import MOST_OF_KIND
from twinward.access.sign_ins import SECOND_STEP_MS, SignIns
from twinward.core.clock import FixedClock
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Role

OFFICER = Principal("officer", Role.OFFICER, "Olga", "data office")
PASSWORD, ANOTHER = "correct horse battery", "seven lamps under snow"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def accounts(tmp_path: Path, clock: FixedClock) -> Accounts:
    made = Accounts(tmp_path / "accounts.db", clock)
    made.add_person(OFFICER, PASSWORD)
    return made


@pytest.fixture
def sign_ins(accounts: Accounts, tmp_path: Path, clock: FixedClock) -> SignIns:
    return sign_ins_of(accounts, tmp_path, clock)


def begin(sign_ins: SignIns, **more: str) -> str:
    return sign_ins.by_password("officer", PASSWORD, **more)  # type: ignore[arg-type]


def is_in(sign_ins: SignIns, session_id: str) -> bool:
    try:
        return sign_ins.session(session_id).principal == OFFICER
    except SignInRefused:
        return False


def test_a_session_that_is_used_is_good_for_eight_hours_and_not_a_millisecond_longer(
    sign_ins: SignIns, clock: FixedClock
) -> None:
    session_id = begin(sign_ins)
    assert (SESSION_LIFETIME_MS, SESSION_IDLE_MS) == (28_800_000, 1_800_000)
    for _ in range(16):
        clock.advance(SESSION_IDLE_MS - 60_001)
        assert is_in(sign_ins, session_id)
    clock.advance(SESSION_LIFETIME_MS - 16 * (SESSION_IDLE_MS - 60_001) - 1)
    assert is_in(sign_ins, session_id)
    clock.advance(1)
    assert not is_in(sign_ins, session_id)
    assert sign_ins.sessions("officer") == []


def test_a_session_that_is_not_used_ends_earlier(sign_ins: SignIns, clock: FixedClock) -> None:
    session_id = begin(sign_ins)
    clock.advance(SESSION_IDLE_MS - 1)
    assert is_in(sign_ins, session_id)  # a use, which begins its time anew
    clock.advance(SESSION_IDLE_MS - 1)
    assert is_in(sign_ins, session_id)
    clock.advance(SESSION_IDLE_MS)
    assert sign_ins.sessions("officer") == []
    assert not is_in(sign_ins, session_id)
    clock.advance(-SESSION_IDLE_MS)  # a clock that is set back brings none back
    assert not is_in(sign_ins, session_id)


def test_a_restart_ends_no_session_and_another_process_sees_it(
    sign_ins: SignIns, accounts: Accounts, tmp_path: Path, clock: FixedClock
) -> None:
    session_id = begin(sign_ins, origin="Firefox on Linux, 192.0.2.7")
    clock.advance(60_000)
    other = sign_ins_of(Accounts(tmp_path / "accounts.db", clock), tmp_path, clock)
    there = other.session(session_id)
    assert (there.principal, there.origin, there.by) == (OFFICER, "Firefox on Linux, 192.0.2.7", "password")
    assert there.csrf == sign_ins.session(session_id).csrf
    other.sign_out(session_id)
    assert not is_in(sign_ins, session_id)


@pytest.mark.parametrize("way", ["disabled", "signed out everywhere", "a new password", "a reset password"])
def test_what_takes_leave_away_ends_sessions_in_every_process(
    sign_ins: SignIns, accounts: Accounts, tmp_path: Path, clock: FixedClock, way: str
) -> None:
    session_id = begin(sign_ins)
    elsewhere = Accounts(tmp_path / "accounts.db", clock)
    if way == "disabled":
        elsewhere.change("officer", lambda one: one.ended(disabled=True), way, AT_THE_MACHINE)
    elif way == "signed out everywhere":
        elsewhere.change("officer", lambda one: one.ended(), way, AT_THE_MACHINE)
    elif way == "a new password":
        elsewhere.change_password(OFFICER, PASSWORD, ANOTHER)
    else:
        kept = elsewhere.with_password("officer", ANOTHER)
        elsewhere.change("officer", lambda one: one.ended(**kept, must_change=True), way, AT_THE_MACHINE)
    with pytest.raises(SignInEnded):
        sign_ins.session(session_id)
    assert sign_ins.sessions("officer") == []
    if way == "disabled":
        elsewhere.change("officer", lambda one: one.ended(disabled=False), "enabled", AT_THE_MACHINE)
        assert not is_in(sign_ins, session_id)


def test_a_browser_that_signs_in_again_has_one_session(sign_ins: SignIns) -> None:
    first = begin(sign_ins)
    second = begin(sign_ins, ends=first)
    assert (is_in(sign_ins, first), is_in(sign_ins, second)) == (False, True)


def test_sessions_are_listed_and_ended_one_by_one(sign_ins: SignIns, clock: FixedClock) -> None:
    first = begin(sign_ins, origin="here")
    clock.advance(1)
    second = begin(sign_ins, origin="there")
    listed = sign_ins.sessions("officer")
    assert [one.origin for one in listed] == ["there", "here"]
    assert not any(name.name in (first, second) for name in listed)
    sign_ins.end_session("officer", listed[0].name, AT_THE_MACHINE)
    assert (is_in(sign_ins, first), is_in(sign_ins, second)) == (True, False)
    for account, name in [("officer", listed[0].name), ("officer", ""), ("nobody", listed[1].name)]:
        with pytest.raises(NotFound):
            sign_ins.end_session(account, name, AT_THE_MACHINE)


def test_nobody_ends_a_session_of_another_account(sign_ins: SignIns, accounts: Accounts) -> None:
    accounts.add_person(Principal("other", Role.OFFICER), PASSWORD)
    session_id = begin(sign_ins)
    with pytest.raises(NotFound):
        sign_ins.end_session("other", sign_ins.session(session_id).name, AT_THE_MACHINE)
    assert is_in(sign_ins, session_id)


def test_ids_and_form_tokens_are_256_and_128_random_bits(sign_ins: SignIns) -> None:
    ids = {begin(sign_ins) for _ in range(3)}
    found = [sign_ins.session(one) for one in ids]
    assert {len(one) for one in ids} == {43}
    assert {len(one.csrf) for one in found} == {22}
    assert len({one.csrf for one in found}) == len(ids) == 3


def test_an_account_keeps_its_newest_sessions(sign_ins: SignIns, accounts: Accounts, clock: FixedClock) -> None:
    record = accounts.record("officer")
    ids = []
    for _ in range(MOST_OF_KIND + 1):
        ids.append(sign_ins._begin(record))
        clock.advance(1)
    assert [is_in(sign_ins, one) for one in ids] == [False] + [True] * MOST_OF_KIND


def test_an_account_that_changed_while_its_password_was_looked_at_gets_no_session(
    sign_ins: SignIns, accounts: Accounts
) -> None:
    record = accounts.record("officer")
    accounts.change("officer", lambda one: one.ended(), "sessions ended", AT_THE_MACHINE)
    assert not is_in(sign_ins, sign_ins._begin(record))


def test_another_password_makes_a_session_no_fresher_and_no_longer(sign_ins: SignIns, clock: FixedClock) -> None:
    session_id = begin(sign_ins)
    clock.advance(20 * 60_000)
    before = sign_ins.session(session_id)
    after = sign_ins.session(sign_ins.change_password(before, PASSWORD, ANOTHER))
    assert not before.fresh
    assert not after.fresh
    assert (after.expires_at_ms, after.authenticated_ms) == (before.expires_at_ms, before.authenticated_ms)
    assert not is_in(sign_ins, session_id)


def test_ending_a_session_says_whose_it_was_once(sign_ins: SignIns) -> None:
    session_id = begin(sign_ins)
    sessions = sign_ins._sessions
    ended = sessions.end(session_id)
    assert ended is not None
    assert ended.account == "officer"
    assert sessions.end(session_id) is None
    assert not is_in(sign_ins, session_id)


def test_bounds_are_what_the_pages_say() -> None:
    assert (SECOND_STEP_MS, ENROLMENT_MS, MOST_OF_KIND) == (5 * 60 * 1000, 15 * 60 * 1000, 20)
    assert Limits() == Limits(patients=5, window_s=3600, box_s=3600, review_s=72 * 3600)


def test_recovery_codes_are_80_bits_in_groups_of_four() -> None:
    codes = second_factors._new_codes()
    assert len(set(codes)) == len(codes)
    for code in codes:
        assert re.fullmatch(r"[a-z2-7]{4}(-[a-z2-7]{4}){3}", code), code
