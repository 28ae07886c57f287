"""BLS signatures: vectors made by py_ecc, differential properties against it, hash-to-curve vectors of RFC 9380."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_arkworks_bls12381 import G2Point
from py_ecc.bls import G2ProofOfPossession as Reference
from py_ecc.bls.point_compression import decompress_G1, decompress_G2
from py_ecc.optimized_bls12_381 import normalize

from twinward_crypto import bls, errors

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "bls.json").read_text(encoding="utf-8"))
MESSAGE = bytes.fromhex(VECTORS["message"])
SIGNERS = VECTORS["signers"]
seeds = st.binary(min_size=32, max_size=64)
messages = st.binary(max_size=200)


def keys_of(vector: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(key) for key in vector["keys"]]


def described(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["desc"] for vector in vectors])


@pytest.mark.parametrize("signer", SIGNERS)
def test_a_signer_is_the_reference_to_the_byte(signer: dict[str, str]) -> None:
    secret = bls.secret_key_from_seed(bytes.fromhex(signer["seed"]))
    assert secret.hex() == signer["secret_key"]
    assert bls.public_key(secret).hex() == signer["public_key"]
    assert bls.sign(secret, MESSAGE).hex() == signer["signature"]
    assert bls.prove_possession(secret).hex() == signer["possession"]
    bls.verify_possession(bytes.fromhex(signer["public_key"]), bytes.fromhex(signer["possession"]))


def test_aggregation_is_the_reference_and_forgets_order() -> None:
    signatures = [bytes.fromhex(signer["signature"]) for signer in SIGNERS]
    assert {bls.aggregate(order).hex() for order in permutations(signatures)} == {VECTORS["aggregate"]}


@described(VECTORS["verify"])
def test_verify(vector: dict[str, Any]) -> None:
    (key,) = keys_of(vector)
    arguments = key, bytes.fromhex(vector["message"]), bytes.fromhex(vector["signature"])
    assert Reference.Verify(*arguments) is (vector["error"] == "")
    if not vector["error"]:
        bls.verify(*arguments)
        return
    with pytest.raises(getattr(errors, vector["error"])):
        bls.verify(*arguments)
    with pytest.raises(getattr(errors, vector["error"])):
        bls.aggregate_verify([arguments[0]], [arguments[1]], arguments[2])


@described(VECTORS["fast_aggregate_verify"])
def test_fast_aggregate_verify(vector: dict[str, Any]) -> None:
    arguments = keys_of(vector), bytes.fromhex(vector["message"]), bytes.fromhex(vector["signature"])
    assert Reference.FastAggregateVerify(*arguments) is (vector["error"] == "")
    if not vector["error"]:
        bls.fast_aggregate_verify(*arguments)
        return
    with pytest.raises(getattr(errors, vector["error"])):
        bls.fast_aggregate_verify(*arguments)


@described(VECTORS["secret_keys"])
def test_bad_secret_keys_are_refused_and_never_quoted(vector: dict[str, str]) -> None:
    secret = bytes.fromhex(vector["secret_key"])
    for use in (bls.public_key, bls.prove_possession, lambda key: bls.sign(key, b"m")):
        with pytest.raises(errors.MalformedKey) as caught:
            use(secret)
        assert caught.value.__cause__ is None


def test_a_short_seed_is_refused() -> None:
    with pytest.raises(errors.MalformedKey, match="31"):
        bls.secret_key_from_seed(bytes(31))


def test_key_info_separates_keys_of_one_seed() -> None:
    seed = bytes(range(32))
    assert int.from_bytes(bls.secret_key_from_seed(seed, key_info=b"a"), "big") == Reference.KeyGen(seed, b"a")
    assert bls.secret_key_from_seed(seed, key_info=b"a") != bls.secret_key_from_seed(seed)


def test_nothing_to_aggregate_is_refused() -> None:
    with pytest.raises(errors.InvalidSignature):
        bls.aggregate([])
    with pytest.raises(errors.InvalidSignature):
        bls.aggregate([bytes.fromhex(SIGNERS[0]["signature"]), b"\xff" * 96])


@pytest.mark.parametrize(("keys", "count"), [(0, 0), (0, 1), (1, 0), (2, 1)])
def test_aggregate_verify_needs_a_message_for_every_key(keys: int, count: int) -> None:
    key = bytes.fromhex(SIGNERS[0]["public_key"])
    with pytest.raises(errors.InvalidSignature):
        bls.aggregate_verify([key] * keys, [MESSAGE] * count, bytes.fromhex(SIGNERS[0]["signature"]))


def test_a_rogue_key_cannot_prove_possession() -> None:
    """The attack that proofs of possession are for: rogue = mine - theirs makes my signature pass for both."""
    mine, theirs = (bytes.fromhex(signer["secret_key"]) for signer in SIGNERS[:2])
    difference = (int.from_bytes(mine, "big") - int.from_bytes(theirs, "big")) % bls.ORDER
    rogue = bls.public_key(difference.to_bytes(32, "big"))
    bls.fast_aggregate_verify([rogue, bls.public_key(theirs)], MESSAGE, bls.sign(mine, MESSAGE))
    with pytest.raises(errors.InvalidSignature):
        bls.verify_possession(rogue, bls.prove_possession(mine))


@settings(max_examples=3)
@given(seeds, messages)
def test_each_side_accepts_the_other(seed: bytes, message: bytes) -> None:
    secret = bls.secret_key_from_seed(seed)
    number = Reference.KeyGen(seed)
    assert int.from_bytes(secret, "big") == number
    signature = bls.sign(secret, message)
    assert signature == Reference.Sign(number, message)
    assert Reference.Verify(bls.public_key(secret), message, signature)
    bls.verify(Reference.SkToPk(number), message, Reference.Sign(number, message))


@settings(max_examples=25)
@given(st.lists(st.tuples(seeds, messages), min_size=1, max_size=5, unique_by=lambda pair: pair[0]), st.data())
def test_an_aggregate_stands_for_exactly_its_signers_and_messages(pairs: list[tuple[bytes, bytes]], data: Any) -> None:
    secrets = [bls.secret_key_from_seed(seed) for seed, _ in pairs]
    keys = [bls.public_key(secret) for secret in secrets]
    texts = [message for _, message in pairs]
    total = bls.aggregate([bls.sign(secret, text) for secret, text in zip(secrets, texts, strict=True)])
    bls.aggregate_verify(keys, texts, total)
    victim = data.draw(st.integers(0, len(pairs) - 1))
    changed = [text + b"!" if index == victim else text for index, text in enumerate(texts)]
    with pytest.raises(errors.InvalidSignature):
        bls.aggregate_verify(keys, changed, total)


@settings(max_examples=60)
@given(st.integers(0, 95), st.integers(1, 255))
def test_any_changed_byte_breaks_a_signature(position: int, difference: int) -> None:
    signature = bytearray.fromhex(SIGNERS[0]["signature"])
    signature[position] ^= difference
    with pytest.raises(errors.InvalidSignature):
        bls.verify(bytes.fromhex(SIGNERS[0]["public_key"]), MESSAGE, bytes(signature))


@settings(max_examples=60)
@given(st.integers(0, 47), st.integers(1, 255))
def test_any_changed_byte_breaks_a_key(position: int, difference: int) -> None:
    key = bytearray.fromhex(SIGNERS[0]["public_key"])
    key[position] ^= difference
    with pytest.raises((errors.InvalidSignature, errors.MalformedKey)):
        bls.verify(bytes(key), MESSAGE, bytes.fromhex(SIGNERS[0]["signature"]))


@given(st.binary(max_size=130))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    for call in (
        lambda: bls.verify(data, MESSAGE, data),
        lambda: bls.verify_possession(data, data),
        lambda: bls.aggregate([data]),
        lambda: bls.public_key_to_eip2537(data),
        lambda: bls.public_key_from_eip2537(data),
        lambda: bls.signature_to_eip2537(data),
    ):
        with pytest.raises((errors.InvalidSignature, errors.MalformedKey)):
            call()


@pytest.mark.parametrize("signer", SIGNERS)
def test_eip2537_points_hold_the_reference_coordinates(signer: dict[str, str]) -> None:
    key, signature = bytes.fromhex(signer["public_key"]), bytes.fromhex(signer["signature"])
    x, y = normalize(decompress_G1(int.from_bytes(key, "big")))
    assert bls.public_key_to_eip2537(key) == int(x).to_bytes(64, "big") + int(y).to_bytes(64, "big")
    assert bls.public_key_from_eip2537(bls.public_key_to_eip2537(key)) == key
    u, v = normalize(decompress_G2((int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big"))))
    coordinates = (*u.coeffs, *v.coeffs)
    assert bls.signature_to_eip2537(signature) == b"".join(int(part).to_bytes(64, "big") for part in coordinates)


@pytest.mark.parametrize("position", [0, 15, 63, 64, 127])
def test_an_altered_eip2537_key_is_refused(position: int) -> None:
    point = bytearray(bls.public_key_to_eip2537(bytes.fromhex(SIGNERS[0]["public_key"])))
    point[position] ^= 1
    with pytest.raises(errors.MalformedKey):
        bls.public_key_from_eip2537(bytes(point))
    with pytest.raises(errors.MalformedKey):
        bls.public_key_from_eip2537(bytes(128))


def test_hash_to_curve_vectors(shared_data: Path) -> None:
    """RFC 9380, J.10.1: pins the backend's suite and the order of its arguments."""
    suite = json.loads((shared_data / "h2c-bls12381" / "BLS12381G2_XMD:SHA-256_SSWU_RO_.json").read_text())
    assert suite["vectors"]
    for vector in suite["vectors"]:
        point = G2Point.hash_to_curve(vector["msg"].encode(), suite["dst"].encode()).to_xy_bytes_be()
        expected = [part for axis in ("x", "y") for part in vector["P"][axis].split(",")]
        assert point == b"".join(int(part, 16).to_bytes(48, "big") for part in expected)
