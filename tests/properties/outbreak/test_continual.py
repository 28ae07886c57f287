"""The tree releases what a slow reference says, and one patient changes it by no more than was promised."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward.core.errors import BadInput
from twinward.federation.privacy.accountant import charged_epsilon
from twinward.outbreak.continual import Counts, Period, cover, first_days, nodes_of_day, release, window

Patients = list[list[int]]


@st.composite
def periods(draw: st.DrawFn) -> Period:
    days = draw(st.integers(1, 40))
    return Period(days, draw(st.integers(1, days.bit_length())), 1.0, 1e-6)


patients = st.lists(st.lists(st.integers(-3, 45), max_size=4), max_size=12)


def exact_nodes(period: Period, people: Patients) -> list[int]:
    """Everything a period releases, without noise, from the patients themselves: slow, and obvious."""
    found = []
    for day in range(1, period.days + 1):
        for level in range(period.levels):
            if day % 2**level == 0:
                days = range(day - 2**level + 1, day + 1)
                firsts = [min([d for d in one if 1 <= d <= period.days], default=0) for one in people]
                found.append(sum(first in days for first in firsts))
    return found


def silent(count: int) -> bytes:
    """No noise: words of zero propose the first step at place zero; a zero of negative sign is passed over."""
    return bytes(count)


def released(period: Period, counts: Counts) -> list[Counts]:
    return [release(period, counts, day, 1, silent) for day in range(1, period.days + 1)]


@settings(max_examples=80)
@given(periods(), patients)
def test_without_noise_it_is_the_slow_references_sums(period: Period, people: Patients) -> None:
    found = released(period, first_days(people, period.days))
    assert [int(number) for one in found for number in one] == exact_nodes(period, people)


@settings(max_examples=80)
@given(periods(), patients, st.lists(st.integers(-3, 45), max_size=4))
def test_one_patient_changes_a_whole_period_by_at_most_what_is_paid_for(
    period: Period, people: Patients, another: Sequence[int]
) -> None:
    before, after = (exact_nodes(period, one) for one in (people, [*people, list(another)]))
    changed = [abs(a - b) for a, b in zip(before, after, strict=True)]
    assert max(changed, default=0) <= 1
    assert math.sqrt(sum(one**2 for one in changed)) <= math.sqrt(period.levels)


@settings(max_examples=80)
@given(periods(), patients, st.data())
def test_any_days_are_the_sum_of_few_nodes(period: Period, people: Patients, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, period.days))
    last = data.draw(st.integers(first, period.days))
    counts = first_days(people, period.days)
    nodes = cover(period, first, last)
    assert [day for start, end in nodes for day in range(start, end + 1)] == list(range(first, last + 1))
    assert window(period, released(period, counts), first, last) == counts[first - 1 : last].sum()
    if period.levels == period.days.bit_length():
        assert len(nodes) <= 2 * period.levels
        assert len(cover(period, 1, last)) == last.bit_count()


def test_the_noise_keeps_the_promise_and_is_paid_for() -> None:
    for levels in (1, 3):
        period = Period(7, levels, 1.0, 1e-6)
        multiplier = math.sqrt(period.variance / levels)
        assert 0.97 < charged_epsilon(multiplier, 1, 1e-6) <= 1.0
        assert period.cost_micros == math.ceil(1e6 * levels / period.variance)
        assert period.share(2) * 2 >= period.variance
    wide = Period(7, 1, 1.0, 1e-6)
    zero = np.zeros(7, np.int64)
    drawn = np.array([release(wide, zero, 1, 2, os.urandom)[0] for _ in range(4000)])
    assert abs(drawn.var() / wide.share(2) - 1) < 0.15
    assert abs(drawn.mean()) < 5 * math.sqrt(wide.share(2) / 4000)


def test_what_is_no_period_day_or_count_is_refused() -> None:
    for days, levels, epsilon, delta in (
        (0, 1, 1, 1e-6),
        (7, 4, 1, 1e-6),
        (7, 0, 1, 1e-6),
        (7, 3, 0, 1e-6),
        (7, 3, 1, 1),
    ):
        with pytest.raises(BadInput):
            Period(days, levels, epsilon, delta)
    period = Period(7, 3, 1.0, 1e-6)
    for day in (0, 8):
        with pytest.raises(BadInput):
            nodes_of_day(period, day)
    with pytest.raises(BadInput):
        release(period, np.zeros(6, np.int64), 1, 1, os.urandom)
    with pytest.raises(BadInput):
        cover(period, 3, 2)
    with pytest.raises(BadInput):
        period.share(0)
