"""Feasibility counts: the frame, the noise, libsodium against RFC 8032 in plain integers, and what a dummy costs."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest

from tests.edwards25519 import BASE, Counted, Exponents, PlainCurve, decode, encode, multiple, seeded
from tests.edwards25519 import add as add_points
from twinward_crypto.errors import MalformedBundle, MalformedKey, ParameterError
from twinward_crypto.feasibility.answer import Layout, Tables
from twinward_crypto.feasibility.group import ORDER, SODIUM, Group, multiply_add, random_scalar
from twinward_crypto.feasibility.noise import GeometricNoise, half_width
from twinward_crypto.feasibility.query import Answer, FeasibilityKey, FeasibilityQuery, answer_bytes, query_bytes

BINDING = b"b" * 32
LEVELS = (3, 2, 4)
COSTS = ((0, 1, 1), (0, 0), (1, 0, 0, 1))


def answered(group: Group, seed: str, *, threshold: int = 1) -> tuple[bytes, bytes, int]:
    """One query and its answer with nothing left to chance, and the count that the asker makes of it."""
    key = FeasibilityKey(group, seeded(seed))
    query = key.query(COSTS, threshold=threshold, binding=BINDING)
    layout = Layout(LEVELS, threshold, ((0, 1), (2,)))
    rows = layout.rows(np.array([[0, 1, 1], [1, 0, 2], [0, 0, 3]]))
    indices = np.array([*rows.tolist(), layout.dummy(matches=True)[:2], layout.dummy(matches=False)[:2]], np.int32)
    if threshold > 1:
        indices = np.hstack([indices, np.zeros((len(indices), 1), np.int32)])
    data = Tables.of(query, layout, group=group, random_bytes=seeded(seed + "/hospital")).slots(indices)
    return query.encode(), data, key.matches(Answer(BINDING, data))


def test_libsodium_and_plain_integers_give_the_same_bytes() -> None:
    found = answered(SODIUM, "same", threshold=2)
    assert found == answered(PlainCurve(), "same", threshold=2)
    assert found[2] == 2  # the first row, and the dummy that always matches
    # A known answer, for whoever writes a client: seeds as in ``tests.edwards25519``, layout as in crypto/SPEC.md.
    query, slots = (hashlib.sha256(one).hexdigest() for one in found[:2])
    assert query == "9a33c37107e44e8c29536960e0e74d519b1e9e0e882a275c1170eb2cd72c9139"
    assert slots == "e45403e7ff9c8b779dbbb5c10e401e2e568b3b0b845f44d99106359d96609783"


def test_a_group_of_logarithms_counts_the_same() -> None:
    assert answered(Exponents(), "same")[2] == answered(SODIUM, "other")[2]


def test_a_query_is_read_as_it_was_written() -> None:
    query = FeasibilityKey().query(COSTS, binding=BINDING)
    data = query.encode()
    assert len(data) == query_bytes(LEVELS)
    assert FeasibilityQuery.decode(data, levels=LEVELS, binding=BINDING) == query
    query.require_elements()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:-1], "has 654 bytes"),
        (lambda data: data + b"\0", "has 654 bytes"),
        (lambda data: b"", "has 654 bytes"),
        (lambda data: b"TWFA" + data[4:], "of this version"),
        (lambda data: data[:4] + b"\2" + data[5:], "of this version"),
        (lambda data: data[:5] + b"\0" + data[6:], "from 1 to 16"),
        (lambda data: data[:5] + b"\x11" + data[6:], "from 1 to 16"),
        (lambda data: data[:6] + b"\4" + data[7:], "other features"),
        (lambda data: data[:8] + b"c" + data[9:], "hospital, schema or epoch"),
        (lambda data: data[:72] + b"\4\0\1\0" + data[76:], "other features"),
    ],
)
def test_another_frame_is_refused(change: object, says: str) -> None:
    data = FeasibilityKey().query(COSTS, binding=BINDING).encode()
    assert callable(change)
    with pytest.raises(MalformedBundle, match=says):
        FeasibilityQuery.decode(change(data), levels=LEVELS, binding=BINDING)


SMALL_ORDER = [
    "01" + "00" * 31,
    "ec" + "ff" * 30 + "7f",
    "00" * 32,
    "00" * 31 + "80",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
]
"""All points of orders 1, 2, 4 and 8, as encoded canonically (Chalkias, Garillot, Nikolaenko 2020, table 1)."""
NOT_CANONICAL = ["ee" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f", "01" + "00" * 30 + "80", "ff" * 32]
OFF_CURVE = ["02" + "00" * 31, "07" + "00" * 31]


def torsioned() -> str:
    """A point of the prime order with one of order 8 added: on the curve, and outside the subgroup."""
    return encode(add_points(multiple(7, BASE), decode(bytes.fromhex(SMALL_ORDER[6])))).hex()


@pytest.mark.parametrize("point", [*SMALL_ORDER, *NOT_CANONICAL, *OFF_CURVE, torsioned()])
def test_what_is_no_element_is_refused_wherever_it_stands(point: str) -> None:
    bad = bytes.fromhex(point)
    for group in (SODIUM, PlainCurve()):
        with pytest.raises(MalformedKey):
            group.require_element(bad)
    data = FeasibilityKey().query(COSTS, binding=BINDING).encode()
    for place in (40, 78, 78 + 32, len(data) - 32):  # the key, both halves of the first pair, the last half of all
        forged = data[:place] + bad + data[place + 32 :]
        query = FeasibilityQuery.decode(forged, levels=LEVELS, binding=BINDING)
        with pytest.raises(MalformedBundle, match="not an element"):
            query.require_elements()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_element_has_32_bytes(size: int) -> None:
    with pytest.raises(MalformedKey):
        SODIUM.require_element(b"\1" * size)


def test_every_slot_costs_the_same_operations_in_the_same_order() -> None:
    """Fails where a dummy, a row that matches or one that does not is cheaper, or takes another way."""
    group = Counted()
    query = FeasibilityKey(group).query(COSTS, threshold=2, binding=BINDING)
    layout = Layout.plan(LEVELS, 2, 50)
    tables = Tables.of(query, layout, group=group)
    rows = layout.rows(np.array([[0, 1, 1], [1, 0, 0]]))
    each = [[*row, cost] for row in rows.tolist() for cost in (0, 1)]
    took = []
    for row in [*each, layout.dummy(matches=True), layout.dummy(matches=False)]:
        group.calls.clear()
        tables.slots(np.array([row], np.int32))
        took.append(tuple(group.calls))
    assert len(set(took)) == 1
    assert took[0].count("multiply") == 3
    assert took[0].count("add") == 2 * layout.tables


def test_tables_cost_the_same_whatever_the_query_holds() -> None:
    took = []
    for costs in (COSTS, ((0, 0, 0), (0, 0), (0, 0, 0, 0)), ((5, -1, 9), (ORDER - 1, 3), (7, 7, 7, 7))):
        group = Counted()
        query = FeasibilityKey(group).query(costs, binding=BINDING)
        group.calls.clear()
        Tables.of(query, Layout.plan(LEVELS, 1, 10_000), group=group)
        took.append(tuple(group.calls))
    assert len(set(took)) == 1


def test_an_answer_has_as_many_slots_whoever_is_in_it() -> None:
    layout = Layout.plan(LEVELS, 3, 100)
    full = layout.slots(layout.rows(np.zeros((8, 3), np.int64)), capacity=8, matching=9, never=3)
    bare = layout.slots(layout.rows(np.zeros((2, 3), np.int64)), capacity=8, matching=1, never=11)
    assert full.shape == bare.shape == (8 * 3 + 12, layout.tables)
    with pytest.raises(ParameterError):
        layout.slots(layout.rows(np.zeros((9, 3), np.int64)), capacity=8, matching=1, never=1)


def test_an_order_is_drawn_anew_for_each_answer() -> None:
    layout = Layout.plan(LEVELS, 1, 100)
    rows = layout.rows(np.array([[i % 3, i % 2, i % 4] for i in range(60)]))
    one, other = (layout.slots(rows, capacity=60, matching=20, never=20) for _ in range(2))
    assert not np.array_equal(one, other)
    assert np.array_equal(np.sort(one, axis=0), np.sort(other, axis=0))


def test_sums_that_are_neutral_meet_no_case_of_their_own() -> None:
    """Opposite points in two features: the rows' own sums are neutral, and libsodium would refuse to multiply those."""
    key = FeasibilityKey()
    public, base = key.public, SODIUM.multiply_base(random_scalar())
    minus = SODIUM.multiply((ORDER - 1).to_bytes(32, "little"), base)
    forged = FeasibilityQuery(1, BINDING, public, (((base, base),), ((minus, minus),)))
    layout = Layout((1, 1), 1, ((0,), (1,)))
    data = Tables.of(forged, layout).slots(layout.rows(np.zeros((3, 2), np.int64)))
    assert key.matches(Answer(BINDING, data)) == 3  # all encrypt 0: what was sent, sent twice


@pytest.mark.parametrize("rows", [[[0, 0]], [[0, 0, 4]], [[-1, 0, 0]]])
def test_rows_beyond_the_features_are_refused(rows: list[list[int]]) -> None:
    with pytest.raises(ParameterError):
        Layout.plan(LEVELS, 1, 10).rows(np.array(rows))


@pytest.mark.parametrize(("millis", "bound", "within"), [(100, 248, 30), (250, 103, 12), (500, 53, 6), (1000, 27, 3)])
def test_noise_is_as_the_page_says(millis: int, bound: int, within: int) -> None:
    noise = GeometricNoise.of(millis)
    assert (noise.bound, noise.half_width()) == (bound, within)
    assert noise.delta < 2**-40


@pytest.mark.parametrize("millis", [50, 100, 250, 1000, 4000])
def test_the_privacy_of_the_noise_is_exact(millis: int) -> None:
    """The hockey-stick divergence of counts that differ by one, in integers: below 2^-40 at no more than epsilon."""
    noise = GeometricNoise.of(millis)
    weights = [noise.weight(value) for value in range(-noise.bound, noise.bound + 1)]
    assert weights == weights[::-1]
    assert sum(weights) == noise.total
    ratio = Fraction(weights[1], weights[0])  # one step: below e^epsilon, for that is how alpha was rounded
    assert math.log(ratio) <= millis / 1000
    beyond = sum(max(0, one - before * ratio) for before, one in zip([0, *weights], [*weights, 0], strict=True))
    assert Fraction(beyond) / noise.total == Fraction(weights[0], noise.total)
    assert float(Fraction(weights[0], noise.total)) == noise.delta


def test_a_draw_falls_where_its_weight_says() -> None:
    noise = GeometricNoise.of(1000)
    for value in range(-noise.bound, noise.bound + 1):
        last = noise.cumulative[value + noise.bound] - 1
        first = last - noise.weight(value) + 1
        assert noise.draw(lambda _, at=first: at) == value
        assert noise.draw(lambda _, at=last: at) == value


def test_hospitals_together_are_uncertain_by_less_than_their_sum() -> None:
    noises = [GeometricNoise.of(250)] * 3
    assert noises[0].half_width() < half_width(noises) < 3 * noises[0].half_width()


@pytest.mark.parametrize("millis", [0, 49, 4001, -250])
def test_an_epsilon_beyond_what_is_offered_is_refused(millis: int) -> None:
    with pytest.raises(ParameterError, match="epsilon"):
        GeometricNoise.of(millis)


def test_an_answer_of_another_size_or_question_is_refused() -> None:
    data = Answer(BINDING, b"\1" * 80).encode()
    assert len(data) == answer_bytes(2)
    assert len(Answer.decode(data, slots=2, binding=BINDING)) == 2
    for wrong in (data[:-1], data + b"\0", b"X" + data[1:]):
        with pytest.raises(MalformedBundle):
            Answer.decode(wrong, slots=2, binding=BINDING)
    with pytest.raises(MalformedBundle):
        Answer.decode(data, slots=2, binding=b"c" * 32)
    with pytest.raises(MalformedBundle, match="elements"):
        FeasibilityKey().matches(Answer(BINDING, bytes.fromhex("01" + "00" * 31) + b"\0" * 8))


@pytest.mark.parametrize(
    ("costs", "threshold"), [((), 1), (((),), 1), (((0,) * 1026,), 1), (COSTS, 0), (COSTS, 17), (((0,),) * 1025, 1)]
)
def test_queries_that_cannot_be_sent_are_refused(costs: tuple[tuple[int, ...], ...], threshold: int) -> None:
    with pytest.raises(ParameterError):
        FeasibilityKey(Exponents()).query(costs, threshold=threshold, binding=BINDING)


def test_a_key_shows_nothing_and_scalars_are_computed_modulo_the_order() -> None:
    assert repr(FeasibilityKey()) == "FeasibilityKey()"
    one, other = ORDER - 2, 12345
    found = multiply_add(one.to_bytes(32, "little"), other.to_bytes(32, "little"), -7)
    assert int.from_bytes(found, "little") == (one * other - 7) % ORDER
