"""Signing in: one answer for every failure, nothing secret at rest."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.sign_ins import sign_ins_of
from twinward.access.accounts import Accounts
from twinward.access.errors import SignInRefused
from twinward.access.interfaces import Principal
from twinward.access.sessions import SESSION_LIFETIME_MS
from twinward.access.sign_ins import SignIns
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput, Conflict, StoreAltered
from twinward.core.vocabulary import Role

OFFICER = Principal("officer", Role.OFFICER, "Olga Officer", "data office")
VENDOR = Principal("acme", Role.VENDOR, "Acme Diagnostics")
PASSWORD = "correct horse battery"


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "accounts.db", FixedClock())


@pytest.fixture
def sign_ins(accounts: Accounts, tmp_path: Path) -> SignIns:
    return sign_ins_of(accounts, tmp_path, accounts._clock)


def test_a_person_signs_in_and_out(sign_ins: SignIns, accounts: Accounts) -> None:
    accounts.add_person(OFFICER, PASSWORD)
    session_id = sign_ins.by_password("officer", PASSWORD)
    assert sign_ins.session(session_id).principal == OFFICER
    sign_ins.sign_out(session_id)
    with pytest.raises(SignInRefused):
        sign_ins.session(session_id)


def test_every_failure_looks_the_same(sign_ins: SignIns, accounts: Accounts) -> None:
    accounts.add_person(OFFICER, PASSWORD)
    accounts.add_system(VENDOR)
    messages = set()
    for account_id, password in [("officer", "wrong password!"), ("nobody", PASSWORD), ("acme", PASSWORD), ("", "")]:
        with pytest.raises(SignInRefused) as refusal:
            sign_ins.by_password(account_id, password)
        messages.add(str(refusal.value))
    assert len(messages) == 1


def test_a_session_ends(sign_ins: SignIns, accounts: Accounts) -> None:
    accounts.add_person(OFFICER, PASSWORD)
    session_id = sign_ins.by_password("officer", PASSWORD)
    accounts._clock.advance(SESSION_LIFETIME_MS)  # type: ignore[attr-defined]
    with pytest.raises(SignInRefused):
        sign_ins.session(session_id)


def test_a_token_opens_its_account_and_only_whole(accounts: Accounts) -> None:
    token = accounts.add_system(VENDOR)
    assert accounts.by_token(token) == VENDOR
    for wrong in (token[:-1], token + "x", token.replace("acme", "officer"), "", "twk__", f"x{token}", "twk_acme_"):
        with pytest.raises(SignInRefused):
            accounts.by_token(wrong)


def test_no_secret_is_at_rest(sign_ins: SignIns, accounts: Accounts, tmp_path: Path) -> None:
    accounts.add_person(OFFICER, PASSWORD)
    secret = accounts.add_system(VENDOR).removeprefix("twk_acme_")  # which may hold a "_" itself
    session_id = sign_ins.by_password("officer", PASSWORD)
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for planted in (PASSWORD, secret, session_id):
        assert planted.encode() not in on_disk


def test_no_account_acts_as_the_node_itself(accounts: Accounts, tmp_path: Path) -> None:
    for add in (accounts.add_system, lambda somebody: accounts.add_person(somebody, PASSWORD)):
        with pytest.raises(BadInput, match="the node itself"):
            add(Principal("ward", Role.NODE))
    token = accounts.add_system(VENDOR)
    accounts.add_person(OFFICER, PASSWORD)
    file = sqlite3.connect(tmp_path / "accounts.db")
    file.execute("UPDATE account_record SET record = json_set(record, '$.role', 'node')")  # by whoever can write it
    file.commit()
    file.close()
    accounts = Accounts(tmp_path / "accounts.db", FixedClock())
    sign_ins = sign_ins_of(accounts, tmp_path, FixedClock())
    with pytest.raises(StoreAltered):
        accounts.by_token(token)
    with pytest.raises(StoreAltered):
        sign_ins.by_password("officer", PASSWORD)


def test_accounts_are_unique_and_well_named(accounts: Accounts) -> None:
    accounts.add_person(OFFICER, PASSWORD)
    with pytest.raises(Conflict):
        accounts.add_system(OFFICER)
    for bad in ("", "a b", "x" * 65, "../etc", "a_b"):
        with pytest.raises(BadInput):
            accounts.add_system(Principal(bad, Role.VENDOR))
    with pytest.raises(BadInput, match="12"):
        accounts.add_person(Principal("new", Role.OFFICER), "short")
