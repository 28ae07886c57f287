"""Prepared blocks in a file: the same answers as blocks made in place, and no changed byte is ever scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.kernels import kernels
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic.block_file import memory_file
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.gated import EncryptedIndex, GateKey, encrypt_gated_query, score_gated
from twinward_crypto.homomorphic.parameters import FAST, GATED, MEDIUM, Plan, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.scoring import score

KEY = bytes(range(32))
BINDING = bytes([3]) * 32


def rows_of(made: Plan, blocks: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, made.levels, ((blocks - 1) * made.block_rows + 9, made.dimension))


@pytest.mark.parametrize(
    "made", [plan(3, 16, profile=FAST), plan(5, 16, 2, weighted=True, profile=MEDIUM, grouping=2)], ids=str
)
@pytest.mark.parametrize("resident", [0, 1, 99])
def test_a_mapped_database_answers_like_a_built_one(made: Plan, resident: int) -> None:
    rows, key = rows_of(made, 3), QueryKey.generate(made)
    with memory_file("test") as (path, file):
        Database.write(file, made, rows, binding=BINDING, key=KEY)
        database = Database.map(path, made, binding=BINDING, key=KEY, resident=resident)
        weights = [2] * made.dimension if made.weighted else None
        asked = key.encrypt_query([1] * made.dimension, weights, binding=BINDING)
        expected = ((rows - 1) ** 2 * (2 if weights else 1)).sum(axis=1)
        for _ in range(2):
            assert np.array_equal(key.decrypt_distances(asked, score(asked.bundle, database)), expected)
        part = key.decrypt_distances(asked, score(asked.bundle, database.shard(1, 3)))
        assert np.array_equal(part, expected[made.block_rows :])


def test_a_mapped_index_answers_like_an_encrypted_one(tmp_path: Path) -> None:
    made = plan_gated(2, 16, weighted=False)
    rows, gate = rows_of(made, 2), GateKey.generate(made)
    path = tmp_path / "index"
    with path.open("wb") as file:
        gate.write_index(file, rows, binding=BINDING, key=KEY)
    index = EncryptedIndex.map(path, made, binding=BINDING, key=KEY)
    asked = encrypt_gated_query(gate.public_bundle(binding=BINDING), [3, 4])
    expected = ((rows - [3, 4]) ** 2).sum(axis=1)
    assert np.array_equal(gate.open_distances(score_gated(asked, index)), expected)
    assert np.array_equal(gate.open_distances(score_gated(asked, index.shard(1, 2))), expected[made.block_rows :])


@pytest.mark.parametrize("lasting", [False, True])
def test_an_index_is_scored_where_it_lies_in_memory_of_ones_own_alone(lasting: bool) -> None:
    """What lies where others might write is copied before it is checked: nobody changes it afterwards."""
    for family in ("residues", "ckks"):
        kernels(family)
    made = plan_gated(2, 16, weighted=False, profile=GATED)
    with memory_file("test") as (path, file):
        GateKey.generate(made).write_index(file, rows_of(made, 1), binding=BINDING, key=KEY)
        (block,) = EncryptedIndex.map(path, made, binding=BINDING, key=KEY, lasting=lasting).blocks
        before = block.norms.copy()
        file.seek(-8, 2)
        file.write(bytes(8))
        file.flush()
        assert np.array_equal(block.norms, before) == (not lasting)


def test_no_changed_byte_is_scored(tmp_path: Path) -> None:
    made, path = plan(2, 16, profile=FAST), tmp_path / "blocks"
    with path.open("wb") as file:
        Database.write(file, made, rows_of(made, 2), binding=BINDING, key=KEY)
    good = path.read_bytes()
    table = 80 + 40 * 2
    for place in [*range(0, table), *np.linspace(table, len(good) - 1, 40).astype(int)]:
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        with pytest.raises(MalformedBundle):
            list(Database.map(path, made, binding=BINDING, key=KEY).blocks)


@pytest.mark.parametrize("cut", [0, 10, 79, 100, 200, -1])
def test_a_short_file_is_refused(tmp_path: Path, cut: int) -> None:
    made, path = plan(2, 16, profile=FAST), tmp_path / "blocks"
    with path.open("wb") as file:
        Database.write(file, made, rows_of(made, 1), binding=BINDING, key=KEY)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(MalformedBundle):
        list(Database.map(path, made, binding=BINDING, key=KEY).blocks)


def test_another_cohorts_file_is_refused(tmp_path: Path) -> None:
    made, path = plan(2, 16, profile=FAST), tmp_path / "blocks"
    with path.open("wb") as file:
        Database.write(file, made, rows_of(made, 1), binding=BINDING, key=KEY)
    for arguments in (
        (made, {"binding": bytes(32), "key": KEY}),
        (plan(2, 17, profile=FAST), {"binding": BINDING, "key": KEY}),
    ):
        with pytest.raises(MalformedBundle, match="another cohort"):
            Database.map(path, arguments[0], **arguments[1])
    with pytest.raises(MalformedBundle, match="changed"):
        list(Database.map(path, made, binding=BINDING, key=bytes(32)).blocks)
    with pytest.raises(MalformedBundle, match="cannot be opened"):
        Database.map(tmp_path / "none", made, binding=BINDING, key=KEY)
