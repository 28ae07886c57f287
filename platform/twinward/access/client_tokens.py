"""Access tokens of systems and vendors: given for a signed assertion, good for five minutes, then asked for anew.

SMART Backend Services, https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html; RFC 6749, section 4.4. A
token is 256 random bits, of which only the hash is kept, in the store of sign-ins: every process knows it. It is its
account's: what ends the account's sign-ins ends it, and what it began ends with it.

Over mutual TLS (RFC 8705) a registered certificate proves a client as well, without an assertion; and a token that was
given over a connection with a certificate is good over connections with that one only.

Whoever is refused is told ``invalid_client`` and nothing else; the log is told why. Attempts that fail are counted by
address, not by client: a key is not guessed, and no stranger can hold a client off by its name.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import Final, NoReturn

import msgspec

from twinward.access import scopes
from twinward.access.account_events import Via
from twinward.access.account_store import AccountRecord
from twinward.access.accounts import Accounts
from twinward.access.client_assertions import (
    CLIENT,
    LIFETIME_S,
    SKEW_S,
    AssertionRefused,
    read_assertion,
    require_claims,
    require_signed,
)
from twinward.access.errors import NoToken, SignInRefused, TokenRefused, TooManyAttempts
from twinward.access.interfaces import Principal, Standing
from twinward.access.sign_in_store import Kind, SignInStore
from twinward.core.clock import Clock
from twinward.core.rate_limit import MovingWindow, network_of
from twinward_crypto.kdf import length_prefixed

PREFIX: Final = "twa_"
"""The public marker secret scanners look for."""
TOKEN_S: Final = 300
PER_ADDRESS, PER_CLIENT, WINDOW_MS = 30, 60, 60_000
"""Failed attempts of an address, and good ones of a client, a minute."""

_USED: Final = b"twinward/client-assertion/1"


class _Given(msgspec.Struct, frozen=True):
    account: str
    generation: int
    scopes: tuple[str, ...]
    certificate: str = ""
    """The thumbprint of the one it is bound to."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What was given, for so long from now."""

    token: str
    lifetime_s: int
    scopes: tuple[str, ...]


class ClientTokens:
    """Gives them and knows them. Safe to share between threads and processes.

    Args:
        accounts: whose keys are registered.
        store: where tokens are, and which assertions were used.
        clock: the node's time.
    """

    def __init__(self, accounts: Accounts, store: SignInStore, clock: Clock) -> None:
        self._accounts = accounts
        self._store = store
        self._clock = clock
        self._failed = MovingWindow(clock, PER_ADDRESS, WINDOW_MS)
        self._given = MovingWindow(clock, PER_CLIENT, WINDOW_MS)

    def give(
        self, assertion: str, scope: str, *, audience: str, named: str, address: str, certificate: str = ""
    ) -> AccessToken:
        """A token for an assertion, used by it; without one for the connection's certificate.

        Args:
            assertion: the JWT; empty where the certificate alone is to prove the client.
            scope: what is asked for.
            audience: this node's token URL.
            named: the client that the request names besides, or empty.
            address: from where it came.
            certificate: the thumbprint of the certificate that the connection proved; empty for none.

        Raises:
            NoToken: ``invalid_client`` or ``invalid_scope``.
            TooManyAttempts: nothing was looked at, or this client had too many.
            Unavailable: it cannot be logged.
        """
        how = "client assertion" if assertion else "client certificate"
        via, network = (("via", how), ("address", address)), network_of(address)
        if wait_ms := self._failed.admit(network):
            self._accounts.braked("", via=via)
            raise TooManyAttempts(-(-wait_ms // 1000))
        if assertion:
            record, kid = self._proven(assertion, audience, named, via)
        else:
            record, kid = self._held(certificate, named, via), certificate
        if fault := record.certificate_fault(certificate, self._clock.now_ms()):
            self._refuse(record, f"a client's assertion {fault}", via)
        self._failed.take_back(network)
        granted = scopes.granted_of(scope)
        facts = (*via, ("key", kid), ("scopes", " ".join(granted)))
        said = "a signed assertion" if assertion else "a client certificate"
        self._accounts.events.signed_in(record.principal(), facts, said)
        value = msgspec.json.encode(_Given(record.id, record.generation, granted, certificate))
        expires_at_ms = self._clock.now_ms() + TOKEN_S * 1000
        return AccessToken(PREFIX + self._store.put(Kind.ACCESS, record.id, value, expires_at_ms), TOKEN_S, granted)

    def by_token(self, token: str, certificate: str = "") -> tuple[Principal, tuple[str, ...]]:
        """Whose token this is, and for which scopes. ``certificate``: as ``give``.

        Raises:
            SignInRefused: it is nobody's, or its five minutes are over.
            TokenRefused: its account's sign-ins were ended, or it is bound to another certificate. To be logged, and
                answered as any other.
        """
        kept = self._store.find(Kind.ACCESS, token.removeprefix(PREFIX))
        if kept is None:
            raise SignInRefused
        given = msgspec.json.decode(kept.value, type=_Given)
        record = self._accounts.find(given.account)
        if record is None:
            raise SignInRefused
        standing = Standing(given.generation, until_ms=kept.expires_at_ms)
        fault = record.fault(standing, self._clock.now_ms())
        if given.certificate and not hmac.compare_digest(given.certificate, certificate):
            fault = fault or "without the certificate it is bound to"
        if fault:
            raise TokenRefused(record.id, 0, fault)
        return replace(record.principal(), standing=standing), given.scopes

    def too_narrow(self, principal: Principal, via: Via) -> None:
        """Log that a token was used for more than it was granted."""
        self._accounts.events.refused(self._accounts.find(principal.id), "the token was granted reading only", via)

    def _proven(self, text: str, audience: str, named: str, via: Via) -> tuple[AccountRecord, str]:
        """The account that an assertion proves, and by which key. It is used up. Raises as ``give``."""
        record = None
        try:
            assertion = read_assertion(text)
            record = self._accounts.find(assertion.client)
            require_signed(assertion, () if record is None else record.client_keys)
            now_s = self._clock.now_ms() // 1000
            jti = require_claims(assertion, audience=audience, now_s=now_s)
            if record is None or record.disabled:
                raise AssertionRefused("the account is disabled")
            if named not in ("", record.id):
                raise AssertionRefused("the request names another client")
            self._admit(record, via)
            # Remembered for longer than any assertion is good, so that no moment is left in between.
            until_ms = (now_s + LIFETIME_S + 2 * SKEW_S) * 1000
            if not self._store.use_once(length_prefixed(_USED, record.id.encode(), jti.encode()), until_ms):
                raise AssertionRefused("it was used before")
        except AssertionRefused as refusal:
            self._refuse(record, f"a client's assertion: {refusal}", via)
        return record, assertion.kid

    def _held(self, certificate: str, named: str, via: Via) -> AccountRecord:
        """The account that is named, which this certificate proves (RFC 8705, section 2). Raises as ``give``."""
        record = self._accounts.find(named) if CLIENT.fullmatch(named) else None
        if record is None or not record.certificate_bound:
            self._refuse(record, "a client's certificate: the account has none", via)
        if fault := record.certificate_fault(certificate, self._clock.now_ms()):
            self._refuse(record, f"a client's certificate: {fault}", via)
        if record.disabled:
            self._refuse(record, "a client's certificate: the account is disabled", via)
        self._admit(record, via)
        return record

    def _admit(self, record: AccountRecord, via: Via) -> None:
        if wait_ms := self._given.admit(record.id):
            self._accounts.events.refused(record, "too many tokens in a minute", via)
            raise TooManyAttempts(-(-wait_ms // 1000))

    def _refuse(self, record: AccountRecord | None, why: str, via: Via) -> NoReturn:
        self._accounts.events.refused(record, why, via)
        raise NoToken("invalid_client", "the client could not be authenticated") from None
