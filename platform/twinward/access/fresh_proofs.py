"""A fresh proof over the API: who has a token shows, before what matters most, that it is them who holds it (RFC 9470).

A bearer token lasts for months, and whoever reads it has it. So exports, consents, accounts and lent roles ask people
for a second token, good for ``fresh_ms``, that a password and, where there is one, an app's code are worth. It is the
first one's: what ends that ends both. A token of an account that has nothing to prove by is a script's, and asks for
nothing; SMART tokens are five minutes old at most.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from functools import lru_cache
from typing import Final

import msgspec

from twinward.access.account_events import Via
from twinward.access.account_store import AccountRecord
from twinward.access.accounts import Accounts
from twinward.access.errors import NothingToProve, ProofNeeded, SignInRefused, TokenRefused, TooManyAttempts
from twinward.access.interfaces import AccessContext, Principal, Standing
from twinward.access.second_factors import SecondFactors
from twinward.access.sign_in_store import Kind, SignInStore
from twinward.core.clock import Clock
from twinward.core.errors import Refused
from twinward.core.rate_limit import MovingWindow
from twinward.core.vocabulary import Purpose, Role

PREFIX: Final = "twp_"
"""The public marker secret scanners look for."""
MOST_ATTEMPTS, WINDOW_MS = 5, 15 * 60_000
"""Of one account that fail. Whoever attempts has a token of it: no stranger can use them up."""

_PEOPLE: Final = frozenset({Role.OFFICER, Role.CLINICIAN, Role.RESEARCHER, Role.OPERATOR, Role.PATIENT})
_CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_READS: Final = frozenset({"GET", "HEAD"})
_SENSITIVE: Final = (
    (_CHANGES, re.compile(r"/api/1/(accounts|delegations|policy|erasures)(/.*)?")),
    (_CHANGES, re.compile(r"/api/1/twins/[^/]+/consent/?")),
    (_READS, re.compile(r"/api/1/audit/twins/[^/]+/accesses/?")),
    (_READS | {"POST"}, re.compile(r"/fhir/(.*/)?\$export/?")),
    (_READS, re.compile(r"/fhir/\$export-jobs/[^/]+/.+")),
)
"""Methods and routes: how people sign in and what is lent, policy and erasure, consent, and what is taken out."""


@lru_cache(maxsize=1024)
def is_sensitive(method: str, route: str) -> bool:
    """Whether a request asks for a fresh proof: decided once for each route.

    ``route`` is the template that the router chose: a path has ways to be written that a pattern does not foresee.
    """
    return any(method in methods and pattern.fullmatch(route) for methods, pattern in _SENSITIVE)


class _Given(msgspec.Struct, frozen=True):
    account: str
    generation: int
    token: int


class FreshProofs:
    """Gives them and knows them. Safe to share between threads and processes.

    Args:
        accounts: whose they are.
        factors: their apps.
        store: where they are kept.
        clock: the node's time.
        fresh_ms: for how long one is good.
        needed_by: roles for which a password is no proof.
    """

    def __init__(
        self,
        accounts: Accounts,
        factors: SecondFactors,
        store: SignInStore,
        clock: Clock,
        *,
        fresh_ms: int,
        needed_by: Collection[Role] = (),
    ) -> None:
        self.fresh_ms = fresh_ms
        self._accounts = accounts
        self._factors = factors
        self._store = store
        self._clock = clock
        self._needed_by = frozenset(needed_by)
        self._failed = MovingWindow(clock, MOST_ATTEMPTS, WINDOW_MS)

    def require_person(self, by: AccessContext) -> None:
        """Raise ``Refused``, logged, for roles that no person has."""
        if by.principal.role not in _PEOPLE or by.purpose is not Purpose.COMPLIANCE:
            self._accounts.events.denied(by, "fresh proofs are people's")
            raise Refused("fresh proofs are for people", hint="systems and vendors sign: POST /oauth/token")

    def _provable(self, principal: Principal, via: Via) -> AccountRecord:
        record = self._accounts.find(principal.id)
        if record is None or not record.password:
            self._denied(principal, "nothing to prove anew by", via)
            raise NothingToProve("this account has no password", hint="its tokens are a script's, and ask for none")
        if self._accounts.must_change_password(record):
            self._denied(principal, "a password that has to be changed is no proof", via)
            raise NothingToProve("your password has to be changed first", hint="sign in to the console and choose one")
        needed = not self._needed_by.isdisjoint(self._accounts.lent.roles_of(record))
        if not record.totp and (record.passkeys or needed):
            self._denied(principal, "a password alone is no proof", via)
            raise NothingToProve("a password alone is no proof for you", hint="set up an app, or use the console")
        return record

    def prove(self, principal: Principal, password: str, code: str, *, via: Via) -> str:
        """A token that is good for ``fresh_ms``, beside the one that it was asked for with.

        Raises:
            NothingToProve: there is no way of proving it here.
            SignInRefused: password or code is not right; logged.
            TooManyAttempts: nothing was looked at; logged.
            Unavailable: it cannot be logged.
        """
        record = self._provable(principal, via)
        if wait_ms := self._failed.admit(record.id):
            self._accounts.braked(record.id, via=via)
            raise TooManyAttempts(-(-wait_ms // 1000))
        self._accounts.by_password(record.id, password, via=via, roles=frozenset(Role))
        by = f"password and {self._factors.check(record.id, code, via=via)}" if record.totp else "password"
        self._failed.take_back(record.id)
        self._accounts.events.signed_in(record.principal(), via, f"proven anew by {by}")
        standing = principal.standing or Standing(record.generation)
        value = msgspec.json.encode(_Given(record.id, standing.generation, standing.token))
        return PREFIX + self._store.put(Kind.PROOF, record.id, value, self._clock.now_ms() + self.fresh_ms)

    def by_token(self, token: str) -> Principal:
        """Whose proof this is. Raises ``SignInRefused``, ``TokenRefused``: what it stands beside is good no longer."""
        kept = self._store.find(Kind.PROOF, token.removeprefix(PREFIX))
        if kept is None:
            raise SignInRefused
        given = msgspec.json.decode(kept.value, type=_Given)
        record = self._accounts.find(given.account)
        if record is None:
            raise SignInRefused
        standing = Standing(given.generation, given.token, proven=True)
        if fault := record.fault(standing, self._clock.now_ms()):
            raise TokenRefused(record.id, given.token, fault)
        return replace(record.principal(), standing=standing)

    def require(self, principal: Principal) -> None:
        """Raise ``ProofNeeded`` where who asks for something sensitive has a way to give one, and has not."""
        record = self._accounts.find(principal.id)
        proven = principal.standing is not None and principal.standing.proven
        if record is not None and (record.password or record.passkeys or record.identities) and not proven:
            raise ProofNeeded(self.fresh_ms // 1000)

    def missing(self, principal: Principal, via: Via) -> None:
        """Log that somebody asked without one."""
        self._denied(principal, "a fresh proof was asked for", via)

    def _denied(self, principal: Principal, why: str, via: Via) -> None:
        self._accounts.events.denied(AccessContext(principal, Purpose.COMPLIANCE, detail=tuple(via)), why)
