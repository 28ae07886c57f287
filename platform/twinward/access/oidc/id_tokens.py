"""An ID token (OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725), checked in order.

1.  Its form: at most 16 KiB, three base64url parts, header and claims JSON objects without a name twice. The header
    names one of ``ALGORITHMS``, all of them signatures: no "none", no HMAC under a key that is public. One that brings
    a key, or says where there is one, or wants something understood (``crit``), is refused.
2.  Its signature, by a key that the provider published under that name and for that algorithm.
3.  Its claims: ``iss`` the provider, ``aud`` this client (of several, ``azp``, too), ``exp`` to come, ``iat`` of these
    minutes, ``nbf`` not to come, ``nonce`` the one that this browser was sent with, ``sub`` there; ``auth_time`` where
    a new proof was asked for. That it was never used before is seen to by who asks.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twinward.core import small_json
from twinward.core.errors import BadInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from joserfc.jwk import Key

MOST_CHARS: Final = 16_384
MOST_KEYS: Final = 64
SKEW_S: Final = 30
"""By how much the provider's clock may differ."""
OLDEST_S: Final = 600
"""How long ago a token may have been issued."""
ALGORITHMS: Final = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", "")),
}
"""What is taken, and the key that it needs: the provider's documents do not choose."""

_RSA_BITS: Final = (2048, 8192)
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_FOREIGN: Final = {"jwk", "jku", "x5c", "x5u", "crit", "b64", "zip"}
SUBJECT: Final = re.compile(r"[\x20-\x7e]{1,255}")


class ProviderRefused(ValueError):
    """What the provider sent proves nothing. Why is for the log; whoever comes with it is told one thing."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token has to be for. ``proven_since_s``: since when its subject has to have proven who it is; 0 is any."""

    issuer: str
    client_id: str
    nonce: str
    now_s: int
    proven_since_s: int = 0


@dataclass(frozen=True, slots=True)
class Unproven:
    """A token whose form is right, and nothing else yet."""

    text: str
    alg: str
    kid: str
    claims: dict[str, Any]


def read_id_token(text: str) -> Unproven:
    """Step 1. Raises ``ProviderRefused``."""
    if len(text) > MOST_CHARS or not _FORM.fullmatch(text):
        raise ProviderRefused("the ID token is no signed token")
    try:
        header, claims = (small_json.decode(_decoded(part)) for part in text.split(".")[:2])
    except (ValueError, BadInput):
        raise ProviderRefused("header or claims of the ID token are no JSON") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise ProviderRefused("header or claims of the ID token are no JSON object")
    alg, kid = header.get("alg"), header.get("kid", "")
    if not isinstance(alg, str) or alg not in ALGORITHMS or not isinstance(kid, str):
        raise ProviderRefused("the ID token's algorithm is not taken")
    if _FOREIGN & header.keys():
        raise ProviderRefused("the ID token's header brings a key, or wants something understood")
    return Unproven(text, alg, kid, claims)


def keys_of(document: object) -> dict[str, list[Key]]:
    """The keys of a JWKS by their ``kid`` ("" for none) that a token may be signed by; others are passed over.

    Raises:
        ProviderRefused: it is no JWKS, or of too many keys.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise ProviderRefused("the provider's keys are no JWKS, or too many")
    found: dict[str, list[Key]] = {}
    for one in listed:
        key = _key(one)
        if key is not None:
            found.setdefault(str(one.get("kid", "")), []).append(key)
    return found


def require_signed(token: Unproven, keys: dict[str, list[Key]]) -> None:
    """Step 2. Raises ``ProviderRefused``."""
    named = keys.get(token.kid, []) if token.kid else [one for several in keys.values() for one in several]
    fitting = [one for one in named if _fits(one, token.alg)]
    if len(fitting) != 1:
        raise ProviderRefused("the provider has no such key for this algorithm, or several")
    from joserfc import jws  # as in ``client_assertions``
    from joserfc.errors import JoseError

    try:
        jws.deserialize_compact(token.text, fitting[0], algorithms=[token.alg])
    except (JoseError, ValueError):
        raise ProviderRefused("the ID token's signature is not by that key") from None


def require_claims(token: Unproven, expected: Expected) -> str:
    """Step 3. Returns the subject. Raises ``ProviderRefused``."""
    claims, now_s = token.claims, expected.now_s
    if claims.get("iss") != expected.issuer:
        raise ProviderRefused("the ID token is another provider's")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.client_id not in audiences:
        raise ProviderRefused("the ID token is meant for another client")
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != expected.client_id:
        raise ProviderRefused("the ID token was issued to another client")
    if seconds(claims, "exp") <= now_s - SKEW_S:
        raise ProviderRefused("the ID token has expired")
    if not now_s - OLDEST_S <= seconds(claims, "iat") <= now_s + SKEW_S:
        raise ProviderRefused("the ID token was not issued in these minutes: a clock is wrong, or it is old")
    if "nbf" in claims and seconds(claims, "nbf") > now_s + SKEW_S:
        raise ProviderRefused("the ID token is not good yet")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise ProviderRefused("the ID token is of another sign-in")
    if expected.proven_since_s:
        proven_s = seconds(claims, "auth_time")
        if not expected.proven_since_s - SKEW_S <= proven_s <= now_s + SKEW_S:
            raise ProviderRefused("the provider did not have this person prove anew who they are")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not SUBJECT.fullmatch(subject):
        raise ProviderRefused("the ID token has no subject")
    return subject


def seconds(claims: dict[str, Any], name: str) -> int:
    """A claim that is a time. Raises ``ProviderRefused``."""
    found = claims.get(name)
    if type(found) is not int:
        raise ProviderRefused(f"the token's {name} is no number of seconds")
    return found


def _key(one: object) -> Key | None:
    """A public key of a JWKS; None for what signs nothing here."""
    from joserfc.errors import JoseError
    from joserfc.jwk import RSAKey, import_key

    if not isinstance(one, dict) or one.get("kty") not in ("EC", "RSA", "OKP") or one.get("use", "sig") != "sig":
        return None
    public = {name: value for name, value in one.items() if name in ("kty", "crv", "x", "y", "n", "e", "alg", "kid")}
    try:
        key: Key = import_key(public)
        if isinstance(key, RSAKey) and not _is_strong(key.public_key):
            return None
        return key
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _is_strong(key: RSAPublicKey) -> bool:
    least, most = _RSA_BITS
    exponent = key.public_numbers().e
    return least <= key.key_size <= most and exponent > 3 and exponent % 2 == 1


def _fits(key: Key, alg: str) -> bool:
    kind, curve = ALGORITHMS[alg]
    said = key.get("alg")
    return key.key_type == kind and (not curve or key.get("crv") == curve) and said in (None, alg)


def _decoded(part: str) -> bytes:
    """Raises ``ValueError``."""
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
