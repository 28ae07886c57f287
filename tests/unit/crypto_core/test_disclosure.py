from __future__ import annotations

import pickle

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from twinward_crypto.disclosure import (
    RecipientKey,
    RecipientSuite,
    generate_recipient_key,
    open_from,
    public_part,
    seal_to,
)
from twinward_crypto.envelope import MAX_PLAINTEXT_BYTES
from twinward_crypto.errors import MalformedKey, OpenError, ParameterError
from twinward_crypto.kdf import length_prefixed

OVERHEAD = {RecipientSuite.X25519: 49, RecipientSuite.MLKEM768_X25519: 1137}


@pytest.fixture(scope="module", params=list(RecipientSuite), ids=lambda suite: suite.name)
def recipient(request: pytest.FixtureRequest) -> RecipientKey:
    return generate_recipient_key(request.param)


def test_it_opens_for_the_recipient(recipient: RecipientKey) -> None:
    for plaintext in (b"", b"a match", bytes(100_000)):
        sealed = seal_to(recipient.public, plaintext, info=b"matches", aad=b"request-1")
        assert open_from(recipient.private, sealed, info=b"matches", aad=b"request-1") == plaintext
        assert len(sealed) == len(plaintext) + OVERHEAD[RecipientSuite(sealed[0])]


def test_the_longest_plaintext_is_sealed_and_opened_and_a_longer_one_is_neither(recipient: RecipientKey) -> None:
    longest = bytes(MAX_PLAINTEXT_BYTES)
    sealed = seal_to(recipient.public, longest)
    assert open_from(recipient.private, sealed) == longest
    with pytest.raises(OpenError):
        open_from(recipient.private, sealed + b"\0")
    with pytest.raises(ParameterError, match="sealed at once"):
        seal_to(recipient.public, longest + b"\0")


def test_the_public_key_of_a_private_one(recipient: RecipientKey) -> None:
    assert public_part(recipient.private) == recipient.public


def test_two_sealings_differ(recipient: RecipientKey) -> None:
    assert seal_to(recipient.public, b"x") != seal_to(recipient.public, b"x")


@pytest.mark.parametrize(("info", "aad"), [(b"", b"b"), (b"a", b""), (b"b", b"a"), (b"ab", b""), (b"", b"ab")])
def test_it_is_bound_to_info_and_aad(recipient: RecipientKey, info: bytes, aad: bytes) -> None:
    sealed = seal_to(recipient.public, b"text", info=b"a", aad=b"b")
    with pytest.raises(OpenError):
        open_from(recipient.private, sealed, info=info, aad=aad)


def test_any_altered_byte_closes_it(recipient: RecipientKey) -> None:
    sealed = seal_to(recipient.public, b"text")
    for index in range(len(sealed)):
        altered = sealed[:index] + bytes((sealed[index] ^ 0x40,)) + sealed[index + 1 :]
        with pytest.raises(OpenError):
            open_from(recipient.private, altered)


def test_truncated_and_foreign_bytes_do_not_open(recipient: RecipientKey) -> None:
    sealed = seal_to(recipient.public, b"text")
    for foreign in (b"", sealed[:1], sealed[:40], sealed[:-1], sealed + b"\x00", bytes(2000)):
        with pytest.raises(OpenError):
            open_from(recipient.private, foreign)


def test_another_recipient_does_not_open_it(recipient: RecipientKey) -> None:
    sealed = seal_to(recipient.public, b"text")
    for suite in RecipientSuite:
        with pytest.raises(OpenError):
            open_from(generate_recipient_key(suite).private, sealed)


@pytest.mark.parametrize(
    "key", [b"", b"\x01", bytes(33), b"\x03" + bytes(32), b"\x02" + bytes(32), b"\x01" + bytes(33)]
)
def test_malformed_keys_are_refused(key: bytes) -> None:
    with pytest.raises(MalformedKey):
        seal_to(key, b"")
    with pytest.raises(MalformedKey):
        open_from(key, b"")


def test_points_of_low_order_are_refused() -> None:
    with pytest.raises(MalformedKey):
        seal_to(b"\x01" + bytes(32), b"secret")


def test_an_mlkem_key_out_of_range_is_refused() -> None:
    with pytest.raises(MalformedKey):
        seal_to(b"\x02" + b"\xff" * 1184 + bytes(range(32)), b"secret")


def test_the_private_key_does_not_show(recipient: RecipientKey) -> None:
    assert repr(recipient.private)[2:20] not in repr(recipient)
    with pytest.raises(TypeError):
        pickle.dumps(recipient)


def test_the_format_is_plain_hpke_behind_a_suite_byte() -> None:
    """Anybody's RFC 9180 implementation can be the other side."""
    private = X25519PrivateKey.generate()
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    info = length_prefixed(b"twinward/disclosure/1", b"\x01", b"info", b"aad")
    sealed = b"\x01" + suite.encrypt(b"text", private.public_key(), info)
    assert open_from(b"\x01" + private.private_bytes_raw(), sealed, info=b"info", aad=b"aad") == b"text"
