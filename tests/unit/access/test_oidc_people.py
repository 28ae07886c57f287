"""Whose account a person of the provider's is, and with which role."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinward.access.account_events import AT_THE_MACHINE
from twinward.access.account_store import IdentityRecord
from twinward.access.accounts import Accounts
from twinward.access.errors import SignInRefused, TokenRefused
from twinward.access.interfaces import Principal
from twinward.access.oidc.people import ProvidersPeople
from twinward.access.oidc.relying_party import Proven
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Role

ISSUER, PASSWORD = "https://login.example", "correct horse battery"
ROLES = {"officers": Role.OFFICER, "doctors": Role.CLINICIAN, "studies": Role.RESEARCHER}


def kim(*groups: str) -> Proven:
    return Proven(ISSUER, "sub-kim", "Kim", frozenset(groups), strong=False, then="/console")


@pytest.mark.parametrize(("group", "kept"), [("officers", False), ("studies", True)])
def test_whoever_becomes_an_officer_has_no_way_in_that_another_officer_may_have_made(
    tmp_path: Path, group: str, kept: bool
) -> None:
    accounts = Accounts(tmp_path / "accounts.db", FixedClock())
    people = ProvidersPeople(accounts, ROLES)
    accounts.add_person(Principal("kim", Role.CLINICIAN), PASSWORD)
    token, record = accounts.new_token("kim", 1, None)
    every = tuple(IdentityRecord(issuer=ISSUER, subject=one) for one in ("sub-kim", "sub-other"))
    ways = {"tokens": (record,), "identities": every}
    accounts.change("kim", lambda one: one.model_copy(update=ways), "token", AT_THE_MACHINE)
    assert people.account_of(kim("doctors"), ()).role is Role.CLINICIAN
    assert accounts.by_token(token).role is Role.CLINICIAN
    assert people.account_of(kim(group), ()).role is ROLES[group]
    if kept:
        assert accounts.by_token(token).role is ROLES[group]
        assert accounts.by_password("kim", PASSWORD, roles=frozenset(Role)).id == "kim"
    else:
        with pytest.raises(TokenRefused):
            accounts.by_token(token)
        with pytest.raises(SignInRefused):
            accounts.by_password("kim", PASSWORD, roles=frozenset(Role))
    assert accounts.record("kim").identities == (every if kept else every[:1])


def test_a_link_that_is_taken_away_meanwhile_makes_nobody_an_officer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(tmp_path / "accounts.db", FixedClock())
    people = ProvidersPeople(accounts, ROLES)
    accounts.add_person(Principal("kim", Role.CLINICIAN), PASSWORD)
    linked = accounts.record("kim").model_copy(
        update={"identities": (IdentityRecord(issuer=ISSUER, subject="sub-kim"),)}
    )
    monkeypatch.setattr(people, "linked", lambda _: linked)  # as it was a moment ago
    with pytest.raises(SignInRefused):
        people.account_of(kim("officers"), ())
    assert accounts.record("kim").role is Role.CLINICIAN
