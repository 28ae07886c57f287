"""Sign-ins beside a test's accounts, in a file of their own."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from twinward.access.accounts import Accounts, NobodysKeys
from twinward.access.challenges import Challenges
from twinward.access.passkeys import Passkeys, RelyingParty
from twinward.access.second_factors import SecondFactors
from twinward.access.sessions import SESSION_IDLE_MS, SESSION_LIFETIME_MS, Sessions
from twinward.access.sign_in_store import SignInStore
from twinward.access.sign_ins import SignIns
from twinward.core.clock import Clock
from twinward.core.vocabulary import Role

PARTY = RelyingParty("twinward.example", ("https://twinward.example",))


def sign_ins_of(
    accounts: Accounts,
    folder: Path,
    clock: Clock,
    *,
    lifetime_ms: int = SESSION_LIFETIME_MS,
    idle_ms: int = SESSION_IDLE_MS,
    needed_by: Collection[Role] = (),
) -> SignIns:
    """As another process opens them: each call has connections of its own."""
    store = SignInStore(folder / "sign_ins.db", NobodysKeys(), clock)
    sessions = Sessions(store, clock, lifetime_ms=lifetime_ms, idle_ms=idle_ms)
    keys = NobodysKeys()
    passkeys = Passkeys(accounts, Challenges(store, keys, clock), keys, PARTY)
    return SignIns(accounts, sessions, store, SecondFactors(accounts, store, keys), passkeys, needed_by)
