"""SMART Backend Services: which assertions prove who a system is, what its token is good for, and when that ends."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.client_assertions import Signer, segment
from twinward.access import client_assertions, scopes
from twinward.access.account_events import AT_THE_MACHINE as AT
from twinward.access.account_store import ClientCertificateRecord
from twinward.access.accounts import Accounts, NobodysKeys
from twinward.access.client_keys import MOST_KEYS, read_jwks
from twinward.access.client_tokens import PER_ADDRESS, PER_CLIENT, TOKEN_S, AccessToken, ClientTokens
from twinward.access.errors import NoToken, ScopeTooNarrow, SignInEnded, SignInRefused, TokenRefused, TooManyAttempts
from twinward.access.interfaces import Principal
from twinward.access.sign_in_store import SignInStore
from twinward.audit.models import AccessEvent, LoggedEvent
from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Action, Role

URL = "https://twinward.hospital.example/oauth/token"


@dataclass
class Clients:
    """One client with its key, and what gives it tokens."""

    home: Path
    clock: FixedClock
    accounts: Accounts
    tokens: ClientTokens
    signer: Signer

    def now_s(self) -> int:
        return self.clock.now_ms() // 1000

    def give(self, assertion: str, scope: str = "system/*.rs", **other: str) -> AccessToken:
        said = {"audience": URL, "named": "", "address": "192.0.2.7"} | other
        return self.tokens.give(assertion, scope, **said)

    def assertion(self, **other: Any) -> str:
        return self.signer.assertion(URL, self.now_s(), **other)

    def another_process(self) -> ClientTokens:
        accounts = Accounts(self.home / "accounts.db", self.clock)
        return ClientTokens(accounts, SignInStore(self.home / "sign_ins.db", NobodysKeys(), self.clock), self.clock)


@pytest.fixture(params=["ES384", "RS384"])
def clients(request: pytest.FixtureRequest, tmp_path: Path) -> Clients:
    return clients_in(tmp_path, request.param)


class Trail(list[AccessEvent]):
    """Takes events."""

    def record(self, events: Sequence[AccessEvent]) -> list[LoggedEvent]:
        self += events
        return [LoggedEvent(number, bytes(32), event) for number, event in enumerate(events)]


def clients_in(home: Path, alg: str = "ES384", trail: Trail | None = None) -> Clients:
    clock, signer = FixedClock(), Signer("ehr", alg=alg)
    accounts = Accounts(home / "accounts.db", clock, trail=trail)
    accounts.add_client(Principal("ehr", Role.SYSTEM, "EHR"), read_jwks(signer.jwks(), clock.now_ms()))
    store = SignInStore(home / "sign_ins.db", NobodysKeys(), clock)
    return Clients(home, clock, accounts, ClientTokens(accounts, store, clock), signer)


def test_a_signed_assertion_is_worth_a_token_for_five_minutes(clients: Clients) -> None:
    given = clients.give(clients.assertion())
    assert (given.lifetime_s, given.scopes) == (TOKEN_S, ("system/*.rs",)) == (300, ("system/*.rs",))
    principal, granted = clients.another_process().by_token(given.token)
    assert (principal, granted) == (Principal("ehr", Role.SYSTEM, "EHR"), ("system/*.rs",))
    clients.clock.advance(299_999)
    assert clients.tokens.by_token(given.token)
    clients.accounts.require_standing(principal)
    clients.clock.advance(1)
    with pytest.raises(SignInRefused):
        clients.tokens.by_token(given.token)
    with pytest.raises(SignInEnded):  # a stream that it began ends with it
        clients.accounts.require_standing(principal)
    kept = (clients.home / "sign_ins.db").read_bytes()
    assert given.token.removeprefix("twa_").encode() not in kept


def test_an_assertion_is_good_once_in_every_process_and_after_a_restart(clients: Clients) -> None:
    assertion = clients.assertion()
    clients.give(assertion)
    for tokens in (clients.tokens, clients.another_process()):
        with pytest.raises(NoToken):
            tokens.give(assertion, "system/*.rs", audience=URL, named="", address="192.0.2.8")
    clients.clock.advance(239_999)  # the last moment of its life
    with pytest.raises(NoToken):
        clients.give(assertion)
    clients.give(clients.assertion(jti="another"))
    with sqlite3.connect(clients.home / "sign_ins.db") as db:
        assert db.execute("SELECT count(*) FROM used_once").fetchone() == (2,)
    clients.clock.advance(361_000)
    clients.give(clients.assertion())
    with sqlite3.connect(clients.home / "sign_ins.db") as db:
        assert db.execute("SELECT count(*) FROM used_once").fetchone() == (1,)


def test_a_certificate_alone_gets_a_token_and_the_log_says_by_what_a_client_was_proven(tmp_path: Path) -> None:
    trail = Trail()
    clients = clients_in(tmp_path, trail=trail)
    now_ms = clients.clock.now_ms()
    held = ClientCertificateRecord(thumbprint="t" * 43, subject="CN=ehr", expires_at_ms=now_ms + 1000, made_at_ms=0)
    clients.accounts.change("ehr", lambda one: one.ended(certificates=(held,), certificate_bound=True), "", AT)
    for assertion in ("", clients.assertion()):
        token = clients.give(assertion, named="ehr", certificate=held.thumbprint).token
        assert clients.tokens.by_token(token, held.thumbprint)
        for other in ("", "T" * 43):
            with pytest.raises(TokenRefused):
                clients.tokens.by_token(token, other)
            refused(clients, assertion and clients.assertion(), named="ehr", certificate=other)
    refused(clients, "", named="nobody", certificate=held.thumbprint)
    clients.clock.advance(1000)
    refused(clients, "", named="ehr", certificate=held.thumbprint)
    signed_in = [one for one in trail if one.action is Action.SIGN_IN]
    permitted = [(one.reason, dict(one.detail)) for one in signed_in if one.decision == "permit"]
    assert [reason for reason, _ in permitted] == ["a client certificate", "a signed assertion"]
    assert [(told["via"], told["key"]) for _, told in permitted] == [
        ("client certificate", held.thumbprint),
        ("client assertion", "k1"),
    ]
    why = [one.reason for one in signed_in if one.decision == "deny"]
    assert why == [
        *["a client's certificate: without its certificate"] * 2,
        *["a client's assertion without its certificate"] * 2,
        "a client's certificate: the account has none",
        "a client's certificate: by a certificate that has expired",
    ]


WRONG: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "https://other.example/oauth/token"},
    "the audience and another": {"aud": [URL, "https://other.example/oauth/token"]},
    "an audience that begins so": {"aud": URL + "/"},
    "an audience in capitals": {"aud": URL.upper()},
    "no audience": {"aud": None},
    "no expiry": {"exp": None},
    "expiry as text": {"exp": "99999999999"},
    "expiry as truth": {"exp": True},
    "no jti": {"jti": None},
    "an empty jti": {"jti": ""},
    "a long jti": {"jti": "x" * 257},
    "a jti that is no text": {"jti": 7},
    "another subject": {"sub": "acme"},
    "no subject": {"sub": None},
    "no issuer": {"iss": None},
    "an issuer that is no id": {"iss": "\ud800", "sub": "\ud800"},
    "an issuer that is a list": {"iss": ["ehr"]},
    "nobody": {"iss": "nobody", "sub": "nobody"},
}
TIMES = {"exp": (0, 331, 10**12), "nbf": (31, 10**9), "iat": (31,)}


def refused(clients: Clients, assertion: str, **other: str) -> str:
    with pytest.raises(NoToken) as refusal:
        clients.give(assertion, **other)
    assert refusal.value.code == "invalid_client"
    return str(refusal.value)


def test_what_does_not_prove_who_it_is_gets_one_answer(tmp_path: Path) -> None:
    clients = clients_in(tmp_path)
    said = set()
    for address, (name, claims) in enumerate(WRONG.items()):
        said.add(refused(clients, clients.assertion(**claims), address=f"192.0.2.{address}"))
        assert said == {"the client could not be authenticated"}, name
    for claim, values in TIMES.items():
        for ahead_s in values:
            assertion = clients.assertion(**{claim: clients.now_s() + ahead_s})
            said.add(refused(clients, assertion, address=f"198.51.100.{len(said)}"))
    said.add(refused(clients, clients.assertion(), named="acme"))
    other = Signer("ehr")
    said.add(refused(clients, other.assertion(URL, clients.now_s())))  # the right kid, another key
    clients.accounts.add_system(Principal("acme", Role.VENDOR))
    said.add(refused(clients, Signer("acme").assertion(URL, clients.now_s())))  # an account without keys
    clients.accounts.change("ehr", lambda one: one.ended(disabled=True), "", AT)
    said.add(refused(clients, clients.assertion()))
    assert len(said) == 1


def test_a_clients_clock_may_be_half_a_minute_ahead(clients: Clients) -> None:
    now_s = clients.now_s()
    assert clients.give(clients.assertion(exp=now_s + 330, iat=now_s + 30, nbf=now_s + 30))
    assert clients.give(clients.assertion(aud=[URL], iat=now_s), named="ehr")


def test_no_header_chooses_how_it_is_checked(clients: Clients) -> None:
    signer, claims = clients.signer, clients.signer.claims(URL, clients.now_s())
    public = signer.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = []
    for alg in ("none", "None", "", "HS384", "HS256", "ES256", "RS256", "PS384", "EdDSA"):
        begun = f"{segment(signer.header(alg=alg))}.{segment(claims)}"
        for key in (public, json.dumps(signer.public).encode()):
            forged.append(f"{begun}.{segment(hmac.digest(key, begun.encode(), hashlib.sha384))}")
        forged.append(f"{begun}.")
    own = Signer("ehr")
    forged += [own.signed(claims, jwk=own.public), signer.signed(claims, jwk=signer.public)]
    forged += [signer.signed(claims, **{name: "https://evil.example/keys"}) for name in ("jku", "x5u")]
    forged += [
        signer.signed(claims, **more) for more in ({"crit": ["exp"]}, {"x5c": []}, {"typ": None}, {"typ": "at+jwt"})
    ]
    forged += [signer.signed(claims, kid=kid) for kid in (None, "", "k2", "../k1", "k1'--", "K1", ["k1"], {"k1": 1})]
    other = "RS384" if signer.alg == "ES384" else "ES384"
    begun = f"{segment(signer.header(alg=other))}.{segment(claims)}"
    forged.append(f"{begun}.{signer.signed(claims).rpartition('.')[2]}")
    for number, assertion in enumerate(forged):
        refused(clients, assertion, address=f"192.0.2.{number}")


def test_bytes_that_are_no_assertion_are_refused_like_any(clients: Clients) -> None:
    good = clients.assertion()
    header, claims, signature = good.split(".")
    twice = segment(b'{"alg":"ES384","alg":"ES384","kid":"k1","typ":"JWT"}')
    deep = segment(b'{"iss":' + b"[" * 3000 + b"]" * 3000 + b"}")
    formless = ["", ".", "..", "a.b.c", good + ".", good[:-8], f"{header}.{claims}", good + "=", "x" * 9000, "ä.b.c"]
    formless += [f"{twice}.{claims}.{signature}", f"{header}.{deep}.{signature}", f"{header}.{segment([])}.{signature}"]
    formless += [f"{header}.{segment(b'{' * 100)}.{signature}", f"{header}.{segment(bytes(range(256)))}.{signature}"]
    formless += [
        f"{header}.{claims}.{segment(bytes(96))}",
        f"{header}.{claims}.{segment(b'x')}",
        good.replace(".", " "),
    ]
    for number, text in enumerate(formless):
        refused(clients, text, address=f"192.0.2.{number}")
    assert clients.give(good)


def test_disabling_or_removing_a_key_ends_tokens_at_once(clients: Clients) -> None:
    token = clients.give(clients.assertion()).token
    clients.accounts.change("ehr", lambda one: one.ended(), "sessions ended", AT)
    with pytest.raises(TokenRefused):
        clients.another_process().by_token(token)
    for forged in ("twa_", "twa_x", token[4:], f"twk_{token[4:]}", token + "x"):
        with pytest.raises(SignInRefused):
            clients.tokens.by_token(forged)


def test_a_failing_address_is_held_off_and_nobody_else_is(tmp_path: Path) -> None:
    clients = clients_in(tmp_path)
    for _ in range(PER_ADDRESS):
        refused(clients, clients.assertion(aud="x"))
    with pytest.raises(TooManyAttempts):
        clients.give(clients.assertion())
    assert clients.give(clients.assertion(), address="198.51.100.9")
    clients.clock.advance(60_000)
    for _ in range(PER_CLIENT):
        clients.give(clients.assertion())
    with pytest.raises(TooManyAttempts):
        clients.give(clients.assertion())


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("system/*.rs", ("system/*.rs",)),
        ("system/*.read", ("system/*.rs",)),
        ("system/*.cruds system/Patient.rs", ("system/*.cruds",)),
        ("system/*.* system/*.rs", ("system/*.rs", "system/*.cruds")),
    ],
)
def test_scopes_that_are_kept_to_are_granted(asked: str, granted: tuple[str, ...]) -> None:
    assert scopes.granted_of(asked) == granted


@pytest.mark.parametrize(
    "asked",
    [
        *("", " ", "system/*.rs ", "system/*.rs  system/*.rs", "system/*.sr", "system/*.", "system/*", "openid"),
        *(
            "patient/*.rs",
            "user/*.rs",
            "system/Patient.rs",
            "system/*.cud",
            "system/*.rs?category=labs",
            "system/*.rs\n",
        ),
        *("system/*.rs\tsystem/*.rs", "SYSTEM/*.rs", "system/patient.rs", " ".join(["system/*.rs"] * 200)),
    ],
)
def test_other_scopes_are_not(asked: str) -> None:
    with pytest.raises(NoToken) as refusal:
        scopes.granted_of(asked)
    assert refusal.value.code == "invalid_scope"


def test_reading_is_reading() -> None:
    reads = [("GET", "/api/1/twins"), ("HEAD", "/fhir/Patient"), ("POST", "/fhir/Patient/_search")]
    writes = [
        ("POST", "/fhir"),
        ("PUT", "/fhir/Patient/p"),
        ("DELETE", "/fhir/Patient/_search"),
        ("POST", "/x/_search"),
    ]
    for method, path in (*reads, *writes):
        scopes.require(scopes.SUPPORTED, method, path)
    for method, path in reads:
        scopes.require((scopes.READS,), method, path)
    for method, path in writes:
        with pytest.raises(ScopeTooNarrow):
            scopes.require((scopes.READS,), method, path)


def jwks(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def test_keys_that_are_not_taken() -> None:
    good, rsa = Signer("ehr").public, Signer("ehr", alg="RS384").public
    private = Signer("ehr").key.as_dict(private=True)
    bad = [
        *(b"", b"[]", b"{}", b"\xff", b'{"keys":{}}', b'{"keys":[],"keys":[]}', jwks(), jwks(7), jwks(good, good)),
        jwks({**private, "kid": "k"}),
        jwks({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}),
        *(jwks({**good, **more}) for more in ({"kid": ""}, {"kid": 1}, {"kid": "a b"}, {"kid": "x" * 129})),
        *(
            jwks({**good, **more})
            for more in ({"use": "enc"}, {"key_ops": ["sign"]}, {"alg": "ES256"}, {"crv": "P-256"})
        ),
        *(jwks({**good, **more}) for more in ({"x": "AA"}, {"x": 1}, {"y": good["x"]}, {"kty": "EC2"})),
        *(
            jwks({**rsa, **more})
            for more in ({"n": "AQAB"}, {"e": "Aw"}, {"n": None}, {"alg": "HS256"}, {"alg": "RS256"})
        ),
        jwks(*({**good, "kid": f"k{number}"} for number in range(MOST_KEYS + 1))),
    ]
    for content in bad:
        with pytest.raises(BadInput):
            read_jwks(content, 0)
    kept = read_jwks(jwks(good, {**rsa, "kid": "r"}), 7)
    assert [(one.kid, one.alg, one.made_at_ms) for one in kept] == [("k1", "ES384", 7), ("r", "RS384", 7)]


def test_people_sign_no_assertions(tmp_path: Path) -> None:
    clients = clients_in(tmp_path)
    for role in (Role.OFFICER, Role.CLINICIAN, Role.NODE):
        with pytest.raises(BadInput):
            clients.accounts.add_client(Principal("olga", role), read_jwks(clients.signer.jwks(), 0))


def test_whoever_could_sign_by_the_decoy_is_nobody(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Signer("ehr", kid="k9", alg=clients.signer.alg)
    monkeypatch.setattr(client_assertions, "decoy", lambda _: known.key)
    refused(clients, known.assertion(URL, clients.now_s()))


def test_two_clients_may_have_one_jti(tmp_path: Path) -> None:
    clients, other = clients_in(tmp_path), Signer("lab")
    clients.accounts.add_client(Principal("lab", Role.SYSTEM), read_jwks(other.jwks(), 0))
    assert clients.give(clients.assertion(jti="1"))
    assert clients.give(other.assertion(URL, clients.now_s(), jti="1"))
