"""A search by kernels sees and finds what the plain search does, in the same order, whatever tree and token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels import kernels
from twinward_crypto.errors import MalformedBundle
from twinward_crypto.matrix import screen
from twinward_crypto.matrix.encrypted_tree import EncryptedTree, Patch, Visit
from twinward_crypto.matrix.index import OutsourcedIndex, build_index, key_for
from twinward_crypto.matrix.token import Token, make_token

TOP = 15


@pytest.fixture(autouse=True)
def _screened(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels("screen")
    monkeypatch.setattr(screen, "LEAST_RECORDS", 1)


def built(seed: int, count: int, dimension: int) -> OutsourcedIndex:
    rows = np.random.default_rng(seed).integers(0, TOP + 1, (count, dimension))
    return build_index(key_for(dimension, TOP), rows, top=TOP, leaf_size=4)


def both(tree: EncryptedTree, token: Token) -> tuple[Visit, Visit]:
    """By kernels, and plainly."""
    found = tree._screened(token.flat)
    assert found is not None
    return found, tree._search(token.flat)


def require_same(tree: EncryptedTree, token: Token) -> None:
    fast, plain = both(tree, token)
    assert np.array_equal(fast.positions, plain.positions)
    assert (fast.nodes, fast.leaves) == (plain.nodes, plain.leaves)
    assert (fast.inner_tests, fast.leaf_tests) == (plain.inner_tests, plain.leaf_tests)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 6), st.data())
def test_every_search_is_the_plain_one(seed: int, count: int, dimension: int, data: st.DataObject) -> None:
    index = built(seed, count, dimension)
    for _ in range(3):
        query = data.draw(st.lists(st.integers(0, TOP), min_size=dimension, max_size=dimension))
        radius = data.draw(st.sampled_from([0, 1, 2, 9, dimension * TOP * TOP]) | st.integers(0, 400))
        require_same(index.tree, make_token(index._key, query, radius, top=TOP))
    for row in range(0, count, 3):
        index.delete(row)
        index.insert(1000 + row, [row % TOP] * dimension)
    require_same(index.tree, make_token(index._key, [3] * dimension, 20, top=TOP))


def test_a_sign_the_copy_cannot_tell_is_asked_of_the_ciphertext() -> None:
    """Rows whose trace is tiny beside their length: most of them lie within what the copy loses."""
    draw = np.random.default_rng(5)
    token = draw.normal(size=36)
    rows = draw.normal(size=(2000, 36))
    rows -= np.outer(rows @ token, token) / (token @ token)
    rows += np.outer(draw.normal(size=2000) * 1e-7, token)
    tree = EncryptedTree(
        size=6, binding=bytes(32), inner=np.zeros((0, 2, 36)), children=np.zeros((0, 2), np.int64),
        leaves=np.arange(2000).reshape(1, -1), records=rows, root=~0,
    )  # fmt: skip
    fast, plain = both(tree, Token(6, bytes(32), token))
    assert 500 < len(plain.positions) < 1500
    assert np.array_equal(fast.positions, plain.positions)


@pytest.mark.parametrize("number", [0.0, 1e-310, 1e200, 1.7e308])
def test_tokens_of_any_size_are_searched_as_plainly(number: float) -> None:
    tree = built(1, 40, 3).tree
    token = Token(tree.size, tree.binding, np.full(tree.size**2, number))
    assert np.array_equal(tree.search(token).positions, tree._search(token.flat).positions)


@pytest.mark.parametrize(
    "patch",
    [
        Patch(1, 0, children={0: (10**6, ~0)}),
        Patch(1, 0, children={0: (~(10**6), ~0)}),
        Patch(1, 10**6),
        Patch(1, 0, leaves={0: np.array([10**6] * 4)}),
        Patch(1, 0, children={0: (0, 0)}),
    ],
)
def test_a_patch_that_makes_it_no_tree_is_refused_by_the_search(patch: Patch) -> None:
    index = built(2, 40, 3)
    index.tree.apply(patch)
    with pytest.raises(MalformedBundle, match="outsourced tree"):
        index.tree.search(make_token(index._key, [3] * 3, 3 * TOP * TOP, top=TOP))
