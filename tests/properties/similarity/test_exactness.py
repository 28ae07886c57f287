"""Encrypted answers equal plaintext brute force, whatever the schema, the records, the query and the weights."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query, score_gated
from twinward_crypto.homomorphic.parameters import Plan, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.scoring import score
from twinward_crypto.matrix.index import build_index, key_for
from twinward_crypto.matrix.partition_tree import PartitionTree
from twinward_crypto.matrix.token import Token, make_token


@st.composite
def cases(draw: st.DrawFn, max_rows: int = 12) -> tuple[int, np.ndarray, list[int], list[int] | None]:
    """(levels, records, query, weights) of one to four features."""
    d, levels = draw(st.integers(1, 4)), draw(st.sampled_from([2, 16, 128]))
    level = st.integers(0, levels - 1)
    rows = draw(st.lists(st.lists(level, min_size=d, max_size=d), min_size=1, max_size=max_rows))
    query = draw(st.lists(level, min_size=d, max_size=d))
    weights = draw(st.none() | st.lists(st.integers(0, 3), min_size=d, max_size=d))
    return levels, np.array(rows), query, weights


def brute(rows: np.ndarray, query: list[int], weights: list[int] | None) -> list[int]:
    weighing = np.ones(len(query), dtype=int) if weights is None else np.array(weights)
    return ((rows - np.array(query)) ** 2 * weighing).sum(axis=1).tolist()


@lru_cache(maxsize=32)
def query_key(made: Plan) -> QueryKey:
    return QueryKey.generate(made)


@lru_cache(maxsize=32)
def gate_key(made: Plan) -> GateKey:
    return GateKey.generate(made)


@given(cases(), st.sampled_from([1, 2, 4, 8]))
@settings(max_examples=60)
def test_vendor_key(case: tuple[int, np.ndarray, list[int], list[int] | None], grouping: int) -> None:
    levels, rows, query, weights = case
    key = query_key(plan(rows.shape[1], levels, 3, grouping=grouping))
    asked = key.encrypt_query(query, weights)
    answer = score(asked.bundle, Database.build(key.plan, rows))
    assert key.decrypt_distances(asked, answer).tolist() == brute(rows, query, weights)


@given(cases())
@settings(max_examples=25)
def test_gated(case: tuple[int, np.ndarray, list[int], list[int] | None]) -> None:
    levels, rows, query, weights = case
    key = gate_key(plan_gated(rows.shape[1], levels, 3))
    answer = score_gated(encrypt_gated_query(key.public_bundle(), query, weights), key.encrypt_index(rows))
    assert key.open_distances(answer).tolist() == brute(rows, query, weights)


@given(cases(max_rows=60), st.integers(0, 70_000))
@settings(max_examples=80)
def test_partition_tree_and_its_encryption(
    case: tuple[int, np.ndarray, list[int], list[int] | None], radius_squared: int
) -> None:
    levels, rows, query, _ = case
    distances = np.array(brute(rows, query, None))
    expected = np.flatnonzero(distances <= radius_squared).tolist()
    tree = PartitionTree.build(rows.astype(float), leaf_size=4)
    assert tree.search(rows.astype(float), np.array(query, dtype=float), radius_squared).rows.tolist() == expected
    key = key_for(rows.shape[1], levels - 1)
    index = build_index(key, rows, top=levels - 1, leaf_size=4)
    token = make_token(key, query, radius_squared, top=levels - 1)
    seen = index.tree.search(Token.decode(token.encode(), size=key.size, binding=bytes(32)))
    assert np.sort(index.rows[seen.positions]).tolist() == expected


@given(cases(max_rows=60))
@settings(max_examples=60)
def test_ties_at_the_radius_are_inside(case: tuple[int, np.ndarray, list[int], list[int] | None]) -> None:
    """A radius equal to some record's distance includes that record, encrypted or not."""
    levels, rows, query, _ = case
    distances = np.array(brute(rows, query, None))
    for radius_squared in sorted(set(distances.tolist()))[:3]:
        key = key_for(rows.shape[1], levels - 1)
        index = build_index(key, rows, top=levels - 1, leaf_size=4)
        seen = index.tree.search(make_token(key, query, radius_squared, top=levels - 1))
        assert len(seen.positions) == (distances <= radius_squared).sum()


@given(st.integers(1, 200), st.integers(1, 3), st.integers(1, 9))
@settings(max_examples=40)
def test_leaves_hold_every_row_once_and_never_too_many(count: int, d: int, leaf_size: int) -> None:
    vectors = np.random.default_rng(count).integers(0, 3, (count, d)).astype(float)  # many duplicates
    tree = PartitionTree.build(vectors, leaf_size)
    assert sorted(tree.order.tolist()) == list(range(count))
    assert np.diff(tree.leaf_starts).max() <= leaf_size
