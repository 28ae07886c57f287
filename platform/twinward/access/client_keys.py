"""Public keys by which systems and vendors prove who they are: read from a JWKS (RFC 7517) that is registered here.

They come as a file, from whoever makes the account. The node fetches no key from anywhere: an address that somebody
else names is an address that the node would be made to call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from twinward.access.account_store import ClientKeyRecord
from twinward.core import small_json
from twinward.core.errors import BadInput

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

ALGORITHMS: Final = ("ES384", "RS384")
"""SMART App Launch 2, "Client Authentication: Asymmetric". Which one a key is for follows from the key alone."""
MOST_KEYS: Final = 10
MOST_BYTES: Final = 64 * 1024
RSA_BITS: Final = (2048, 4096)

_KID: Final = re.compile(r"[A-Za-z0-9._~:@=-]{1,128}")
_SECRET: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


def read_jwks(content: bytes, now_ms: int) -> tuple[ClientKeyRecord, ...]:
    """The keys of a JWKS, as they are kept. Raises ``BadInput``: it is none, or a key of it is not taken."""
    read = small_json.decode(content)
    keys = read.get("keys") if isinstance(read, dict) else None
    if not isinstance(keys, list):
        raise BadInput("this is no JWKS", hint='a JSON object with a member "keys" (RFC 7517 section 5)')
    if not 1 <= len(keys) <= MOST_KEYS:
        raise BadInput(f"a JWKS has 1 to {MOST_KEYS} keys here")
    kept = tuple(_key(one, number, now_ms) for number, one in enumerate(keys, 1))
    require_distinct(kept)
    return kept


def require_distinct(keys: Iterable[ClientKeyRecord]) -> None:
    """Raise ``BadInput`` where two keys have one name, or there are too many."""
    names = [one.kid for one in keys]
    if len(set(names)) < len(names):
        raise BadInput("two keys have the same kid", hint="a new key gets a new kid")
    if len(names) > MOST_KEYS:
        raise BadInput(f"a client has {MOST_KEYS} keys at most", hint="`twinward account client-keys ID --remove KID`")


def verifier(kept: ClientKeyRecord) -> ECKey | RSAKey:
    """The key that checks signatures."""
    from joserfc.jwk import ECKey, RSAKey

    values = json.loads(kept.jwk)
    return ECKey.import_key(values) if kept.alg == "ES384" else RSAKey.import_key(values)


@cache
def decoy(alg: str) -> ECKey | RSAKey:
    """A key that nobody signs by, for clients that are not there: they cost what those cost that are."""
    from joserfc.jwk import ECKey, RSAKey

    if alg == "ES384":
        return ECKey.generate_key("P-384", private=False)
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    return RSAKey.import_key(RSAPublicNumbers(65537, (1 << 2047) | 1 << 1023 | 1).public_key())


def _key(given: Any, number: int, now_ms: int) -> ClientKeyRecord:
    if not isinstance(given, dict):
        raise BadInput(f"key {number} is no JSON object")
    if any(name in given for name in _SECRET):
        raise BadInput(
            f"key {number} is secret: whoever reads this file can sign with it",
            hint="make a new key pair where it is used, and give the public part only",
        )
    kid = given.get("kid")
    if not isinstance(kid, str) or not _KID.fullmatch(kid):
        raise BadInput(f"key {number} needs a kid of 1 to 128 letters, digits or . _ ~ : @ = -")
    if given.get("use", "sig") != "sig" or "verify" not in (given.get("key_ops") or ["verify"]):
        raise BadInput(f"key {number} is not one for signatures", hint='"use": "sig"')
    alg, values = _checked(given, number)
    if given.get("alg", alg) != alg:
        raise BadInput(f"key {number} is for another algorithm", hint=f"taken are {' and '.join(ALGORITHMS)}")
    return ClientKeyRecord(kid=kid, alg=alg, jwk=json.dumps(values, sort_keys=True), made_at_ms=now_ms)


def _checked(given: dict[str, Any], number: int) -> tuple[str, dict[str, str]]:
    """The algorithm a key is for, and what is kept of it: its public numbers and nothing else."""
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, RSAKey

    kind = given.get("kty")
    try:
        if kind == "EC" and given.get("crv") == "P-384":
            values = {name: given[name] for name in ("kty", "crv", "x", "y")}
            _ = ECKey.import_key(values).public_key
            return "ES384", values
        if kind == "RSA":
            values = {name: given[name] for name in ("kty", "n", "e")}
            public = RSAKey.import_key(values).public_key
            if RSA_BITS[0] <= public.key_size <= RSA_BITS[1] and public.public_numbers().e == 65537:
                return "RS384", values
    except (JoseError, KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"key {number} is malformed") from None
    raise BadInput(
        f"key {number} is of a kind that is not taken",
        hint="an EC key on P-384 (ES384), or RSA of 2048 to 4096 bits with exponent 65537 (RS384)",
    )
