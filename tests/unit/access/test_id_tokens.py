"""ID tokens: what is right is taken, and every way of being wrong is refused before anybody is somebody."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from twinward.access.oidc.id_tokens import (
    MOST_CHARS,
    MOST_KEYS,
    OLDEST_S,
    SKEW_S,
    Expected,
    ProviderRefused,
    keys_of,
    read_id_token,
    require_claims,
    require_signed,
)
from twinward.access.oidc.relying_party import asked_for_two

NOW_S = 1_800_000_000
ISSUER, CLIENT, NONCE = "https://login.example", "twinward", "the nonce of this browser"
EXPECTED = Expected(ISSUER, CLIENT, NONCE, NOW_S)
KEY = ECKey.generate_key("P-384", {"kid": "one", "alg": "ES384", "use": "sig"})
OTHER = ECKey.generate_key("P-384", {"kid": "two", "use": "sig"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
JWKS = {"keys": [one.as_dict(private=False) for one in (KEY, RSA)]}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": CLIENT,
    "sub": "7c0f",
    "nonce": NONCE,
    "iat": NOW_S,
    "exp": NOW_S + 300,
}


def signed(claims: dict[str, Any] | None = None, *, alg: str = "ES384", key: Any = KEY, **header: Any) -> str:
    head = {"alg": alg, "kid": "one"} | header
    return jws.serialize_compact(
        {name: one for name, one in head.items() if one is not None},
        json.dumps(CLAIMS if claims is None else claims),
        key,
        algorithms=[alg],
        registry=jws.JWSRegistry(algorithms=[alg], strict_check_header=False),
    )


def subject_of(text: str, expected: Expected = EXPECTED, jwks: object = JWKS) -> str:
    token = read_id_token(text)
    require_signed(token, keys_of(jwks))
    return require_claims(token, expected)


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"x") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts)


def test_a_right_one_says_who_it_is() -> None:
    assert subject_of(signed()) == "7c0f"
    assert subject_of(signed(alg="PS256", key=RSA, kid="rsa")) == "7c0f"
    assert subject_of(signed(CLAIMS | {"aud": [CLIENT, "else"], "azp": CLIENT})) == "7c0f"
    assert subject_of(signed(kid=None)) == "7c0f"  # without a name: the one key that fits


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"iss": ISSUER + "/"}, "another provider's"),
        ({"aud": "else"}, "another client"),
        ({"aud": []}, "another client"),
        ({"aud": [CLIENT, "else"]}, "to another client"),
        ({"azp": "else"}, "to another client"),
        ({"exp": NOW_S - SKEW_S}, "expired"),
        ({"exp": None}, "no number"),
        ({"exp": True}, "no number"),
        ({"exp": NOW_S + 0.5}, "no number"),
        ({"iat": NOW_S - OLDEST_S - 1}, "these minutes"),
        ({"iat": NOW_S + SKEW_S + 1}, "these minutes"),
        ({"nbf": NOW_S + SKEW_S + 1}, "not good yet"),
        ({"nonce": "another"}, "another sign-in"),
        ({"nonce": None}, "another sign-in"),
        ({"sub": ""}, "no subject"),
        ({"sub": 7}, "no subject"),
        ({"sub": "x" * 256}, "no subject"),
        ({"sub": "new\nline"}, "no subject"),
        ({"sub": "ä"}, "no subject"),
    ],
)
def test_claims_that_are_not_for_this_sign_in_are_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(ProviderRefused, match=why):
        subject_of(signed(CLAIMS | changed))


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "iat", "nonce", "sub"])
def test_no_claim_may_be_missing(name: str) -> None:
    with pytest.raises(ProviderRefused):
        subject_of(signed({one: value for one, value in CLAIMS.items() if one != name}))


def test_clocks_may_differ_by_half_a_minute() -> None:
    for changed in ({"exp": NOW_S - SKEW_S + 1}, {"iat": NOW_S + SKEW_S}, {"iat": NOW_S - OLDEST_S}):
        assert subject_of(signed(CLAIMS | changed)) == "7c0f"


def test_a_new_proof_is_one_of_these_minutes() -> None:
    anew = Expected(ISSUER, CLIENT, NONCE, NOW_S, NOW_S - 60)
    assert subject_of(signed(CLAIMS | {"auth_time": NOW_S - 60 - SKEW_S}), anew) == "7c0f"
    for proven_s in (NOW_S - 60 - SKEW_S - 1, NOW_S + SKEW_S + 1):
        with pytest.raises(ProviderRefused, match="prove anew"):
            subject_of(signed(CLAIMS | {"auth_time": proven_s}), anew)
    with pytest.raises(ProviderRefused, match="auth_time"):
        subject_of(signed(), anew)


@pytest.mark.parametrize("other", [None, 7, "weak", "mfa", ["strong"], {"strong": 1}, [["mfa"]]])
def test_two_factors_are_said_in_one_way_each_and_nothing_else_breaks(other: object) -> None:
    assert asked_for_two({"amr": ["pwd", "mfa"], "acr": other}, {"strong"})
    assert asked_for_two({"amr": other, "acr": "strong"}, {"strong"})
    assert not asked_for_two({"amr": other, "acr": other}, {"strong"})


def test_no_header_chooses_how_it_is_checked() -> None:
    public = KEY.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for alg in ("none", "None", "HS256", "HS384", "ES256K", ""):
        with pytest.raises(ProviderRefused, match="algorithm"):
            read_id_token(unsigned({"alg": alg, "kid": "one"}, CLAIMS))
    hmac_key = OctKey.import_key(public.hex())
    with pytest.raises(ProviderRefused, match="algorithm"):
        read_id_token(jws.serialize_compact({"alg": "HS256"}, json.dumps(CLAIMS), hmac_key, algorithms=["HS256"]))
    for brought in ({"jwk": OTHER.as_dict(private=False)}, {"jku": "https://evil.example"}, {"crit": ["exp"]}):
        with pytest.raises(ProviderRefused, match="brings a key"):
            read_id_token(unsigned({"alg": "ES384", "kid": "one"} | brought, CLAIMS))
    with pytest.raises(ProviderRefused, match="no such key"):
        subject_of(signed(alg="RS256", key=RSA, kid="one"))  # the name of a key for another algorithm
    with pytest.raises(ProviderRefused, match="no such key"):
        subject_of(signed(key=OTHER, kid="two"))
    with pytest.raises(ProviderRefused, match="not by that key"):
        subject_of(signed(key=OTHER, kid="one"))


def test_a_name_that_two_keys_have_and_no_name_for_two_is_no_key() -> None:
    twice = {"keys": [KEY.as_dict(private=False), OTHER.as_dict(private=False) | {"kid": "one"}]}
    with pytest.raises(ProviderRefused, match="or several"):
        subject_of(signed(), jwks=twice)
    with pytest.raises(ProviderRefused, match="or several"):
        subject_of(signed(kid=None), jwks={"keys": [KEY.as_dict(private=False), OTHER.as_dict(private=False)]})


@pytest.mark.parametrize(
    "one",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "one"},
        {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA", "kid": "one"},
        KEY.as_dict(private=False) | {"use": "enc"},
        KEY.as_dict(private=False) | {"alg": "ES256"},
        {"kty": "EC"},
        "no key",
        None,
    ],
)
def test_keys_that_sign_nothing_here_are_passed_over(one: object) -> None:
    with pytest.raises(ProviderRefused, match="no such key"):
        subject_of(signed(), jwks={"keys": [one]})
    assert subject_of(signed(), jwks={"keys": [one, JWKS["keys"][0]]}) == "7c0f"


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, {"keys": [{}] * (MOST_KEYS + 1)}])
def test_what_is_no_set_of_keys_is_refused(document: object) -> None:
    with pytest.raises(ProviderRefused, match="JWKS"):
        keys_of(document)


_HALVES: list[Callable[[str], str]] = [
    lambda text: text[:-1],
    lambda text: text + ".",
    lambda text: text.replace(".", "..", 1),
    lambda text: "a" * (MOST_CHARS + 1),
    lambda text: "",
    lambda text: text.replace(".", "+", 1),
]


@pytest.mark.parametrize("broken", _HALVES)
def test_what_is_no_token_is_refused(broken: Callable[[str], str]) -> None:
    with pytest.raises(ProviderRefused):
        subject_of(broken(signed()))


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda raw: f"{raw.hex()}.{raw.hex()}.x"))
def test_whatever_is_sent_is_refused_in_one_way(text: str) -> None:
    with pytest.raises(ProviderRefused):
        subject_of(text)


@given(st.data())
def test_a_token_with_one_character_changed_is_refused(data: st.DataObject) -> None:
    text = _RIGHT
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."))
    changed = text[:at] + other + text[at + 1 :]
    if base64.urlsafe_b64decode(text.split(".")[2] + "==") == _signature(changed) and at > text.rindex("."):
        return  # the bits of the last character that stand for nothing
    if changed != text:
        with pytest.raises(ProviderRefused):
            subject_of(changed)


_RIGHT = signed()


def _signature(text: str) -> bytes:
    part = text.split(".")[-1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) if len(part) % 4 != 1 else b""
