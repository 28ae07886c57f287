"""Masks cancel exactly, are used once, and only over keys that the roster's hospitals signed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.integration.federation.kit import HOSPITALS, IDENTITIES, ROSTER
from twinward.core.errors import BadInput
from twinward.federation.aggregation.secure_aggregation import (
    HospitalIdentity,
    RoundSecret,
    SignedRoundKey,
    new_private_key,
    open_sum,
    round_transcript,
    verify_round_keys,
)
from twinward.federation.errors import KeyRefused, RoundAborted

STUDY = hashlib.sha256(b"study").digest()


def secrets(number: int = 1) -> dict[str, RoundSecret]:
    return {name: RoundSecret(IDENTITIES[name], ROSTER, STUDY, number) for name in HOSPITALS}


def keys_of(opened: dict[str, RoundSecret]) -> list[SignedRoundKey]:
    return [secret.signed_key for secret in opened.values()]


def transcript_of(keys: list[SignedRoundKey], context: bytes = b"model", attempt: int = 1) -> bytes:
    return round_transcript(STUDY, 1, attempt, keys, context)


def test_masks_cancel_exactly() -> None:
    random = np.random.default_rng(1)
    values = {name: random.integers(-(2**60), 2**60, 1000) for name in HOSPITALS}
    values["east"][:2] = 2**61, -(2**61)
    opened = secrets()
    keys = keys_of(opened)
    masked = {name: opened[name].mask(values[name], keys, transcript_of(keys), least=3) for name in HOSPITALS}
    assert np.array_equal(open_sum(masked, HOSPITALS), sum(values.values()))
    assert all(not np.array_equal(masked[name].view(np.int64), values[name]) for name in HOSPITALS)


def test_masks_are_what_the_docstring_says() -> None:
    """A slow reference for one hospital, from primitives, in Python integers."""
    opened = secrets(7)
    keys = keys_of(opened)
    private: X25519PrivateKey = opened["north"]._private  # type: ignore[assignment]
    values = [5, -3, 2**40]

    def field(value: bytes) -> bytes:
        return len(value).to_bytes(4, "big") + value

    transcript = b"twinward/federation/transcript/v2\0" + field(STUDY) + (5).to_bytes(8, "big")
    transcript += (7).to_bytes(8, "big") + field(b"model")
    for key in sorted(keys, key=lambda key: key.hospital):
        transcript += field(key.hospital.encode()) + field(key.public_key) + field(key.signature)
    expected = [value % 2**64 for value in values]
    for other, low, high, sign in (("east", b"east", b"north", -1), ("south", b"north", b"south", 1)):
        public = X25519PublicKey.from_public_bytes(opened[other].signed_key.public_key)
        info = b"twinward/federation/mask/v1\0" + field(low) + field(high)
        material = HKDF(SHA256(), 48, hashlib.sha256(transcript).digest(), info).derive(private.exchange(public))
        stream = Cipher(algorithms.AES256(material[:32]), modes.CTR(material[32:])).encryptor().update(bytes(24))
        for index in range(3):
            word = int.from_bytes(stream[8 * index : 8 * index + 8], "little")
            expected[index] = (expected[index] + sign * word) % 2**64
    hashed = round_transcript(STUDY, 5, 7, keys, b"model")
    assert opened["north"].mask(np.array(values), keys, hashed, least=3).tolist() == expected


def test_a_secret_that_was_kept_is_the_same_secret() -> None:
    private = new_private_key()
    pair = [RoundSecret(IDENTITIES["east"], ROSTER, STUDY, 1, private) for _ in range(2)]
    assert pair[0].signed_key == pair[1].signed_key
    assert pair[0].signed_key != secrets()["east"].signed_key


def test_hospitals_told_different_things_open_to_noise() -> None:
    opened = secrets()
    keys = keys_of(opened)
    told = {"east": b"model", "north": b"model", "south": b"other model"}
    masked = {
        name: opened[name].mask(np.zeros(64, np.int64), keys, transcript_of(keys, told[name]), least=3)
        for name in HOSPITALS
    }
    assert np.abs(open_sum(masked, HOSPITALS).astype(float)).mean() > 2**60


def test_a_dropout_aborts() -> None:
    opened = secrets()
    keys = keys_of(opened)
    masked = {name: opened[name].mask(np.zeros(4, np.int64), keys, transcript_of(keys), least=3) for name in HOSPITALS}
    del masked["north"]
    with pytest.raises(RoundAborted, match="north dropped out"):
        open_sum(masked, HOSPITALS)


def test_fewer_may_take_part_where_the_protocol_says_so() -> None:
    opened = secrets()
    keys = keys_of(opened)[:2]
    verify_round_keys(keys, ROSTER, STUDY, 1, least=2)
    with pytest.raises(KeyRefused, match="exactly"):
        verify_round_keys(keys, ROSTER, STUDY, 1, least=3)
    for least in (0, 1, 2):
        with pytest.raises(KeyRefused, match="at least"):
            verify_round_keys(keys[:1], ROSTER, STUDY, 1, least=least)


def test_vectors_must_match_the_study() -> None:
    zeros = np.zeros(4, np.uint64)
    with pytest.raises(BadInput):
        open_sum({"east": zeros, "north": zeros, "south": np.zeros(5, np.uint64)}, HOSPITALS)
    with pytest.raises(BadInput):
        open_sum(dict.fromkeys((*HOSPITALS, "west"), zeros), HOSPITALS)


def wrong_key_sets() -> dict[str, list[SignedRoundKey]]:
    opened, stranger = secrets(), HospitalIdentity.generate("west")
    good = keys_of(opened)
    mine = X25519PrivateKey.generate().public_key().public_bytes_raw()
    west = RoundSecret(stranger, {"west": stranger.public_key}, STUDY, 1).signed_key
    forged = HospitalIdentity("north", stranger.signing_key)
    other_key = RoundSecret(forged, {"north": stranger.public_key}, STUDY, 1).signed_key
    return {
        "none": [],
        "one missing": good[:2],
        "one doubled": [good[0], good[1], good[1]],
        "one too many": [*good, west],
        "a stranger for a member": [good[0], good[1], west],
        "key swapped": [good[0], replace(good[1], public_key=mine), good[2]],
        "signature of another": [good[0], replace(good[1], signature=good[0].signature), good[2]],
        "empty signature": [good[0], replace(good[1], signature=b""), good[2]],
        "signed by another key": [good[0], other_key, good[2]],
        "of another attempt": [good[0], secrets(2)["north"].signed_key, good[2]],
        "of another study": [good[0], RoundSecret(IDENTITIES["north"], ROSTER, b"x" * 32, 1).signed_key, good[2]],
        "attempt relabelled": [good[0], replace(secrets(2)["north"].signed_key, attempt=1), good[2]],
        "renamed": [good[0], replace(good[2], hospital="north"), good[2]],
    }


WRONG = wrong_key_sets()


def test_the_rosters_signed_keys_pass() -> None:
    verify_round_keys(keys_of(secrets()), ROSTER, STUDY, 1, least=3)


@pytest.mark.parametrize("desc", WRONG)
def test_no_other_keys_pass(desc: str) -> None:
    with pytest.raises(KeyRefused):
        verify_round_keys(WRONG[desc], ROSTER, STUDY, 1, least=3)


def test_a_hospital_insists_on_its_own_key() -> None:
    opened, again = secrets(), secrets()
    swapped = [again["east"].signed_key, opened["north"].signed_key, opened["south"].signed_key]
    with pytest.raises(KeyRefused, match="east sent"):
        opened["east"].mask(np.zeros(2, np.int64), swapped, transcript_of(swapped), least=3)


def test_a_low_order_point_is_refused_though_signed() -> None:
    opened = secrets()
    north = opened["north"].signed_key
    message = b"".join(
        [
            b"twinward/federation/round-key/v1\0",
            len(STUDY).to_bytes(4, "big"),
            STUDY,
            (1).to_bytes(8, "big"),
            (5).to_bytes(4, "big"),
            b"north",
            (32).to_bytes(4, "big"),
            bytes(32),
        ]
    )
    evil = replace(north, public_key=bytes(32), signature=IDENTITIES["north"].sign(message))
    keys = [opened["east"].signed_key, evil, opened["south"].signed_key]
    verify_round_keys(keys, ROSTER, STUDY, 1, least=3)  # north did sign it
    with pytest.raises(KeyRefused, match="no valid X25519 key"):
        opened["east"].mask(np.zeros(2, np.int64), keys, transcript_of(keys), least=3)


def test_identities_keep_their_key_to_themselves() -> None:
    identity = HospitalIdentity.generate("east")
    assert identity.signing_key.hex() not in repr(identity)
    assert repr(identity.signing_key) not in repr(identity)
    with pytest.raises(KeyRefused, match="own key"):
        RoundSecret(identity, ROSTER, STUDY, 1)


def test_channels_have_keys_of_32_bytes_one_for_each_direction() -> None:
    made = secrets()
    keys = keys_of(made)
    channels = {name: one.channels(keys, transcript_of(keys)) for name, one in made.items()}
    found = [key for outgoing, _ in channels.values() for key in outgoing.values()]
    assert {len(key) for key in found} == {32}
    assert len(set(found)) == len(found) == len(HOSPITALS) * (len(HOSPITALS) - 1)
    for sender, (outgoing, _) in channels.items():
        for receiver, key in outgoing.items():
            assert channels[receiver][1][sender] == key
