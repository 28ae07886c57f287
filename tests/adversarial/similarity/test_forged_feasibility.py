"""Counts against a vendor that sends what it likes: a patient moves one by one at most, and refusals tell nothing.

The forgeries are those that break such counts elsewhere: other numbers than 0 and 1, sums that cancel, halves that do
not belong together, neutral elements, equal pairs, one level set apart, a foreign key. Elements stand as logarithms
(``Exponents``) where a thousand queries are tried, as libsodium's where bytes are.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.edwards25519 import Exponents
from tests.integration.similarity.fixtures import CountedBudget
from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Role
from twinward.protocol.feasibility import FeasibilityQuestion
from twinward.similarity.errors import BudgetExhausted, QueryMalformed
from twinward.similarity.feasibility.engine import FeasibilityEngine
from twinward.similarity.feasibility.service import Feasibility
from twinward.similarity.rate_limit import Pace
from twinward_crypto.feasibility.answer import Layout, Tables
from twinward_crypto.feasibility.group import ORDER
from twinward_crypto.feasibility.noise import GeometricNoise
from twinward_crypto.feasibility.query import Answer, FeasibilityKey, FeasibilityQuery

BINDING = bytes(32)
LEVELS = (4, 3, 2)
VENDOR = Principal("acme", Role.VENDOR)
GROUP = Exponents()
Rows = NDArray[np.int64]


def number(value: int) -> bytes:
    """An element by its logarithm; never the neutral one."""
    return (value % ORDER or 1).to_bytes(32, "little")


def forged(kind: int, key: FeasibilityKey, chance: random.Random) -> FeasibilityQuery:
    """One of eight ways to send something else."""
    threshold = chance.randint(1, 3)

    def pairs(make: object) -> tuple[tuple[tuple[bytes, bytes], ...], ...]:
        assert callable(make)
        return tuple(tuple(make(feature, level) for level in range(size)) for feature, size in enumerate(LEVELS))

    def anything(*_: int) -> tuple[bytes, bytes]:
        return number(chance.randrange(1, ORDER)), number(chance.randrange(1, ORDER))

    def costs(draw: object) -> FeasibilityQuery:
        assert callable(draw)
        return key.query([[draw() for _ in range(size)] for size in LEVELS], threshold=threshold, binding=BINDING)

    base, public = number(1), key.public
    if kind == 0:
        return costs(lambda: chance.randint(0, 2))
    if kind == 1:
        return costs(lambda: chance.randrange(ORDER))
    if kind == 2:  # sums that cancel, modulo the order and by halves
        return costs(lambda: chance.choice([-2, -1, 0, 1, 2]) * (ORDER - 1) // 2)
    if kind == 3:
        return FeasibilityQuery(threshold, BINDING, public, pairs(anything))
    if kind == 4:  # opposite elements in two features: rows whose own sum is neutral
        signs = {0: 1, 1: ORDER - 1, 2: 7}
        return FeasibilityQuery(threshold, BINDING, public, pairs(lambda j, _: (number(signs[j]), number(signs[j]))))
    if kind == 5:  # (G, P) everywhere
        return FeasibilityQuery(threshold, BINDING, public, pairs(lambda *_: (base, public)))
    if kind == 6:  # a key of which the vendor does not know the logarithm, or a very small one
        foreign = number(chance.choice([1, 2, ORDER - 1, chance.randrange(1, ORDER)]))
        return FeasibilityQuery(threshold, BINDING, foreign, pairs(anything))
    mixed = costs(lambda: chance.randint(0, 1))
    halves = [other for some in mixed.pairs for _, other in some]
    chance.shuffle(halves)
    swapped = iter(halves)
    return FeasibilityQuery(
        threshold, BINDING, public, tuple(tuple((one, next(swapped)) for one, _ in some) for some in mixed.pairs)
    )


def zeros(query: FeasibilityQuery, rows: Rows, capacity: int) -> int:
    """How many slots encrypt nothing, as whoever knows every logarithm sees it."""
    layout = Layout.plan(LEVELS, query.threshold, 100)
    slots = layout.slots(layout.rows(rows), capacity=capacity, matching=3, never=3)
    answer = Answer(BINDING, Tables.of(query, layout, group=GROUP).slots(slots))
    return sum(GROUP.multiply(query.public, point)[:8] == tag for point, tag in answer.slots())


@pytest.mark.slow  # a thousand queries, each answered twice
def test_a_thousand_forged_queries_move_by_one_at_most_when_one_row_leaves() -> None:
    chance = random.Random(11)
    draw = np.random.default_rng(11)
    rows = np.stack([draw.integers(0, size, 12) for size in LEVELS], axis=1)
    moved = Counter[int]()
    for turn in range(1000):
        query = forged(turn % 8, FeasibilityKey(GROUP), chance)
        query.require_elements(GROUP)
        without = np.delete(rows, chance.randrange(len(rows)), 0)
        moved[zeros(query, rows, 12) - zeros(query, without, 12)] += 1
    assert set(moved) <= {-1, 0, 1}
    assert moved[1] > 20  # some of them did count somebody


@pytest.mark.slow  # some thousands of answers
def test_what_a_vendor_counts_is_as_private_as_it_says() -> None:
    """An audit of whole answers at epsilon 1: no event is more than e times as likely with one patient as without."""
    noise = GeometricNoise.of(1000)
    key = FeasibilityKey(GROUP)
    query = key.query([[0, 1, 1, 1], [0, 0, 0], [0, 0]], binding=BINDING)
    layout = Layout.plan(LEVELS, 1, 100)
    tables = Tables.of(query, layout, group=GROUP)
    counts: dict[bool, Counter[int]] = {}
    tries = 4000
    for there in (True, False):
        rows = layout.rows(np.array([[0, 0, 0]] if there else [[1, 0, 0]]))
        told = counts[there] = Counter()
        for _ in range(tries):
            drawn = noise.draw()
            slots = layout.slots(rows, capacity=1, matching=noise.bound + drawn, never=noise.bound - drawn)
            told[key.matches(Answer(BINDING, tables.slots(slots))) - noise.bound] += 1
    for least in range(-2, 5):
        with_, without = (sum(n for value, n in counts[there].items() if value >= least) for there in (True, False))
        assert with_ <= math.e * without + 4 * math.sqrt(tries)
    exact = [noise.weight(value) / noise.total for value in range(-3, 4)]
    for there in (True, False):
        seen = [counts[there][value + there] for value in range(-3, 4)]
        chi = sum((n - tries * p) ** 2 / (tries * p) for n, p in zip(seen, exact, strict=True))
        assert chi < 30  # 7 cells: p < 1e-4


@pytest.fixture(scope="module")
def counting() -> Iterator[Feasibility]:
    made = Feasibility(FeasibilityEngine(LEVELS, BINDING, 8, 1), CountedBudget(2000), (1000,))
    yield made
    made.close()


def ask(counting: Feasibility, data: bytes, rows: Rows) -> bytes:
    """One answer of the service, as it leaves."""

    question = FeasibilityQuestion.model_construct(epoch=1, epsilon_millis=1000, bundle=data)
    return counting.count(VENDOR, question, lambda: rows).bundle


def test_an_answer_leaves_at_a_whole_step_after_it_was_charged(counting: Feasibility) -> None:
    clock, slept = iter([10.0, 10.6]), list[float]()
    pace = Pace(0.25, now_s=lambda: next(clock), sleep=slept.append)
    data = FeasibilityKey().query([[0] * size for size in LEVELS], binding=BINDING).encode()
    question = FeasibilityQuestion.model_construct(epoch=1, epsilon_millis=1000, bundle=data)
    own = Feasibility(counting.engine, CountedBudget(1000), (1000,))
    own.count(VENDOR, question, lambda: np.zeros((1, len(LEVELS)), np.int64), pace)
    assert slept == pytest.approx([0.15])


def test_what_no_client_sends_is_refused_before_it_is_charged_or_a_row_is_seen(counting: Feasibility) -> None:
    data = FeasibilityKey().query([[0] * size for size in LEVELS], binding=BINDING).encode()
    neutral, off_curve, torsion = (
        bytes.fromhex(one)
        for one in (
            "01" + "00" * 31,
            "02" + "00" * 31,
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        )
    )
    left = counting.budget.remaining(VENDOR.id, 1)
    said = set()
    for bad in (neutral, off_curve, torsion, b"\xff" * 32):
        for place in (40, len(data) - 64, len(data) - 32):
            with pytest.raises(QueryMalformed) as refusal:
                ask(counting, data[:place] + bad + data[place + 32 :], np.zeros((9, 9), np.int64))
            said.add(str(refusal.value))
    assert len(said) == 1
    for wrong in (b"", data[:-1], data + b"\0", b"TWFQ" * 9, data[:5] + b"\x11" + data[6:]):
        with pytest.raises(QueryMalformed):
            ask(counting, wrong, np.zeros((9, 9), np.int64))
    question = FeasibilityQuestion.model_construct(epoch=1, epsilon_millis=50, bundle=data)
    with pytest.raises(QueryMalformed, match="not offered"):
        counting.count(VENDOR, question, lambda: pytest.fail("a row was looked at"))
    assert counting.budget.remaining(VENDOR.id, 1) == left


def test_a_large_cohort_answers_no_large_group() -> None:
    engine = FeasibilityEngine(LEVELS, BINDING, 200_000, 1)
    assert engine.most_slots == 2
    data = FeasibilityKey().query([[0] * size for size in LEVELS], threshold=3, binding=BINDING).encode()
    with pytest.raises(QueryMalformed, match="at most 2 slots a row"):
        engine.check(data)
    engine.close()
    assert FeasibilityEngine(LEVELS, BINDING, 5_000_000, 1).most_slots == 1


def test_answers_have_one_size_whoever_is_in_the_cohort_and_are_charged_before(counting: Feasibility) -> None:
    key = FeasibilityKey()
    data = key.query([[0] * size for size in LEVELS], binding=BINDING).encode()
    few, many = (ask(counting, data, np.zeros((count, 3), np.int64)) for count in (0, 8))
    assert len(few) == len(many)
    counts = [
        key.matches(Answer.decode(one, slots=8 + 2 * 27, binding=BINDING)) - GeometricNoise.of(1000).bound
        for one in (few, many)
    ]
    assert abs(counts[0]) <= 27
    assert abs(counts[1] - 8) <= 27
    with pytest.raises(BudgetExhausted):
        ask(counting, data, np.zeros((9, 9), np.int64))  # more rows than room: it would fail, were it looked at
