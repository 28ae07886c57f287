"""Sign-ins and changes of accounts in the log: all of them, few in a flood, and nothing that was typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.sign_ins import sign_ins_of
from twinward.access.account_events import AT_THE_MACHINE, MOST_REFUSALS, UNKNOWN, WINDOW_MS
from twinward.access.accounts import Accounts, PasswordRules
from twinward.access.errors import SignInEnded, SignInRefused, TokenRefused, WrongRole
from twinward.access.interfaces import AccessRequest, Principal
from twinward.access.permits import PermitAuthority
from twinward.access.sign_ins import SignIns
from twinward.audit.models import AccessEvent, LoggedEvent
from twinward.core.clock import FixedClock
from twinward.core.errors import Unavailable
from twinward.core.vocabulary import Action, Purpose, Role

OFFICER = Principal("olga", Role.OFFICER, "Olga Officer", "data office")
PASSWORD = "correct horse battery"
DAY_MS = 86_400_000


class Trail:
    """Takes events, unless it is down."""

    def __init__(self) -> None:
        self.events: list[AccessEvent] = []
        self.down = False

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        if self.down:
            raise Unavailable("the log is down")
        self.events += events
        return [LoggedEvent(number, bytes(32), event) for number, event in enumerate(events)]

    def of(self, action: Action) -> list[AccessEvent]:
        return [one for one in self.events if one.action is action]


@pytest.fixture
def trail() -> Trail:
    return Trail()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def accounts(tmp_path: Path, trail: Trail, clock: FixedClock) -> Accounts:
    made = Accounts(tmp_path / "accounts.db", clock, trail=trail, rules=PasswordRules(days=30, about=("Mercy",)))
    made.add_person(OFFICER, PASSWORD)
    return made


@pytest.fixture
def sign_ins(accounts: Accounts, tmp_path: Path, clock: FixedClock) -> SignIns:
    return sign_ins_of(accounts, tmp_path, clock)


def test_each_step_of_a_session_is_an_event(sign_ins: SignIns, accounts: Accounts, trail: Trail) -> None:
    via = (("via", "console"), ("address", "192.0.2.1"))
    session = sign_ins.by_password("olga", PASSWORD, via=via)
    sign_ins.sign_out(session, via=via)
    sign_ins.sign_out(session, via=via)  # it is over already
    told = [(one.action, one.agent, one.decision) for one in trail.events]
    assert told == [
        (Action.ACCOUNT, "node", "permit"),
        (Action.SIGN_IN, "olga", "permit"),
        (Action.SIGN_OUT, "olga", "permit"),
    ]
    assert trail.events[1].detail == via


def test_a_log_that_is_down_lets_nobody_sign_in_and_changes_nothing(
    sign_ins: SignIns, accounts: Accounts, trail: Trail
) -> None:
    session = sign_ins.by_password("olga", PASSWORD)
    before = accounts.records()
    trail.down = True
    with pytest.raises(Unavailable):
        sign_ins.by_password("olga", PASSWORD)
    with pytest.raises(Unavailable):
        accounts.add_system(Principal("acme", Role.VENDOR))
    with pytest.raises(Unavailable):
        accounts.change("olga", lambda one: one.ended(disabled=True), "disabled", AT_THE_MACHINE)
    assert accounts.records() == before
    with pytest.raises(SignInRefused):
        sign_ins.by_password("olga", "wrong")
    assert sign_ins.session(session).principal == OFFICER  # who is in stays in: an emergency needs no log
    sign_ins.sign_out(session)


def test_a_flood_of_failures_is_few_events_and_one_number(accounts: Accounts, trail: Trail, clock: FixedClock) -> None:
    for number in range(200):
        accounts.braked(f"nobody{number}")
    assert len(trail.of(Action.SIGN_IN)) == MOST_REFUSALS
    accounts.events.say_the_rest()
    assert len(trail.of(Action.SIGN_IN)) == MOST_REFUSALS
    clock.advance(WINDOW_MS)
    accounts.events.say_the_rest()
    accounts.events.say_the_rest()
    *_, last = trail.of(Action.SIGN_IN)
    assert len(trail.of(Action.SIGN_IN)) == MOST_REFUSALS + 1
    assert dict(last.detail) == {"refused": str(200 - MOST_REFUSALS)}
    accounts.braked("nobody")
    assert len(trail.of(Action.SIGN_IN)) == MOST_REFUSALS + 2


def test_refusals_that_the_log_did_not_take_are_counted_and_told_later(accounts: Accounts, trail: Trail) -> None:
    trail.down = True
    for _ in range(3):
        accounts.braked("olga")
    trail.down = False
    accounts.close()
    assert dict(trail.events[-1].detail) == {"refused": "3"}


def test_nothing_that_was_typed_is_written_down(sign_ins: SignIns, accounts: Accounts, trail: Trail) -> None:
    for name, password in [("my secret in the wrong field", "x"), ("olga", "secret two"), ("", "secret three")]:
        with pytest.raises(SignInRefused):
            sign_ins.by_password(name, password)
    accounts.braked("secret four")
    assert "secret" not in repr(trail.events)
    assert [one.agent for one in trail.of(Action.SIGN_IN)] == [UNKNOWN, "olga", UNKNOWN, UNKNOWN]


def test_another_roles_password_makes_no_session_and_an_event(
    sign_ins: SignIns, accounts: Accounts, trail: Trail
) -> None:
    accounts.add_person(Principal("nurse", Role.CLINICIAN), PASSWORD)
    with pytest.raises(WrongRole):
        sign_ins.by_password("nurse", PASSWORD, roles={Role.OFFICER})
    assert sign_ins.sessions("nurse") == []
    assert (trail.events[-1].agent, trail.events[-1].decision) == ("nurse", "deny")


def test_a_token_expires_and_its_later_use_is_an_event(accounts: Accounts, trail: Trail, clock: FixedClock) -> None:
    token = accounts.add_system(Principal("acme", Role.VENDOR), expires_at_ms=accounts.in_days(90))
    principal = accounts.by_token(token)
    accounts.require_standing(principal)
    clock.advance(90 * DAY_MS)
    with pytest.raises(SignInEnded, match="expired"):
        accounts.require_standing(principal)
    with pytest.raises(TokenRefused) as refusal:
        accounts.by_token(token)
    accounts.token_refused(refusal.value, (("via", "token"),))
    assert (trail.events[-1].agent, trail.events[-1].reason) == ("acme", "token 1 expired")
    assert str(refusal.value) == str(SignInRefused())


def test_a_password_that_is_too_old_is_good_for_choosing_another(
    sign_ins: SignIns, accounts: Accounts, clock: FixedClock
) -> None:
    assert not sign_ins.session(sign_ins.by_password("olga", PASSWORD)).must_change
    clock.advance(30 * DAY_MS)
    session = sign_ins.session(sign_ins.by_password("olga", PASSWORD))
    assert session.must_change
    fresh = sign_ins.change_password(session, PASSWORD, "seven lamps under snow")
    assert not sign_ins.session(fresh).must_change
    with pytest.raises(SignInEnded):
        accounts.require_standing(session.principal)


def test_two_processes_have_one_truth(sign_ins: SignIns, accounts: Accounts, tmp_path: Path, clock: FixedClock) -> None:
    other = Accounts(tmp_path / "accounts.db", clock)
    session = sign_ins.by_password("olga", PASSWORD)
    token = other.add_system(Principal("acme", Role.VENDOR))
    principal = accounts.by_token(token)
    other.change("olga", lambda one: one.ended(), "sessions ended", AT_THE_MACHINE)
    other.change("acme", lambda one: one.ended(disabled=True), "disabled", AT_THE_MACHINE)
    with pytest.raises(SignInRefused):
        sign_ins.session(session)
    with pytest.raises(SignInRefused):
        accounts.by_token(token)
    with pytest.raises(SignInEnded):
        accounts.require_standing(principal)
    other.close()


def test_accounts_of_an_earlier_release_are_taken_over(tmp_path: Path, clock: FixedClock) -> None:
    import hashlib
    import sqlite3

    from twinward.access import passwords

    file = sqlite3.connect(tmp_path / "old.db")
    file.execute(
        "CREATE TABLE account (id TEXT PRIMARY KEY, role TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL,"
        " password TEXT NOT NULL DEFAULT '', token_hash BLOB NOT NULL DEFAULT x'', visited_size INTEGER NOT NULL"
        " DEFAULT 0, visited_at_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
    )
    insert = "INSERT INTO account VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    file.execute(insert, ("olga", "officer", "Olga Officer", "", passwords.stretch(PASSWORD), b"", 7, 11))
    file.execute(insert, ("acme", "vendor", "Acme", "", "", hashlib.sha256(b"s3cret").digest(), 0, 0))
    file.commit()
    file.close()
    for _ in range(2):  # the second time it is of today's form
        accounts = Accounts(tmp_path / "old.db", clock)
        sign_ins = sign_ins_of(accounts, tmp_path, clock)
        assert sign_ins.session(sign_ins.by_password("olga", PASSWORD)).principal.name == "Olga Officer"
        assert accounts.by_token("twk_acme_s3cret").role is Role.VENDOR
        assert accounts.visit("olga", 7)[0] == 7
        accounts.close()


def test_a_permit_outlives_no_sign_in(accounts: Accounts, clock: FixedClock) -> None:
    authority = PermitAuthority(clock, require_standing=accounts.require_standing)
    request = AccessRequest(accounts.named("olga"), Action.AUDIT, Purpose.COMPLIANCE)
    permit = authority.issue(request, 0)
    authority.require(permit, action=Action.AUDIT, twin=None, category=None)
    accounts.change("olga", lambda one: one.ended(disabled=True), "disabled", AT_THE_MACHINE)
    with pytest.raises(SignInEnded, match="disabled"):
        authority.require(permit, action=Action.AUDIT, twin=None, category=None)
