"""What the gate takes for a query and what not: one form, checked slot by slot, refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward_crypto.errors import MalformedBundle, ParameterError
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query
from twinward_crypto.homomorphic.parameters import Plan, plan_gated, query_tolerance
from twinward_crypto.homomorphic.parts import query_scales
from twinward_crypto.homomorphic.plain_query import PlainQuery, Slots

PLANS = [
    plan_gated(16, 128, 2, weighted=True),
    plan_gated(16, 128, weighted=False),
    plan_gated(4, 8, weighted=False),
    plan_gated(8, 128, 8, weighted=True),
    plan_gated(2, 1024, 1024, weighted=True),
    plan_gated(1, 2, weighted=True),
    plan_gated(1, 2, weighted=False),
]
SLOTS = 7
"""The check does not depend on how many there are."""


@st.composite
def asked(draw: st.DrawFn) -> tuple[Plan, list[int], list[int] | None]:
    """A plan, and a query that it allows."""
    made = draw(st.sampled_from(PLANS))
    d = made.dimension
    levels = draw(st.lists(st.integers(0, made.levels - 1), min_size=d, max_size=d))
    weights = draw(st.lists(st.integers(0, made.max_weight), min_size=d, max_size=d)) if made.weighted else None
    return made, levels, draw(st.sampled_from([weights, None]))


def honest(query: PlainQuery) -> list[Slots]:
    return [np.full(SLOTS, number, dtype=np.complex128) for number in query.numbers()]


@given(asked(), st.integers(0, 2**32))
def test_what_an_honest_client_says_is_read_back_through_any_honest_noise(case: tuple, seed: int) -> None:
    made, levels, weights = case
    query = PlainQuery.of(made, levels, weights)
    rng = np.random.default_rng(seed)
    bits = query_scales(made, weights is not None)
    noisy = [
        part + 0.99 * query_tolerance(made, scale) * np.exp(2j * np.pi * rng.random(SLOTS))
        for part, scale in zip(honest(query), bits, strict=True)
    ]
    read = PlainQuery.read(made, noisy, weighted=weights is not None)
    assert read.weights == query.weights
    assert read.numbers() == query.numbers()
    counted = weights or [1] * made.dimension
    assert all(got == want for got, want, w in zip(read.levels, levels, counted, strict=True) if w)


@given(asked(), st.data())
def test_any_change_above_rounding_in_any_slot_is_refused(case: tuple, data: st.DataObject) -> None:
    """One slot or all of them, by a little, by half, by a whole number, turned into the imaginary."""
    made, levels, weights = case
    query = PlainQuery.of(made, levels, weights)
    parts = honest(query)
    number = data.draw(st.integers(0, len(parts) - 1))
    scale = query_scales(made, weights is not None)[number]
    step = max(2.1 * query_tolerance(made, scale), abs(parts[number][0]) * 2.0**-38)
    moved = data.draw(st.sampled_from([step, -step, 0.5, 1, -1, 2, 1e6, 1j * step, 1j, np.inf, np.nan]))
    where = data.draw(st.sampled_from([slice(None), slice(0, 1), slice(SLOTS - 1, SLOTS)]))
    parts[number][where] += moved
    weights_read = weights is not None
    if where == slice(None) and moved in (1, -1, 2, 1e6):
        # Every slot moved by a whole number: another query, read as such, or none at all.
        try:
            read = PlainQuery.read(made, parts, weighted=weights_read)
        except MalformedBundle:
            return
        assert read.numbers() == [round(part[0].real) for part in parts]
        assert PlainQuery.of(made, read.levels, read.weights) == read
        return
    with pytest.raises(MalformedBundle, match=r"^values that no well-formed query gives$"):
        PlainQuery.read(made, parts, weighted=weights_read)


WEIGHTED, PLAIN = plan_gated(2, 16, 2, weighted=True), plan_gated(2, 16, weighted=False)


@pytest.mark.parametrize(
    ("made", "numbers"),
    [
        (PLAIN, [-6, -8, 24]),  # the offset, 25, less one: who is nearer than one?
        (PLAIN, [-6, -8, 26]),
        (PLAIN, [-7, -8, 25]),  # an odd product
        (PLAIN, [-32, 0, 256]),  # level 16 of 0 .. 15
        (PLAIN, [2, 0, 1]),  # level -1
        (PLAIN, [0, 0, 1]),
        (WEIGHTED, [-6, -8, 3, 1, 19]),  # weight 3 of 0 .. 2
        (WEIGHTED, [6, -8, -1, 1, 7]),  # a negative weight
        (WEIGHTED, [-6, -8, 0, 1, 16]),  # no weight, and yet a product
        (WEIGHTED, [-6, -8, 2, 1, 34]),  # 2 w q = 6 and w = 2: half levels
        (WEIGHTED, [-8, -8, 2, 1, 25]),  # 2 * 2 * 2: the offset is 8 + 16
    ],
)
def test_numbers_that_do_not_belong_together_are_refused(made: Plan, numbers: list[int]) -> None:
    parts = [np.full(SLOTS, number, dtype=np.complex128) for number in numbers]
    with pytest.raises(MalformedBundle, match=r"^values that no well-formed query gives$"):
        PlainQuery.read(made, parts, weighted=made is WEIGHTED)


def test_a_query_outside_the_plan_is_not_made() -> None:
    with pytest.raises(ParameterError):
        PlainQuery.of(PLAIN, [16, 0])
    assert "15" not in repr(PlainQuery.of(PLAIN, [15, 15]))


EXTREMES: list[Callable[[Plan], tuple[list[int], list[int] | None]]] = [
    lambda made: ([made.levels - 1] * made.dimension, [made.max_weight] * made.dimension if made.weighted else None),
    lambda made: ([0] * made.dimension, [0] * made.dimension if made.weighted else None),
]


@pytest.mark.parametrize("made", PLANS, ids=Plan.explain)
@pytest.mark.parametrize("extreme", EXTREMES)
def test_the_gate_opens_every_honest_query_and_encrypts_it_anew(made: Plan, extreme: Callable) -> None:
    levels, weights = extreme(made)
    key = GateKey.generate(made)
    sent = encrypt_gated_query(key.public_bundle(), levels, weights)
    opened = key.open_query(sent)
    assert opened == PlainQuery.of(made, levels, weights)
    anew = key.encrypt_query(opened)
    assert key.open_query(anew) == opened
    assert (anew.plan, anew.weighted, len(anew.parts)) == (sent.plan, sent.weighted, len(sent.parts))
    assert not set(anew.parts) & set(sent.parts)


KEYS = {made.pack(): GateKey.generate(made) for made in PLANS[:4]}


@settings(max_examples=15)
@given(asked().filter(lambda case: case[0].pack() in KEYS))
def test_real_ciphertexts_pass_the_check(case: tuple) -> None:
    made, levels, weights = case
    key = KEYS[made.pack()]
    opened = key.open_query(encrypt_gated_query(key.public_bundle(), levels, weights))
    assert opened.numbers() == PlainQuery.of(made, levels, weights).numbers()
