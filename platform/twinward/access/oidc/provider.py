"""The hospital's OpenID provider over HTTP: its documents, its keys, and the exchange of a code.

Nothing is called but the configured issuer, and hosts that the settings name besides: what its discovery document says
is held against that. No redirect is followed; an answer has an end (``MOST_BYTES``) and a time. Documents and keys are
kept for an hour; a key that is not known has them read anew, at most once a minute, whatever tokens say. While one asks
a provider that does not answer nobody else waits for long: strangers who begin sign-ins hold no threads of the node.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlsplit

from twinward.access.oidc.id_tokens import ProviderRefused, keys_of
from twinward.core import small_json
from twinward.core.clock import Clock
from twinward.core.errors import BadInput, Unavailable
from twinward.core.outbound import connection, normalised, why_silent

if TYPE_CHECKING:
    import httpx
    from joserfc.jwk import Key

MOST_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 10.0
KEPT_MS, ANEW_MS = 3_600_000, 60_000
"""How long documents are kept, and after how long at the soonest keys are read anew."""
SILENT_MS: Final = 15_000
"""How long a provider that did not answer is not asked for its documents again."""
_TURN_S: Final = 2.0
"""How long somebody waits while another one asks it."""
_DISCOVERY: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Client:
    """What this node is to the provider. ``secret`` empty: a public client, which PKCE alone protects."""

    issuer: str
    client_id: str
    secret: str = ""
    also_at: tuple[str, ...] = ()
    """Origins besides the issuer's own that its documents may name."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the provider answers. ``says_issuer``: its answers to browsers carry ``iss`` (RFC 9207)."""

    authorization: str
    token: str
    keys: str
    end_session: str
    says_issuer: bool


class ProviderSilent(Unavailable):
    """The hospital's sign-in does not answer, or not as OpenID Connect has it."""


class Provider:
    """One provider. Safe to share between threads."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._endpoints: tuple[int, Endpoints] | None = None
        self._keys: tuple[int, dict[str, list[Key]]] | None = None
        self._silent: tuple[int, str] | None = None

    def endpoints(self) -> Endpoints:
        """Where it answers. Raises ``ProviderSilent``."""
        with self._turn():
            now_ms = self._clock.now_ms()
            if self._endpoints is None or not 0 <= now_ms - self._endpoints[0] < KEPT_MS:
                with self._asking(now_ms):
                    said = self._json("GET", self.client.issuer.rstrip("/") + _DISCOVERY)
                    self._endpoints = now_ms, self._read(said)
            return self._endpoints[1]

    def keys(self, kid: str) -> dict[str, list[Key]]:
        """Its public keys, read anew where this one is not among them. Raises ``ProviderSilent``."""
        address = self.endpoints().keys
        with self._turn():
            now_ms = self._clock.now_ms()
            kept = self._keys
            if kept is None or not 0 <= now_ms - kept[0] < (KEPT_MS if kid in kept[1] else ANEW_MS):
                with self._asking(now_ms):
                    said = self._json("GET", address)
                    try:
                        kept = self._keys = now_ms, keys_of(said)
                    except ProviderRefused as error:
                        raise _silent(str(error)) from None
            return kept[1]

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        """The ID token for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

        Raises:
            ProviderRefused: the provider does not take the code.
            ProviderSilent: it does not answer.
        """
        import httpx  # not in a node that no provider signs people in to

        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": self.client.client_id,
        }
        auth = httpx.BasicAuth(*_encoded(self.client)) if self.client.secret else None
        said = self._json("POST", self.endpoints().token, form, auth)
        token = said.get("id_token")
        if not isinstance(token, str):
            raise ProviderRefused("the provider gave no ID token")
        return token

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One at a time. Raises ``ProviderSilent``: somebody asks it already, and it does not answer."""
        if not self._lock.acquire(timeout=_TURN_S):
            raise _silent("it has not answered yet")
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _asking(self, now_ms: int) -> Iterator[None]:
        """Ask it in one's turn, unless it was silent just now. Raises ``ProviderSilent``."""
        if self._silent is not None and 0 <= now_ms - self._silent[0] < SILENT_MS:
            raise ProviderSilent(self._silent[1], hint=_MEANWHILE)
        try:
            yield
        except ProviderSilent as error:
            self._silent = self._clock.now_ms(), str(error)
            raise
        self._silent = None

    def _read(self, said: Mapping[str, Any]) -> Endpoints:
        if said.get("issuer") != self.client.issuer:
            raise _silent("its discovery document is of another issuer")
        ends = said.get("end_session_endpoint", "")
        return Endpoints(
            authorization=self._own(said, "authorization_endpoint"),
            token=self._own(said, "token_endpoint"),
            keys=self._own(said, "jwks_uri"),
            end_session=self._own(said, "end_session_endpoint") if ends else "",
            says_issuer=said.get("authorization_response_iss_parameter_supported") is True,
        )

    def _own(self, said: Mapping[str, Any], name: str) -> str:
        address = said.get(name)
        if not isinstance(address, str) or _origin(address) not in _origins((self.client.issuer, *self.client.also_at)):
            raise _silent(f"its {name} is none, or of a host that oidc_also_at does not name")
        return address

    def _json(
        self, method: str, address: str, form: Mapping[str, str] | None = None, auth: httpx.Auth | None = None
    ) -> dict[str, Any]:
        import httpx

        try:
            with (
                connection(address, timeout=TIMEOUT_S) as client,
                client.stream(method, address, data=form, auth=auth, headers={"accept": "application/json"}) as answer,
            ):
                body = _bounded(answer)
                status = answer.status_code
        except httpx.HTTPError as error:
            raise _silent(why_silent(error)[0]) from None
        except BadInput as error:  # an address with a query, a proxy that is none
            raise _silent(str(error)) from None
        if form is not None and status in (400, 401):
            raise ProviderRefused(f"the provider does not take the code ({_error_of(body)})")
        if status != 200:
            raise _silent(f"it answers {status}")
        with suppress(BadInput):
            said = small_json.decode(body)
            if isinstance(said, dict):
                return said
        raise _silent("what it says is no JSON object")


def _bounded(answer: httpx.Response) -> bytes:
    body, until_s = bytearray(), time.monotonic() + TIMEOUT_S
    for piece in answer.iter_bytes():
        body += piece
        if time.monotonic() > until_s:  # the client's own time is for each piece
            raise _silent(f"it takes more than {TIMEOUT_S:g} seconds")
        if len(body) > MOST_BYTES:
            raise _silent(f"it says more than {MOST_BYTES // 1024} KiB")
    return bytes(body)


def _encoded(client: Client) -> tuple[str, str]:
    """RFC 6749 section 2.3.1: each form-encoded, then Basic."""
    return quote_plus(client.client_id), quote_plus(client.secret)


def _error_of(body: bytes) -> str:
    """RFC 6749's word, which is one of a few; nothing else of the answer is repeated."""
    with suppress(BadInput):
        said = small_json.decode(body)
        word = said.get("error") if isinstance(said, dict) else None
        if isinstance(word, str) and word in _WORDS:
            return word
    return "no reason that is known"


_WORDS: Final = {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type"}


def _origins(addresses: Collection[str]) -> set[str]:
    return {_origin(one) for one in addresses} - {""}


def _origin(address: str) -> str:
    """Scheme, host and port of an address; empty where it is none."""
    try:
        parts = urlsplit(normalised(address.partition("?")[0].partition("#")[0]))
    except BadInput:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _silent(why: str) -> ProviderSilent:
    return ProviderSilent(f"the hospital's sign-in cannot be used: {why}", hint=_MEANWHILE)


_MEANWHILE: Final = "a password or a passkey of this node signs in meanwhile"
