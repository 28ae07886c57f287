"""Codes of an authenticator app: TOTP (RFC 6238) with SHA-1, six digits and steps of 30 seconds, as every app has it.

A code is good for its step and for the one before and after it (section 5.2): for a clock that is off, and for typing.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from cryptography.hazmat.primitives.twofactor.totp import TOTP

SECRET_BYTES: Final = 20
"""RFC 4226 section 4, R6: 160 bits are recommended."""
DIGITS: Final = 6
STEP_MS: Final = 30_000
DRIFT_STEPS: Final = 1
ISSUER: Final = "Twinward"


def new_secret() -> bytes:
    """A secret to share with an app."""
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, step: int) -> str:
    """The code of one step."""
    # SHA-1 is no weakness within HMAC (RFC 6238 section 1.2), and other hashes are not understood by common apps.
    return HOTP(secret, DIGITS, SHA1()).generate(step).decode()  # noqa: S303


def step_at(at_ms: int) -> int:
    """Which step a moment is in."""
    return at_ms // STEP_MS


def matching_step(secret: bytes, code: str, at_ms: int) -> int | None:
    """The step whose code this is, near a moment; None for a wrong one. All steps are compared, in constant time."""
    typed = "".join(code.split()).encode("utf-8", "surrogatepass")
    now = step_at(at_ms)
    found = None
    for step in range(max(0, now - DRIFT_STEPS), now + DRIFT_STEPS + 1):
        if constant_time.bytes_eq(code_at(secret, step).encode(), typed):
            found = step
    return found


def written(secret: bytes) -> str:
    """A secret as people type it: base32 in groups of four."""
    text = base64.b32encode(secret).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def uri(secret: bytes, account: str, hospital: str) -> str:
    """What an app reads from the picture: the ``otpauth`` URI."""
    made = TOTP(secret, DIGITS, SHA1(), STEP_MS // 1000)  # noqa: S303 - as above
    return made.get_provisioning_uri(account, f"{ISSUER} {hospital}".strip())
