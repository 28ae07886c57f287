"""Codes of apps, against the vectors of RFC 6238 (appendix B) and RFC 4226 (appendix D)."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.access import totp

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("second", "eight_digits"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_vectors_of_rfc_6238(second: int, eight_digits: str) -> None:
    """Six digits are the last six of the eight (RFC 4226 section 5.3: modulo a power of ten)."""
    code = totp.code_at(SECRET, totp.step_at(second * 1000))
    assert code == eight_digits[-6:]
    assert totp.matching_step(SECRET, code, second * 1000) == second // 30


def test_the_vectors_of_rfc_4226() -> None:
    codes = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [totp.code_at(SECRET, count) for count in range(10)] == codes


@given(st.integers(8, 2**40), st.integers(-3, 3))
def test_a_code_is_good_in_its_step_and_its_neighbours(step: int, off: int) -> None:
    code = totp.code_at(SECRET, step)
    expected = step if abs(off) <= 1 else None
    near = {totp.code_at(SECRET, step + off + one) for one in (-1, 0, 1)}
    if expected is None and code in near:
        return  # another step has the same six digits
    found = totp.matching_step(SECRET, f" {code[:3]} {code[3:]}", (step + off) * totp.STEP_MS)
    assert (found is None) == (expected is None)


@pytest.mark.parametrize("code", ["", "28708", "2870822", "abcdef", "２８７０８２", "\ud800", "287082\x00"])
def test_what_is_no_code_is_none(code: str) -> None:
    assert totp.matching_step(SECRET, code, 59_000) is None


def test_an_app_reads_the_same_secret_from_picture_and_text() -> None:
    secret = totp.new_secret()
    parts = urlsplit(totp.uri(secret, "olga@st-anna", "St. Anna & Söhne"))
    asked = parse_qs(parts.query)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert base64.b32decode(asked["secret"][0]) == secret
    assert base64.b32decode(totp.written(secret).replace(" ", "")) == secret
    assert (asked["digits"], asked["period"], asked["algorithm"]) == (["6"], ["30"], ["SHA1"])
    assert "St. Anna & Söhne" in asked["issuer"][0]
    assert len(secret) == 20
    assert totp.new_secret() != secret
