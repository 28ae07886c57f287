"""A client's signed assertion (RFC 7523; SMART App Launch 2, "Client Authentication: Asymmetric"), checked in order.

1.  Its form: at most 8 KiB, three base64url parts, header and claims JSON objects without a name twice. The header has
    ``alg``, ``kid``, ``typ`` and nothing else: one that brings a key, or says where there is one (``jwk``, ``jku``,
    ``x5c``, ``x5u``), or wants something understood (``crit``), is refused. ``alg`` is ES384 or RS384.
2.  Its signature, by the registered key of that name and algorithm; for a client, a key or an algorithm of it that is
    not there by a decoy's, so that it takes as long.
3.  Its claims: ``iss`` and ``sub`` the client, ``aud`` this node's token URL and no other, ``exp`` to come and within
    five minutes, ``nbf`` and ``iat`` not to come, ``jti`` there. That it was never used before is seen to by who asks.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from twinward.access.account_store import ClientKeyRecord
from twinward.access.client_keys import ALGORITHMS, decoy, verifier
from twinward.core import small_json
from twinward.core.errors import BadInput

MOST_CHARS: Final = 8192
LIFETIME_S: Final = 300
"""The latest ``exp``, from now."""
SKEW_S: Final = 30
"""By how much a client's clock may be ahead. One that is behind has the less of its five minutes."""

_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_HEADER: Final = {"alg", "kid", "typ"}
CLIENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:@-]{0,63}")
_JTI: Final = re.compile(r"[\x21-\x7e]{1,256}")


class AssertionRefused(ValueError):
    """An assertion that proves nothing. Why is for the log: whoever sent it is told the same whatever it was."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """One whose form is right, and nothing else yet.

    ``client``: whose it says it is; never empty, and of the form of an account's id.
    """

    text: str
    alg: str
    kid: str
    client: str
    claims: dict[str, Any]


def read_assertion(text: str) -> Assertion:
    """Step 1. Raises ``AssertionRefused``."""
    if len(text) > MOST_CHARS or not _FORM.fullmatch(text):
        raise AssertionRefused("it is no signed assertion")
    try:
        header, claims = (small_json.decode(_decoded(part)) for part in text.split(".")[:2])
    except (ValueError, BadInput):
        raise AssertionRefused("header or claims are no JSON") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise AssertionRefused("header or claims are no JSON object")
    if set(header) != _HEADER or header["typ"] != "JWT":
        raise AssertionRefused("the header is not alg, kid and typ JWT alone")
    alg, kid, client = header["alg"], header["kid"], claims.get("iss")
    if alg not in ALGORITHMS or not isinstance(kid, str):
        raise AssertionRefused("an algorithm that is not taken, or no kid")
    if not isinstance(client, str) or not CLIENT.fullmatch(client):
        raise AssertionRefused("it does not say whose it is")
    return Assertion(text, alg, kid, client, claims)


def require_signed(assertion: Assertion, keys: Iterable[ClientKeyRecord]) -> None:
    """Step 2. Raises ``AssertionRefused``."""
    found = next((one for one in keys if (one.kid, one.alg) == (assertion.kid, assertion.alg)), None)
    from joserfc import jws  # slow to load: not before a client proves itself
    from joserfc.errors import JoseError

    key = decoy(assertion.alg) if found is None else verifier(found)
    try:
        jws.deserialize_compact(assertion.text, key, algorithms=[assertion.alg])
    except (JoseError, ValueError):
        raise AssertionRefused("the signature is not by a key of this client") from None
    if found is None:  # whoever can sign by a decoy is nobody all the same
        raise AssertionRefused("the client has no such key")


def require_claims(assertion: Assertion, *, audience: str, now_s: int) -> str:
    """Step 3. Returns its ``jti``. Raises ``AssertionRefused``."""
    claims = assertion.claims
    expires, jti = claims.get("exp"), claims.get("jti")
    if claims.get("sub") != assertion.client:
        raise AssertionRefused("issuer and subject differ")
    if claims.get("aud") not in (audience, [audience]):
        raise AssertionRefused("it is meant for another audience")
    if type(expires) is not int or not now_s < expires <= now_s + LIFETIME_S + SKEW_S:
        raise AssertionRefused("it has expired, or is good for more than five minutes")
    for name in ("nbf", "iat"):
        if name in claims and (type(claims[name]) is not int or claims[name] > now_s + SKEW_S):
            raise AssertionRefused(f"{name} is to come")
    if not isinstance(jti, str) or not _JTI.fullmatch(jti):
        raise AssertionRefused("it has no jti")
    return jti


def _decoded(part: str) -> bytes:
    """Raises ``ValueError``."""
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
