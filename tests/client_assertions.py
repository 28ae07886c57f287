"""A system that signs assertions, as a SMART backend client does."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from joserfc.jwk import ECKey, RSAKey

from twinward.api.tokens import ASSERTION_TYPE, GRANT

_numbers = count()


@dataclass
class Signer:
    """One key of one client. ``alg``: ES384 or RS384."""

    client: str
    kid: str = "k1"
    alg: str = "ES384"
    key: Any = field(init=False)

    def __post_init__(self) -> None:
        self.key = ECKey.generate_key("P-384") if self.alg == "ES384" else RSAKey.generate_key(2048)

    @property
    def public(self) -> dict[str, Any]:
        return {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": self.alg}

    def jwks(self) -> bytes:
        return json.dumps({"keys": [self.public]}).encode()

    def claims(self, audience: str, now_s: int, **other: Any) -> dict[str, Any]:
        said = {
            "iss": self.client,
            "sub": self.client,
            "aud": audience,
            "exp": now_s + 240,
            "jti": f"j{next(_numbers)}",
        }
        return {name: value for name, value in (said | other).items() if value is not None}

    def header(self, **other: Any) -> dict[str, Any]:
        said = {"alg": self.alg, "kid": self.kid, "typ": "JWT"} | other
        return {name: value for name, value in said.items() if value is not None}

    def signed(self, claims: dict[str, Any], **header: Any) -> str:
        """Put together by hand, as JWS has it (RFC 7515): no library here refuses what an attacker may write."""
        begun = f"{segment(self.header(**header))}.{segment(claims)}"
        return f"{begun}.{segment(self._signature(begun.encode()))}"

    def _signature(self, begun: bytes) -> bytes:
        private = self.key.private_key
        if self.alg == "RS384":
            return bytes(private.sign(begun, padding.PKCS1v15(), hashes.SHA384()))
        r, s = utils.decode_dss_signature(private.sign(begun, ec.ECDSA(hashes.SHA384())))
        return r.to_bytes(48, "big") + s.to_bytes(48, "big")

    def assertion(self, audience: str, now_s: int, **other: Any) -> str:
        return self.signed(self.claims(audience, now_s, **other))


def segment(value: Any) -> str:
    """base64url of some bytes, or of JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def form(assertion: str, scope: str = "system/*.rs", **other: str) -> dict[str, str]:
    """What is posted."""
    said = {"grant_type": GRANT, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, "scope": scope}
    return {name: value for name, value in (said | other).items() if value}
