"""What a coordinator asks a hospital's daemon, and what it answers, signed from end to end: relays are not believed.

Between the two lie a socket, or Flower's SuperLink and SuperNodes, which carry bytes. A daemon looks at nothing of a
message before its signature verifies under the key that its officer approved for this very study; a coordinator takes
an answer only from the hospital it asked, to the very message it sent.

    request  = "TWQ1" || study fingerprint (32) || nonce (16) || signature (64) || body
    signed   = domain || len(hospital) (4) || hospital || fingerprint || nonce || body
    answer   = "TWA1" || signature (64) || body
    signed   = domain || len(hospital) (4) || hospital || SHA-256(request) || body
    greeting = "TWH1" || nonce (16)             anybody may ask a daemon whose it is
    answer   = "TWA1" || signature (64) || hospital

Signatures are Ed25519 (RFC 8032) by hospitals' study keys. A request that is sent again is answered by rules of its own
(each round once, the same bytes for the same question): nothing here counts messages.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.errors import NotAuthentic

MAX_MESSAGE_BYTES: Final = 64 << 20
_REQUEST, _ANSWER, _GREETING = b"TWQ1", b"TWA1", b"TWH1"
_REQUEST_DOMAIN: Final = b"twinward/federation/site-request/v1\0"
_ANSWER_DOMAIN: Final = b"twinward/federation/site-answer/v1\0"
_GREETING_DOMAIN: Final = b"twinward/federation/site-greeting/v1\0"
_MARK, _FINGERPRINT, _NONCE, _SIGNATURE = 4, 32, 16, 64
_HEAD: Final = _MARK + _FINGERPRINT + _NONCE + _SIGNATURE


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came, in its parts; not verified."""

    study: bytes
    nonce: bytes
    signature: bytes
    body: bytes

    @classmethod
    def split(cls, raw: bytes) -> Request:
        """The parts of a message, by their places alone. Raises ``NotAuthentic`` where it is none."""
        if len(raw) < _HEAD or not raw.startswith(_REQUEST):
            raise NotAuthentic("this is no request to a site")
        study, nonce = raw[_MARK : _MARK + _FINGERPRINT], raw[_MARK + _FINGERPRINT : _HEAD - _SIGNATURE]
        return cls(study, nonce, raw[_HEAD - _SIGNATURE : _HEAD], raw[_HEAD:])

    def verified(self, coordinator: bytes, hospital: str) -> bytes:
        """The body. Raises ``NotAuthentic`` unless this key signed it for this hospital."""
        message = _request_message(hospital, self.study, self.nonce, self.body)
        _verify(coordinator, self.signature, message, "the study's coordinator did not sign this request")
        return self.body


def request(coordinator: HospitalIdentity, hospital: str, study: bytes, body: bytes) -> bytes:
    """A signed request to a hospital's site."""
    nonce = secrets.token_bytes(_NONCE)
    signature = coordinator.sign(_request_message(hospital, study, nonce, body))
    return _REQUEST + study + nonce + signature + body


def answer(hospital: HospitalIdentity, asked: bytes, body: bytes) -> bytes:
    """A hospital's signed answer to the very message that was sent."""
    return _ANSWER + hospital.sign(_answer_message(hospital.name, asked, body)) + body


def open_answer(raw: bytes, hospital: str, public_key: bytes, asked: bytes) -> bytes:
    """The body of an answer. Raises ``NotAuthentic`` unless this hospital signed it, to this request."""
    signature, body = _split_answer(raw)
    _verify(public_key, signature, _answer_message(hospital, asked, body), f"{hospital} did not sign this answer")
    return body


def greeting() -> bytes:
    """The question whose daemon this is."""
    return _GREETING + secrets.token_bytes(_NONCE)


def is_greeting(raw: bytes) -> bool:
    """Whether that is asked."""
    return raw.startswith(_GREETING) and len(raw) == _MARK + _NONCE


def greet(hospital: HospitalIdentity, asked: bytes) -> bytes:
    """The answer to a greeting: its name, signed."""
    name = hospital.name.encode()
    return _ANSWER + hospital.sign(_GREETING_DOMAIN + asked + name) + name


def greeted(raw: bytes, asked: bytes, roster: dict[str, bytes]) -> str:
    """Which hospital of a roster answered a greeting. Raises ``NotAuthentic``."""
    signature, name = _split_answer(raw)
    hospital = name[:64].decode("ascii", "replace")
    if hospital not in roster:
        raise NotAuthentic("a daemon answered that is of none of the study's hospitals")
    _verify(roster[hospital], signature, _GREETING_DOMAIN + asked + name, f"{hospital} did not sign its name")
    return hospital


def _split_answer(raw: bytes) -> tuple[bytes, bytes]:
    if len(raw) < _MARK + _SIGNATURE or not raw.startswith(_ANSWER):
        raise NotAuthentic("this is no answer of a site")
    return raw[_MARK : _MARK + _SIGNATURE], raw[_MARK + _SIGNATURE :]


def _request_message(hospital: str, study: bytes, nonce: bytes, body: bytes) -> bytes:
    return _REQUEST_DOMAIN + _named(hospital) + study + nonce + body


def _answer_message(hospital: str, asked: bytes, body: bytes) -> bytes:
    return _ANSWER_DOMAIN + _named(hospital) + hashlib.sha256(asked).digest() + body


def _named(hospital: str) -> bytes:
    name = hospital.encode()
    return len(name).to_bytes(4, "big") + name


def _verify(public_key: bytes, signature: bytes, message: bytes, otherwise: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise NotAuthentic(otherwise) from None
