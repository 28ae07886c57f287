"""Matrix mode's parts: traces mean what they should, tokens and keys parse strictly, secrets do not slip."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest

from twinward_crypto.errors import MalformedBundle, MalformedKey, ParameterError
from twinward_crypto.matrix.index import build_index, key_for
from twinward_crypto.matrix.partition_tree import PartitionTree
from twinward_crypto.matrix.scheme import MatrixKey
from twinward_crypto.matrix.token import Token, make_token

KEY = key_for(3, 15)
M = KEY.size
TOKEN = make_token(KEY, [1, 2, 3], 5, top=15)


def test_traces_are_scaled_inner_products() -> None:
    rng = np.random.default_rng(1)
    vectors, query = rng.normal(size=(200, M - 2)), rng.normal(size=M - 2)
    traces, products = KEY.encrypt(vectors) @ KEY.token(query), vectors @ query
    scales = traces / products
    assert np.array_equal(np.sign(traces), np.sign(products))
    assert 0.25 - 1e-9 <= scales.min() < scales.max() <= 4 + 1e-9


@pytest.mark.parametrize("spread", [2, 64])
def test_records_that_lie_too_evenly_for_a_tree_are_scanned(spread: int) -> None:
    draw = np.random.default_rng(3)
    centres = draw.integers(spread, 129 - spread, (8, 16))
    rows = centres[draw.integers(0, 8, 4200)] + draw.integers(-spread, spread, (4200, 16))
    key = key_for(16, 127)
    index = build_index(key, rows, top=127)
    assert index.scans == (spread == 64)
    found = index.tree.search(make_token(key, rows[5].tolist(), 4000, top=127))
    assert np.array_equal(np.sort(index.rows[found.positions]), np.flatnonzero(((rows - rows[5]) ** 2).sum(1) <= 4000))
    index.insert(9999, rows[5].tolist())
    found = index.tree.search(make_token(key, rows[5].tolist(), 0, top=127))
    assert {5, 9999} <= set(index.rows[found.positions].tolist())
    assert index.scans == (spread == 64)


def test_encrypting_twice_gives_nothing_in_common() -> None:
    vector = np.ones((1, M - 2))
    assert not np.isclose(KEY.encrypt(vector), KEY.encrypt(vector)).any()


def test_keys_stay_well_conditioned() -> None:
    for _ in range(20):
        key = key_for(16, 127)
        assert max(np.linalg.cond(key.left), np.linalg.cond(key.right)) <= 4 + 1e-9


def test_entropy_is_the_only_randomness() -> None:
    def fixed(count: int) -> bytes:
        return bytes(range(256)) * (count // 256) + bytes(range(count % 256))

    one, two = (key_for(2, 15, entropy=fixed) for _ in range(2))
    assert np.array_equal(one.left, two.left)
    assert not np.array_equal(one.left, key_for(2, 15).left)


def test_a_key_comes_back_and_nothing_else_does() -> None:
    data = KEY.dangerously_export_secret()
    back = MatrixKey.restore(data)
    assert back.dangerously_export_secret() == data
    twice = bytearray(data)
    twice[16:18] = twice[18:20]
    nan = data[:-8] + struct.pack("<d", float("nan"))
    for bad in (b"", data[:-1], data + b"\0", b"XXXX" + data[4:], bytes(twice), nan, data[:6] + b"\xff\xff" + data[8:]):
        with pytest.raises(MalformedKey):
            MatrixKey.restore(bad)


def test_a_key_does_not_slip() -> None:
    assert repr(KEY) == f"MatrixKey(size={M}, reach={KEY.reach!r})"
    with pytest.raises(TypeError, match="does not serialise"):
        pickle.dumps(KEY)


def test_tokens_parse_strictly() -> None:
    data = TOKEN.encode()
    assert Token.decode(data, size=M, binding=bytes(32)).encode() == data
    nan = data[:-8] + struct.pack("<d", float("inf"))
    for bad in (b"", data[:-1], data + b"\0", b"XXXX" + data[4:], data[:4] + b"\2" + data[5:], nan):
        with pytest.raises(MalformedBundle):
            Token.decode(bad, size=M, binding=bytes(32))
    with pytest.raises(MalformedBundle, match="another schema or epoch"):
        Token.decode(data, size=M, binding=bytes([1]) * 32)


def test_a_token_for_another_tree_is_refused() -> None:
    rows = np.array([[1, 2, 3]])
    tree = build_index(KEY, rows, top=15, binding=bytes([1]) * 32).tree
    with pytest.raises(MalformedBundle, match="another tree"):
        tree.search(TOKEN)


def test_a_search_opens_few_leaves_of_a_clustered_cohort() -> None:
    rng = np.random.default_rng(4)
    rows = np.clip(rng.integers(0, 16, (20, 3))[rng.integers(0, 20, 2000)] + rng.integers(0, 2, (2000, 3)), 0, 15)
    index = build_index(KEY, rows, top=15)
    seen = index.tree.search(make_token(KEY, rows[0].tolist(), 0, top=15))
    assert (rows[index.rows[seen.positions]] == rows[0]).all()
    assert seen.inner_tests + seen.leaf_tests < len(rows) / 3


@pytest.mark.parametrize("levels", [[1, 2], [1, 2, 16], [-1, 2, 3]])
def test_queries_outside_the_schema_are_refused(levels: list[int]) -> None:
    with pytest.raises(ParameterError) as refusal:
        make_token(KEY, levels, 5, top=15)
    assert refusal.value.part == "levels"


def test_negative_radii_and_unusable_records_are_refused() -> None:
    with pytest.raises(ParameterError, match="radius"):
        make_token(KEY, [1, 2, 3], -1, top=15)
    for rows in (np.array([[1, 2]]), np.array([[1, 2, 16]]), np.empty((0, 3), dtype=int)):
        with pytest.raises(ParameterError):
            build_index(KEY, rows, top=15)
    for vectors in (np.empty((0, 2)), np.array([[np.nan]]), np.array([1.0])):
        with pytest.raises(ParameterError):
            PartitionTree.build(vectors)
