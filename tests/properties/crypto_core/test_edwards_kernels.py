"""Kernels add and multiply on edwards25519 as libsodium and plain integers do, on every point there is."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.edwards25519 import BASE, decode, encode, multiple, seeded
from tests.edwards25519 import add as add_points
from tests.kernels import kernels
from twinward_crypto.errors import MalformedBundle, MalformedKey, ParameterError
from twinward_crypto.feasibility import kernel_answer
from twinward_crypto.feasibility.answer import Layout, Tables
from twinward_crypto.feasibility.kernel_answer import KernelTables
from twinward_crypto.feasibility.query import FeasibilityKey, FeasibilityQuery
from twinward_crypto.kernels.place import has_ifma

PRIME = 2**255 - 19
NEUTRAL = bytes([1]) + bytes(31)
OF_ORDER_TWO = (PRIME - 1).to_bytes(32, "little")
OF_ORDER_FOUR = bytes(32)
OF_ORDER_EIGHT = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
SMALL = (NEUTRAL, OF_ORDER_TWO, OF_ORDER_FOUR, OF_ORDER_EIGHT)


@pytest.fixture(scope="module")
def edwards() -> ModuleType:
    return kernels("edwards")


def read(edwards: ModuleType, *encodings: bytes) -> np.ndarray | None:
    """Points; None where one is none."""
    points = np.empty((len(encodings), 4, 5), np.uint64)
    words = np.frombuffer(b"".join(encodings), "<u8").reshape(-1, 4)
    return points if edwards.decode(words, points, kernel_answer._FIXED) else None


def written(edwards: ModuleType, points: np.ndarray) -> list[bytes]:
    words = np.empty((len(points), 4), np.uint64)
    edwards.encode(points, words)
    return [one.tobytes() for one in words]


@settings(max_examples=8)
@given(st.lists(st.integers(1, 2**252) | st.sampled_from([1, 2, 8]), min_size=1, max_size=4))
def test_sums_are_those_of_plain_integers(edwards: ModuleType, scalars: list[int]) -> None:
    """Equal, opposite, neutral and small-order points among them, and points with a part of small order."""
    some = [encode(multiple(one, BASE)) for one in scalars]
    some += [encode(multiple(-scalars[0] % (8 * (2**252 + 27742317777372353535851937790883648493)), BASE)), *SMALL]
    some.append(encode(add_points(decode(some[0]), decode(OF_ORDER_EIGHT))))
    points = read(edwards, *some)
    assert points is not None
    assert written(edwards, points) == some
    out, cached = np.empty((len(some) ** 2, 4, 5), np.uint64), np.empty_like(points)
    edwards.cached(points, cached, kernel_answer._TWICE_D)
    edwards.sums(points, cached, out)
    wanted = [encode(add_points(decode(one), decode(other))) for one in some for other in some]
    assert written(edwards, out) == wanted


@settings(max_examples=80)
@given(st.binary(min_size=32, max_size=32) | st.integers(0, 40).map(lambda k: (PRIME + k).to_bytes(32, "little")))
def test_what_is_no_point_is_refused(edwards: ModuleType, data: bytes) -> None:
    try:
        point = decode(data)
    except (ValueError, MalformedKey):
        point = None
    canonical = point is not None and encode(point) == data
    assert (read(edwards, data) is not None) == canonical


def both(query: FeasibilityQuery, layout: Layout, indices: np.ndarray, edwards: ModuleType) -> bytes:
    """Slots with nothing left to chance, by libsodium and by kernels."""
    plain = Tables.of(query, layout, random_bytes=seeded("hospital")).slots(indices)
    for eight in (None, kernels("edwards8")) if has_ifma() else (None,):
        assert KernelTables(edwards, query, layout, eight, seeded("hospital")).slots(indices) == plain
    return plain


@settings(max_examples=6)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 3), st.data())
def test_slots_are_libsodiums_dummies_among_them(
    edwards: ModuleType, levels: list[int], threshold: int, data: st.DataObject
) -> None:
    costs = [[data.draw(st.integers(-2, 3)) for _ in range(size)] for size in levels]
    query = FeasibilityKey().query(costs, threshold=threshold, binding=bytes(32))
    layout = Layout.plan(levels, threshold, 1000)
    rows = layout.rows(np.array([[data.draw(st.integers(0, size - 1)) for size in levels] for _ in range(3)]))
    both(query, layout, layout.slots(rows, capacity=4, matching=3, never=2), edwards)


def test_forged_pairs_make_libsodiums_slots(edwards: ModuleType) -> None:
    """All equal, halves swapped, opposite ones: whatever ``require_elements`` lets in."""
    key = FeasibilityKey()
    honest = key.query([[0, 1, 0], [1, 0, 0]], binding=bytes(32))
    one, other = honest.pairs[0][0]
    opposite = bytes([*one[:31], one[31] ^ 128])
    for pairs in (((one, one),) * 3, ((one, other), (opposite, other), (other, one)), ((key.public, key.public),) * 3):
        forged = FeasibilityQuery(1, bytes(32), key.public, (pairs, pairs))
        forged.require_elements()
        layout = Layout((3, 3), 1, ((0,), (1,)))
        both(forged, layout, np.array([[0, 0], [1, 0], [2, 1], [3, 3], [4, 3]], np.int32), edwards)


@pytest.mark.parametrize("entry", [-1, 5, 2**31 - 1])
def test_entries_that_no_table_has_are_refused(edwards: ModuleType, entry: int) -> None:
    query = FeasibilityKey().query([[0, 1, 0], [1, 0, 0]], binding=bytes(32))
    tables = KernelTables(edwards, query, Layout((3, 3), 1, ((0,), (1,))))
    with pytest.raises(ParameterError, match="entries"):
        tables.slots(np.array([[0, 0], [0, entry]], np.int32))
    with pytest.raises(ParameterError, match="each table"):
        tables.slots(np.array([[0]], np.int32))


def test_a_query_about_other_features_is_refused(edwards: ModuleType) -> None:
    query = FeasibilityKey().query([[0, 1, 0]], binding=bytes(32))
    with pytest.raises(MalformedBundle, match="other features"):
        KernelTables(edwards, query, Layout((3, 3), 1, ((0,), (1,))))


@pytest.mark.parametrize("family", ["edwards", "edwards8"])
def test_what_a_slot_costs_is_not_told_by_its_entries(family: str) -> None:
    """In the kernel's source nothing branches, and no loop is as long as an entry says: a dummy costs what a row does.

    The plain code's test counts operations (``test_every_slot_costs_the_same_operations_in_the_same_order``).
    """
    source = (Path(kernel_answer.__file__).parents[1] / "kernels" / f"{family}.py").read_text()
    nodes = [
        node for one in ast.walk(ast.parse(source)) if getattr(one, "name", "") == "slots" for node in ast.walk(one)
    ]
    assert not [one for one in nodes if isinstance(one, ast.If | ast.IfExp | ast.While | ast.Break)]
    bounds = {ast.unparse(one.iter) for one in nodes if isinstance(one, ast.For)}
    lanes = {"range(0, entries.shape[0], LANES)", "range(LANES)", "range(4)", "range(5)"}
    assert bounds == {"range(2)", "range(entries.shape[1])"} | (
        lanes if family == "edwards8" else {"range(entries.shape[0])"}
    )
