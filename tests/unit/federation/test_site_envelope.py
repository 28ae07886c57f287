"""What a relay between coordinator and hospital can do to a message: nothing that is believed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from twinward.federation import site_envelope
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.errors import NotAuthentic

EAST, NORTH = (HospitalIdentity(name, name.encode().ljust(32, b".")) for name in ("east", "north"))
STUDY = bytes(range(32))


def test_a_request_and_its_answer() -> None:
    asked = site_envelope.request(EAST, "north", STUDY, b"join")
    parts = site_envelope.Request.split(asked)
    assert (parts.study, parts.verified(EAST.public_key, "north")) == (STUDY, b"join")
    answered = site_envelope.answer(NORTH, asked, b"joined")
    assert site_envelope.open_answer(answered, "north", NORTH.public_key, asked) == b"joined"


def test_the_bytes_are_those_of_the_specification() -> None:
    asked = site_envelope.request(EAST, "north", STUDY, b"join")
    nonce, signature = asked[36:52], asked[52:116]
    signed = b"twinward/federation/site-request/v1\0" + b"\0\0\0\5north" + STUDY + nonce + b"join"
    key = Ed25519PrivateKey.from_private_bytes(EAST.signing_key)
    assert asked == b"TWQ1" + STUDY + nonce + key.sign(signed) + b"join"
    key.public_key().verify(signature, signed)
    answered = site_envelope.answer(NORTH, asked, b"yes")
    digest = hashlib.sha256(asked).digest()
    signed = b"twinward/federation/site-answer/v1\0" + b"\0\0\0\5north" + digest + b"yes"
    assert answered == b"TWA1" + Ed25519PrivateKey.from_private_bytes(NORTH.signing_key).sign(signed) + b"yes"


@pytest.mark.parametrize(
    "read",
    [
        lambda asked: site_envelope.Request.split(asked).verified(NORTH.public_key, "north"),  # another's key
        lambda asked: site_envelope.Request.split(asked).verified(EAST.public_key, "south"),  # to another hospital
        lambda asked: site_envelope.Request.split(asked[:115]),
        lambda asked: site_envelope.Request.split(b"TWQ2" + asked[4:]),
        lambda asked: site_envelope.Request.split(b""),
    ],
)
def test_what_is_not_the_coordinators_to_this_hospital(read: Callable[[bytes], object]) -> None:
    with pytest.raises(NotAuthentic):
        read(site_envelope.request(EAST, "north", STUDY, b"join"))


@given(position=st.integers(0, 119), bit=st.integers(0, 7))
def test_no_bit_of_a_request_may_change(position: int, bit: int) -> None:
    altered = bytearray(site_envelope.request(EAST, "north", STUDY, b"join"))
    altered[position] ^= 1 << bit
    with pytest.raises(NotAuthentic):
        site_envelope.Request.split(bytes(altered)).verified(EAST.public_key, "north")


@given(position=st.integers(0, 73), bit=st.integers(0, 7))
def test_no_bit_of_an_answer_may_change(position: int, bit: int) -> None:
    asked = site_envelope.request(EAST, "north", STUDY, b"join")
    altered = bytearray(site_envelope.answer(NORTH, asked, b"joined"))
    altered[position] ^= 1 << bit
    with pytest.raises(NotAuthentic):
        site_envelope.open_answer(bytes(altered), "north", NORTH.public_key, asked)


def test_an_answer_is_to_one_question() -> None:
    asked, again = (site_envelope.request(EAST, "north", STUDY, b"join") for _ in range(2))
    assert asked != again
    with pytest.raises(NotAuthentic):
        site_envelope.open_answer(site_envelope.answer(NORTH, asked, b""), "north", NORTH.public_key, again)
    with pytest.raises(NotAuthentic):
        site_envelope.open_answer(b"TWA1", "north", NORTH.public_key, asked)


def test_a_daemon_says_whose_it_is_and_proves_it() -> None:
    roster = {"east": EAST.public_key, "north": NORTH.public_key}
    asked = site_envelope.greeting()
    assert site_envelope.is_greeting(asked)
    assert not site_envelope.is_greeting(asked + b"x")
    assert site_envelope.greeted(site_envelope.greet(NORTH, asked), asked, roster) == "north"
    liar = HospitalIdentity("east", bytes(32))
    stranger = HospitalIdentity("west", bytes(32))
    for wrong in (site_envelope.greet(liar, asked), site_envelope.greet(stranger, asked), b"TWA1" + bytes(64), b""):
        with pytest.raises(NotAuthentic):
            site_envelope.greeted(wrong, asked, roster)
    with pytest.raises(NotAuthentic):
        site_envelope.greeted(site_envelope.greet(NORTH, asked), site_envelope.greeting(), roster)
