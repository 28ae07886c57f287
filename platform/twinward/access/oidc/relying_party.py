"""Signing in by the hospital's provider: the authorization code flow with PKCE (RFC 6749, 7636, 9700, 9207).

What a flow needs to know when the browser comes back (state, nonce, verifier, where to go on) travels in a cookie that
is sealed under a key of the tenant's: strangers who begin and never come back have this node keep nothing, and any
process of it can finish what another one began. A flow is finished once; that is noted when everything else is right.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from twinward.access.account_store import IdentityRecord
from twinward.access.oidc.id_tokens import (
    OLDEST_S,
    Expected,
    ProviderRefused,
    read_id_token,
    require_claims,
    require_signed,
)
from twinward.access.oidc.logout_tokens import require_logout
from twinward.access.oidc.provider import Provider
from twinward.access.sign_in_store import SignInStore
from twinward.audit.interfaces import EventKeys
from twinward.core.clock import Clock
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed

FLOW_MS: Final = 10 * 60_000
"""How long somebody may take at the provider."""
MOST_CODE_CHARS: Final = 2048
_MOST_GROUPS, _MOST_GROUP_CHARS = 1000, 256
_KEY_LABEL: Final = b"twinward/oidc-flow/1"
_AAD: Final = b"twinward/oidc-flow/1\x00"
_USED: Final = b"twinward/oidc-used/1"
_LOGGED_OUT: Final = b"twinward/oidc-logout/1"


class _Flow(msgspec.Struct, frozen=True):
    state: str
    nonce: str
    verifier: str
    begun_ms: int
    then: str
    account: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser is sent, and the cookie that it comes back with."""

    address: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the browser comes back with: the query of the redirect, each parameter at most once."""

    code: str = ""
    state: str = ""
    issuer: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Proven:
    """Who somebody is to the provider. ``strong``: it says that it asked for two factors.

    ``account`` and ``session``: what is confirmed by this, where a signed-in person was sent to prove it anew.
    """

    issuer: str
    subject: str
    name: str
    groups: frozenset[str]
    strong: bool
    then: str
    account: str = ""
    session: str = ""


class RelyingParty:
    """This node as the provider's client. Safe to share between threads and processes.

    Args:
        provider: who is asked.
        store: where it is noted which flows were finished.
        keys: the tenant's, to seal flows under.
        clock: the node's time.
        redirect_uri: where browsers come back to; of the settings, never of a request.
        scopes: what is asked for beside ``openid``.
        groups_claim: where the provider says groups.
        strong_acr: values of ``acr`` that stand for two factors; ``amr`` with "mfa" (RFC 8176) does in any case.
    """

    def __init__(
        self,
        provider: Provider,
        store: SignInStore,
        keys: EventKeys,
        clock: Clock,
        *,
        redirect_uri: str,
        scopes: Sequence[str] = ("profile",),
        groups_claim: str = "groups",
        strong_acr: Sequence[str] = (),
    ) -> None:
        self.provider = provider
        self._store = store
        self._keys = keys
        self._clock = clock
        self._redirect_uri = redirect_uri
        self._scopes = ("openid", *(one for one in scopes if one != "openid"))
        self._groups_claim = groups_claim
        self._strong_acr = frozenset(strong_acr)

    def begin(self, then: str, *, account: str = "", session: str = "") -> Begun:
        """Send somebody there; to prove anew who they are where an account and its session are named.

        Raises:
            ProviderSilent: it does not answer.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        flow = _Flow(state, nonce, verifier, self._clock.now_ms(), then, account, session)
        query = {
            "response_type": "code",
            "client_id": self.provider.client.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self._scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": challenge_of(flow.verifier),
            "code_challenge_method": "S256",
        }
        if account:
            query |= {"prompt": "login", "max_age": "0"}
        address = self.provider.endpoints().authorization
        return Begun(f"{address}{'&' if '?' in address else '?'}{urlencode(query)}", self._sealed(flow))

    def finish(self, cookie: str, answer: Answer) -> Proven:
        """Who came back.

        Raises:
            ProviderRefused: it proves nothing: another browser's, too late, not the provider's, used before.
            ProviderSilent: the provider does not answer.
        """
        flow = self._opened(cookie)
        if not hmac.compare_digest(flow.state.encode(), answer.state.encode()):
            raise ProviderRefused("it is not this browser's sign-in")
        issuer = self.provider.client.issuer
        if answer.issuer != issuer and (answer.issuer or self.provider.endpoints().says_issuer):
            raise ProviderRefused("the answer is another provider's")
        if answer.error or not 0 < len(answer.code) <= MOST_CODE_CHARS:
            raise ProviderRefused("the provider refused, or whoever was asked gave up")
        token = read_id_token(self.provider.exchange(answer.code, flow.verifier, self._redirect_uri))
        require_signed(token, self.provider.keys(token.kid))
        since_s = flow.begun_ms // 1000 if flow.account else 0
        expected = Expected(issuer, self.provider.client.client_id, flow.nonce, self._clock.now_ms() // 1000, since_s)
        subject = require_claims(token, expected)
        if not self._store.use_once(length_prefixed(_USED, flow.state.encode()), flow.begun_ms + 2 * FLOW_MS):
            raise ProviderRefused("this sign-in was finished before")
        return Proven(
            issuer=issuer,
            subject=subject,
            name=_name(token.claims),
            groups=_groups(token.claims.get(self._groups_claim)),
            strong=asked_for_two(token.claims, self._strong_acr),
            then=flow.then,
            account=flow.account,
            session=flow.session,
        )

    def signed_out(self, text: str) -> IdentityRecord:
        """Whom a logout token of the provider's signs out; it is used by it.

        Raises:
            ProviderRefused: it is none, or was used before.
            ProviderSilent: the provider does not answer.
        """
        token = read_id_token(text)
        require_signed(token, self.provider.keys(token.kid))
        client, now_s = self.provider.client, self._clock.now_ms() // 1000
        subject, jti = require_logout(token, issuer=client.issuer, client_id=client.client_id, now_s=now_s)
        until_ms = (now_s + 2 * OLDEST_S) * 1000  # longer than any is taken
        if not self._store.use_once(length_prefixed(_LOGGED_OUT, client.issuer.encode(), jti.encode()), until_ms):
            raise ProviderRefused("this logout token was used before")
        return IdentityRecord(issuer=client.issuer, subject=subject)

    def farewell(self, back_to: str) -> str:
        """Where a browser signs out at the provider (RP-Initiated Logout 1.0); empty where it has no such page."""
        ends = self.provider.endpoints().end_session
        if not ends:
            return ""
        query = {"client_id": self.provider.client.client_id, "post_logout_redirect_uri": back_to}
        return f"{ends}{'&' if '?' in ends else '?'}{urlencode(query)}"

    def _key(self) -> bytes:
        return derive(self._keys.audit_key(None), _KEY_LABEL, b"")

    def _sealed(self, flow: _Flow) -> str:
        return base64.urlsafe_b64encode(seal(self._key(), msgspec.json.encode(flow), _AAD)).decode()

    def _opened(self, cookie: str) -> _Flow:
        try:
            sealed = base64.b64decode(cookie.encode(), altchars=b"-_", validate=True)
            flow = msgspec.json.decode(open_sealed(self._key(), sealed, _AAD), type=_Flow)
        except (OpenError, ValueError):
            raise ProviderRefused("this browser began no sign-in") from None
        if not 0 <= self._clock.now_ms() - flow.begun_ms < FLOW_MS:
            raise ProviderRefused("it took too long")
        return flow


def challenge_of(verifier: str) -> str:
    """RFC 7636 section 4.2, S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _name(claims: dict[str, Any]) -> str:
    """What the provider calls somebody, as far as it can stand in a list."""
    name = claims.get("name")
    return "".join(one for one in name if one.isprintable())[:100].strip() if isinstance(name, str) else ""


def _groups(said: object) -> frozenset[str]:
    listed = [said] if isinstance(said, str) else said
    if not isinstance(listed, list):
        return frozenset()
    return frozenset(one for one in listed[:_MOST_GROUPS] if isinstance(one, str) and 0 < len(one) <= _MOST_GROUP_CHARS)


def asked_for_two(claims: dict[str, Any], strong_acr: Collection[str]) -> bool:
    """Whether claims, of whatever kind, say that the provider asked for two factors (RFC 8176; ``acr``)."""
    amr, acr = claims.get("amr"), claims.get("acr")
    return (isinstance(amr, list) and "mfa" in amr) or (isinstance(acr, str) and acr in strong_acr)
