"""A code beside the password: once each, in every process, and nothing of it at rest."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.sign_ins import sign_ins_of
from twinward.access import totp
from twinward.access.account_events import AT_THE_MACHINE
from twinward.access.accounts import Accounts
from twinward.access.errors import SecondFactorNeeded, SignInEnded, SignInRefused
from twinward.access.interfaces import Principal
from twinward.access.second_factors import CODE, ENROLMENT_MS, MOST_WRONG, RECOVERY_CODE, RECOVERY_CODES
from twinward.access.shown_accounts import account_json
from twinward.access.sign_ins import SECOND_STEP_MS, SignIns
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput, StoreAltered
from twinward.core.vocabulary import Role

OFFICER = Principal("olga", Role.OFFICER, "Olga", "data office")
PASSWORD = "correct horse battery"


class App:
    """What is on a phone."""

    def __init__(self, written: str, clock: FixedClock) -> None:
        self.secret = base64.b32decode(written.replace(" ", ""))
        self._clock = clock

    def code(self, steps: int = 0) -> str:
        return totp.code_at(self.secret, totp.step_at(self._clock.now_ms()) + steps)


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


def enrolled(sign_ins: SignIns, clock: FixedClock) -> tuple[App, tuple[str, ...]]:
    waiting, secret, _ = sign_ins.factors.begin("olga")
    app = App(secret, clock)
    codes = sign_ins.factors.finish("olga", waiting, app.code(), AT_THE_MACHINE)
    clock.advance(2 * totp.STEP_MS)
    return app, codes


def waiting(sign_ins: SignIns, password: str = PASSWORD) -> str:
    with pytest.raises(SecondFactorNeeded) as needed:
        sign_ins.by_password("olga", password)
    return needed.value.waiting


def test_a_password_alone_is_no_session_any_more(sign_ins: SignIns, clock: FixedClock) -> None:
    app, codes = enrolled(sign_ins, clock)
    assert len(set(codes)) == RECOVERY_CODES == 10
    step = waiting(sign_ins)
    with pytest.raises(SignInRefused):
        sign_ins.session(step)  # what goes on is no session
    session = sign_ins.session(sign_ins.by_code(step, app.code()))
    assert (session.principal, session.by) == (OFFICER, "password and code")
    with pytest.raises(SignInRefused):
        sign_ins.by_code(step, app.code(1))  # that step was taken
    with pytest.raises(SignInRefused) as refusal:
        sign_ins.by_password("olga", "wrong")
    assert not isinstance(refusal.value, SecondFactorNeeded)


def test_a_code_is_good_once_in_whatever_process(
    sign_ins: SignIns, accounts: Accounts, tmp_path: Path, clock: FixedClock
) -> None:
    app, _ = enrolled(sign_ins, clock)
    elsewhere = sign_ins_of(Accounts(tmp_path / "accounts.db", clock), tmp_path, clock)
    code = app.code()
    sign_ins.by_code(waiting(sign_ins), code)
    for one in (sign_ins, elsewhere):
        for steps in (0, 1):
            clock.advance(steps * totp.STEP_MS)
            with pytest.raises(SignInRefused):
                one.by_code(waiting(one), code)
    assert elsewhere.by_code(waiting(elsewhere), app.code(1))


def test_a_wrong_or_old_code_is_refused_and_the_next_right_one_is_taken(sign_ins: SignIns, clock: FixedClock) -> None:
    app, _ = enrolled(sign_ins, clock)
    step = waiting(sign_ins)
    for code in ("", "000000", app.code(-3), app.code(3), "x" * 5000):
        with pytest.raises(SignInRefused):
            sign_ins.by_code(step, code)
    assert sign_ins.by_code(step, app.code())


def test_a_right_password_waits_five_minutes_and_for_its_own_account(
    sign_ins: SignIns, accounts: Accounts, clock: FixedClock
) -> None:
    app, _ = enrolled(sign_ins, clock)
    step = waiting(sign_ins)
    clock.advance(SECOND_STEP_MS)
    with pytest.raises(SignInRefused):
        sign_ins.by_code(step, app.code())
    step = waiting(sign_ins)
    accounts.change("olga", lambda one: one.ended(), "sessions ended", AT_THE_MACHINE)
    with pytest.raises(SignInRefused):
        sign_ins.by_code(step, app.code())
    for nonsense in ("", "x", sign_ins.by_code(waiting(sign_ins), app.code(1))):
        with pytest.raises(SignInRefused):
            sign_ins.waits(nonsense)


def test_a_recovery_code_is_good_once_however_it_is_typed(
    sign_ins: SignIns, accounts: Accounts, tmp_path: Path, clock: FixedClock
) -> None:
    _, codes = enrolled(sign_ins, clock)
    elsewhere = sign_ins_of(Accounts(tmp_path / "accounts.db", clock), tmp_path, clock)
    session = sign_ins.session(sign_ins.by_code(waiting(sign_ins), codes[3].upper().replace("-", " ")))
    assert session.by == "password and recovery code"
    assert len(accounts.record("olga").recovery) == RECOVERY_CODES - 1
    with pytest.raises(SignInRefused):
        elsewhere.by_code(waiting(elsewhere), codes[3])
    others = elsewhere.factors.new_codes("olga", AT_THE_MACHINE)
    with pytest.raises(SignInRefused):
        sign_ins.by_code(waiting(sign_ins), codes[4])
    assert sign_ins.by_code(waiting(sign_ins), others[0])


def test_nothing_changes_before_the_app_shows_the_right_code(
    sign_ins: SignIns, accounts: Accounts, clock: FixedClock
) -> None:
    accounts.add_person(Principal("petra", Role.OFFICER), PASSWORD)
    step, secret, uri = sign_ins.factors.begin("olga")
    app = App(secret, clock)
    assert sign_ins.factors.again("olga", step) == (secret, uri)
    for account, code in (("olga", "000000"), ("olga", ""), ("petra", app.code())):
        with pytest.raises(BadInput):
            sign_ins.factors.finish(account, step, code, AT_THE_MACHINE)
    assert sign_ins.by_password("olga", PASSWORD)
    clock.advance(ENROLMENT_MS)
    with pytest.raises(BadInput, match="too long"):
        sign_ins.factors.finish("olga", step, app.code(), AT_THE_MACHINE)
    step, secret, _ = sign_ins.factors.begin("olga")
    sign_ins.factors.finish("olga", step, App(secret, clock).code(), AT_THE_MACHINE)
    with pytest.raises(BadInput, match="finished"):
        sign_ins.factors.finish("olga", step, App(secret, clock).code(), AT_THE_MACHINE)


def test_the_code_that_set_it_up_signs_nobody_in(sign_ins: SignIns, clock: FixedClock) -> None:
    step, secret, _ = sign_ins.factors.begin("olga")
    code = App(secret, clock).code()
    sign_ins.factors.finish("olga", step, code, AT_THE_MACHINE)
    with pytest.raises(SignInRefused):
        sign_ins.by_code(waiting(sign_ins), code)


def test_taking_it_away_signs_everybody_out(sign_ins: SignIns, accounts: Accounts, clock: FixedClock) -> None:
    app, _ = enrolled(sign_ins, clock)
    session = sign_ins.by_code(waiting(sign_ins), app.code())
    sign_ins.factors.remove("olga", AT_THE_MACHINE)
    with pytest.raises(SignInEnded):
        sign_ins.session(session)
    assert sign_ins.by_password("olga", PASSWORD)
    assert accounts.record("olga").recovery == ()
    with pytest.raises(BadInput, match="no second factor"):
        sign_ins.factors.remove("olga", AT_THE_MACHINE)
    with pytest.raises(BadInput, match="no second factor"):
        sign_ins.factors.new_codes("olga", AT_THE_MACHINE)


def test_neither_secret_nor_codes_are_at_rest_and_no_secret_serves_another_account(
    sign_ins: SignIns, accounts: Accounts, tmp_path: Path, clock: FixedClock
) -> None:
    app, codes = enrolled(sign_ins, clock)
    step = waiting(sign_ins)
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    planted = [app.secret, base64.b32encode(app.secret), app.secret.hex().encode(), step.encode()]
    for one in [*planted, *(code.encode() for code in codes), *(code.replace("-", "").encode() for code in codes)]:
        assert one not in on_disk
    accounts.add_person(Principal("petra", Role.OFFICER), PASSWORD)
    theirs = accounts.record("olga").totp
    accounts.change("petra", lambda one: one.model_copy(update={"totp": theirs}), "planted", AT_THE_MACHINE)
    with pytest.raises(SecondFactorNeeded) as needed:
        sign_ins.by_password("petra", PASSWORD)
    with pytest.raises(StoreAltered):
        sign_ins.by_code(needed.value.waiting, app.code())


def test_a_role_that_needs_one_does_nothing_before(accounts: Accounts, tmp_path: Path, clock: FixedClock) -> None:
    sign_ins = sign_ins_of(accounts, tmp_path, clock, needed_by=[Role.OFFICER])
    session = sign_ins.by_password("olga", PASSWORD)
    assert sign_ins.session(session).must_enrol
    enrolled(sign_ins, clock)
    assert not sign_ins.session(session).must_enrol


def test_who_confirms_has_a_fresh_session_under_another_id(sign_ins: SignIns, clock: FixedClock) -> None:
    app, _ = enrolled(sign_ins, clock)
    before = sign_ins.by_code(waiting(sign_ins), app.code())
    assert sign_ins.session(before).fresh
    clock.advance(10 * 60_000)
    stale = sign_ins.session(before)
    assert not stale.fresh
    for password, code in ((PASSWORD, ""), (PASSWORD, "000000"), ("wrong", app.code())):
        with pytest.raises(SignInRefused):
            sign_ins.confirm(before, password, code)
    after = sign_ins.confirm(before, PASSWORD, app.code(1))
    renewed = sign_ins.session(after)
    assert renewed.fresh
    assert renewed.expires_at_ms == stale.expires_at_ms  # a session lasts no longer for it
    assert renewed.csrf != stale.csrf
    with pytest.raises(SignInRefused):
        sign_ins.session(before)
    with pytest.raises(SignInRefused):
        sign_ins.confirm(before, PASSWORD, app.code())


def test_codes_are_held_after_ten_wrong_ones_in_a_row_and_a_recovery_code_is_the_way_out(
    accounts: Accounts, sign_ins: SignIns, clock: FixedClock
) -> None:
    app, codes = enrolled(sign_ins, clock)
    factors = sign_ins.factors

    def right() -> str:
        clock.advance(60_000)
        return app.code()

    def wrong(times: int) -> None:
        for _ in range(times):
            with pytest.raises(SignInRefused):
                factors.check("olga", "000000")

    wrong(MOST_WRONG - 1)
    factors.check("olga", right())  # not in a row any more
    wrong(MOST_WRONG - 1)
    assert not account_json(accounts, accounts.record("olga"))["codes_held"]
    wrong(1)
    assert account_json(accounts, accounts.record("olga"))["codes_held"]
    with pytest.raises(SignInRefused):
        factors.check("olga", right())
    assert factors.check("olga", codes[0]) == RECOVERY_CODE
    assert factors.check("olga", right()) == CODE
    wrong(MOST_WRONG)
    factors.remove("olga", AT_THE_MACHINE)
    assert accounts.record("olga").wrong_codes == 0


def test_that_codes_are_held_is_told_once_where_the_last_wrong_ones_come_together(
    accounts: Accounts, sign_ins: SignIns, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(sign_ins, clock)
    together, told = threading.Barrier(1), list[str]()
    matching = totp.matching_step

    def at_once(*asked: Any) -> int | None:
        together.wait(10)
        return matching(*asked)

    def wrong() -> None:
        with pytest.raises(SignInRefused):
            sign_ins.factors.check("olga", "000000")

    monkeypatch.setattr(totp, "matching_step", at_once)
    monkeypatch.setattr(accounts.events, "changed", lambda _, said, *more: told.append(said))
    for _ in range(MOST_WRONG - 2):
        wrong()
    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(wrong) for _ in range(2)]:
            one.result()
    assert accounts.record("olga").wrong_codes == MOST_WRONG
    assert [one[:10] for one in told] == ["codes held"]


def test_another_password_lets_codes_count_again(accounts: Accounts, sign_ins: SignIns, clock: FixedClock) -> None:
    app, _ = enrolled(sign_ins, clock)
    for _ in range(MOST_WRONG):
        with pytest.raises(SignInRefused):
            sign_ins.factors.check("olga", "000000")
    kept = accounts.with_password("olga", "three words unlike any")
    accounts.change("olga", lambda one: one.ended(**kept), "password reset", AT_THE_MACHINE)
    clock.advance(60_000)
    assert sign_ins.factors.check("olga", app.code()) == CODE
