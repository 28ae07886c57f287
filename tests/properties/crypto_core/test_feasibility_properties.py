"""For any criteria, rows and forgeries: counts are exact before noise, and one row moves them by one at most.

Elements stand as their logarithms here (``Exponents``), so that hypothesis may look at thousands of slots.
"""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.edwards25519 import Exponents, seeded
from twinward_crypto.feasibility.answer import Layout, Tables
from twinward_crypto.feasibility.group import ORDER
from twinward_crypto.feasibility.query import Answer, FeasibilityKey, FeasibilityQuery

BINDING = bytes(32)
Rows = NDArray[np.int64]
GROUP = Exponents()
LEVELS = st.lists(st.integers(1, 5), min_size=1, max_size=5)


def counted(query: FeasibilityQuery, layout: Layout, rows: Rows, capacity: int) -> int:
    """What is counted where the noise is 2 of -3 to 3, less the dummies, by whoever has the logarithm of ``P``.

    In a group of logarithms that is ``P`` itself, so that foreign keys are tested as well.
    """
    slots = layout.slots(layout.rows(rows), capacity=capacity, matching=5, never=1)
    answer = Answer(BINDING, Tables.of(query, layout, group=GROUP).slots(slots))
    return sum(GROUP.multiply(query.public, point)[:8] == tag for point, tag in answer.slots()) - 5


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[int], Rows, list[list[int]], int]:
    """Levels, rows, costs and T."""
    levels = draw(LEVELS)
    rows = draw(st.lists(st.tuples(*(st.integers(0, size - 1) for size in levels)), max_size=8))
    cost = st.one_of(st.integers(-3, 6), st.sampled_from([ORDER - 1, ORDER // 2, ORDER // 2 + 1]))
    costs = [draw(st.lists(cost, min_size=size, max_size=size)) for size in levels]
    return levels, np.array(rows, np.int64).reshape(len(rows), len(levels)), costs, draw(st.integers(1, 5))


@given(questions(), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_counts_are_exact(question: tuple[list[int], Rows, list[list[int]], int], spare: int) -> None:
    levels, rows, costs, threshold = question
    key = FeasibilityKey(GROUP)
    query = key.query(costs, threshold=threshold, binding=BINDING)
    read = FeasibilityQuery.decode(query.encode(), levels=levels, binding=BINDING)
    layout = Layout.plan(levels, threshold, 1000)
    sums = [sum(costs[j][level] for j, level in enumerate(row)) % ORDER for row in rows.tolist()]
    assert counted(read, layout, rows, len(rows) + spare) == sum(one < threshold for one in sums)


@given(questions(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_one_row_moves_a_count_by_one_at_most_whatever_is_sent(
    question: tuple[list[int], Rows, list[list[int]], int], random: object
) -> None:
    levels, rows, _, threshold = question
    if not len(rows):
        return
    key = FeasibilityKey(GROUP)
    few = [1, 2, ORDER - 1, ORDER - 2, int.from_bytes(key.public, "little")]

    def anything() -> bytes:
        wide = random.randrange(1, ORDER)  # type: ignore[attr-defined]
        return int(random.choice([*few, wide])).to_bytes(32, "little")  # type: ignore[attr-defined]

    pairs = tuple(tuple((anything(), anything()) for _ in range(size)) for size in levels)
    public = key.public if random.random() < 0.7 else anything()  # type: ignore[attr-defined]
    query = FeasibilityQuery(threshold, BINDING, public, pairs)
    query.require_elements(GROUP)
    layout = Layout.plan(levels, threshold, 100)
    whole = counted(query, layout, rows, len(rows))
    for gone in range(len(rows)):
        assert abs(whole - counted(query, layout, np.delete(rows, gone, 0), len(rows))) <= 1


@given(LEVELS, st.integers(1, 4), st.integers(1, 10**6))
def test_layouts_hold_every_feature_once_and_never_cost_more_than_none(
    levels: list[int], threshold: int, slots: int
) -> None:
    layout = Layout.plan(levels, threshold, slots)
    assert [feature for group in layout.groups for feature in group] == list(range(len(levels)))
    assert layout.sizes == tuple(prod(levels[feature] for feature in group) for group in layout.groups)
    plain = Layout(tuple(levels), threshold, tuple((feature,) for feature in range(len(levels))))
    assert layout.additions(slots) <= plain.additions(slots)


def test_slots_that_match_nothing_are_uniform_in_what_they_encrypt() -> None:
    """Chi-square over the low byte of 4,000 logarithms of what is encrypted, for rows that cost 1, 2, 3 and dummies."""
    random_bytes = seeded("uniform")
    key = FeasibilityKey(GROUP, random_bytes)
    query = key.query(((1, 2, 3),), binding=BINDING)
    layout = Layout.plan((3,), 1, 1000)
    tables = Tables.of(query, layout, group=GROUP, random_bytes=random_bytes)
    secret = int.from_bytes(key.public, "little")  # of the logarithm group: P is s itself
    never = layout.dummy(matches=False)
    for row in (*layout.rows(np.array([[0], [1], [2]])).tolist(), never):
        told = []
        for _ in range(1000):
            one, other = full_slot(tables, row)
            told.append((other - secret * one) % ORDER)
        assert len(set(told)) == 1000
        assert 0 not in told
        seen = np.bincount([number & 15 for number in told], minlength=16)
        assert ((seen - 62.5) ** 2 / 62.5).sum() < 45  # 15 degrees of freedom: p < 1e-4 above 45
        high = np.bincount([number >> 248 for number in told], minlength=17)[:16]
        assert ((high - 62.5) ** 2 / 62.5).sum() < 45


def full_slot(tables: Tables, row: list[int]) -> tuple[int, int]:
    """A slot's whole pair: of the second half only eight bytes are sent."""
    from twinward_crypto.feasibility import answer

    kept = answer.TAG_BYTES
    answer.TAG_BYTES = 32  # type: ignore[misc]
    try:
        data = tables.slots(np.array([row], np.int32))
    finally:
        answer.TAG_BYTES = kept  # type: ignore[misc]
    return int.from_bytes(data[:32], "little"), int.from_bytes(data[32:], "little")
