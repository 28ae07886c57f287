from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.te1 import generate, reference
from twinward.protocol import disclosed
from twinward.vault.keys import twin_keys
from twinward_crypto import envelope, hierarchy
from twinward_crypto.envelope import OVERHEAD_BYTES, SealingKey, generation_of, open_sealed, seal, seal_many
from twinward_crypto.errors import MalformedKey, OpenError, ParameterError
from twinward_crypto.kdf import AbsorbedKey
from twinward_crypto.providers import _hybrid_wrap
from twinward_crypto.record_context import RecordContext

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(generate.FILE.read_text())
KEY, AAD = bytes(range(32)), b"st-anna/twin-1"


def by_desc(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["desc"] for vector in vectors])


@by_desc(VECTORS["opens"])
def test_vectors_seal_and_open(vector: dict[str, Any]) -> None:
    key, nonce, aad, plaintext, sealed = (
        bytes.fromhex(vector[name]) for name in ("key", "nonce", "aad", "plaintext", "sealed")
    )
    assert seal(key, plaintext, aad, nonce=nonce, generation=vector["generation"]) == sealed
    assert open_sealed(key, sealed, aad) == plaintext
    assert generation_of(sealed) == vector["generation"]


@by_desc(VECTORS["fails"])
def test_vectors_that_must_not_open(vector: dict[str, Any]) -> None:
    with pytest.raises(OpenError) as caught:
        open_sealed(bytes.fromhex(vector["key"]), bytes.fromhex(vector["sealed"]), bytes.fromhex(vector["aad"]))
    assert str(caught.value) == str(OpenError())
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_vectors_are_what_their_generator_writes() -> None:
    assert generate.vectors() == VECTORS


def test_layout_field_by_field() -> None:
    nonce = bytes(range(100, 124))
    sealed = seal(KEY, b"plaintext", AAD, nonce=nonce, generation=0x01020304)
    _, commitment = reference.keys(KEY, nonce, AAD)
    assert sealed[:8] == bytes.fromhex("0101000001020304")
    assert sealed[8:32] == nonce
    assert sealed[32:64] == commitment
    assert len(sealed) == len(b"plaintext") + OVERHEAD_BYTES == len(b"plaintext") + 80


def test_every_envelope_is_fresh() -> None:
    assert len({seal(KEY, b"same", AAD) for _ in range(50)}) == 50


def test_a_ciphertext_commits_to_its_key() -> None:
    """An envelope whose GCM part opens under another key must still not open: the commitment is checked first."""
    other = bytes(32)
    sealed = seal(other, b"attacker's text", AAD, nonce=bytes(24))
    _, commitment = reference.keys(KEY, bytes(24), AAD)
    grafted = sealed[:32] + commitment + sealed[64:]
    for key in (KEY, other):
        with pytest.raises(OpenError):
            open_sealed(key, grafted, AAD)


def test_nothing_is_decrypted_before_the_commitment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = bytearray(seal(KEY, b"text", AAD))
    sealed[40] ^= 1

    def reached(*_: object) -> None:
        raise AssertionError("decrypted before the commitment was checked")

    monkeypatch.setattr(envelope, "AESGCM", reached)
    with pytest.raises(OpenError):
        open_sealed(KEY, bytes(sealed), AAD)


def test_an_absorbed_key_does_not_show_or_pickle() -> None:
    for holder in (SealingKey(KEY), AbsorbedKey(KEY)):
        assert KEY.hex() not in repr(holder)
        with pytest.raises(TypeError):
            pickle.dumps(holder)
        with pytest.raises(MalformedKey):
            type(holder)(KEY[:-1])


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_only_keys_of_32_bytes(length: int) -> None:
    with pytest.raises(MalformedKey):
        seal(bytes(length), b"", b"")
    with pytest.raises(MalformedKey):
        open_sealed(bytes(length), seal(KEY, b"", b""), b"")


@pytest.mark.parametrize(
    ("part", "arguments"),
    [
        ("nonce", {"nonce": bytes(12)}),
        ("nonce", {"nonce": b""}),
        ("generation", {"generation": -1}),
        ("generation", {"generation": 2**32}),
    ],
)
def test_parts_out_of_range_are_named(part: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ParameterError) as caught:
        seal(KEY, b"", b"", **arguments)
    assert caught.value.part == part


def test_lengths_are_bounded_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert envelope.MAX_PLAINTEXT_BYTES == 1 << 26
    monkeypatch.setattr(envelope, "MAX_PLAINTEXT_BYTES", 10)
    sealed = seal(KEY, bytes(10), AAD)
    assert open_sealed(KEY, sealed, AAD) == bytes(10)
    with pytest.raises(ParameterError, match="plaintext"):
        seal(KEY, bytes(11), AAD)
    with pytest.raises(OpenError):
        open_sealed(KEY, sealed + b"\x00", AAD)
    with pytest.raises(ParameterError, match="aad"):
        seal(KEY, b"", bytes(envelope.MAX_AAD_BYTES + 1))
    with pytest.raises(OpenError):
        open_sealed(KEY, sealed, bytes(envelope.MAX_AAD_BYTES + 1))


def test_a_generation_is_read_only_from_an_envelope() -> None:
    for foreign in (b"", bytes(80), b"\x02" + bytes(100), seal(KEY, b"", b"")[:-1]):
        with pytest.raises(OpenError):
            generation_of(foreign)


def test_the_specification_names_every_constant() -> None:
    spec = (Path(__file__).parents[3] / "crypto" / "SPEC.md").read_text()
    constants = [value for module in (hierarchy, twin_keys, _hybrid_wrap, disclosed) for value in vars(module).values()]
    labels = {one.decode() for one in constants if isinstance(one, bytes) and one.startswith(b"twinward/")}
    assert labels >= {"twinward/category-key", "twinward/kept-keys", "twinward/hybrid-wrap", "twinward/records/1"}
    for constant in ("twinward/TE1", *labels):
        assert f'"{constant}"' in spec
    assert "0x00000200" in spec


def test_a_record_context_is_eight_parts_in_order() -> None:
    context = RecordContext("st-anna", "twin", "Observation", "id", 258, b"\xaa" * 32, "labs", "s/1")
    assert context.encode() == (
        b"\0\0\0\x07st-anna\0\0\0\x04twin\0\0\0\x0bObservation\0\0\0\x02id"
        b"\0\0\0\x08\0\0\0\0\0\0\x01\x02\0\0\0\x20" + b"\xaa" * 32 + b"\0\0\0\x04labs\0\0\0\x03s/1"
    )


@pytest.mark.parametrize(
    ("version", "previous", "tenant"),
    [(0, b"", "t"), (-1, b"", "t"), (2**64, bytes(32), "t"), (1, bytes(32), "t"), (2, b"", "t"), (1, b"", "\ud800")],
)
def test_impossible_contexts_are_refused(version: int, previous: bytes, tenant: str) -> None:
    with pytest.raises(ParameterError):
        RecordContext(tenant, "twin", "type", "id", version, previous, "labs", "s/1").encode()


def test_many_are_sealed_as_one_by_one() -> None:
    parts = [(bytes([n]) * 32, bytes(n), b"context %d" % n) for n in range(5)]
    nonces = bytes(range(24 * len(parts)))
    made = seal_many(parts, random=lambda size: nonces[:size], generation=7)
    for n, (key, plaintext, aad) in enumerate(parts):
        assert made[n] == seal(key, plaintext, aad, nonce=nonces[24 * n : 24 * (n + 1)], generation=7)
    assert seal_many([]) == []
    assert len({one[8:32] for one in seal_many(parts)}) == len(parts)


def test_many_are_sealed_only_where_each_can_be() -> None:
    whole = (KEY, b"x", b"aad")
    with pytest.raises(MalformedKey):
        seal_many([whole, (KEY[:31], b"x", b"aad")])
    with pytest.raises(ParameterError):
        seal_many([whole, (KEY, b"x", bytes(envelope.MAX_AAD_BYTES + 1))])
    with pytest.raises(ParameterError):
        seal_many([whole], generation=-1)
