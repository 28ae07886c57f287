"""Aggregates by steps, held against one sample after the other; what is asked for and cannot be."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.live.errors import BadQuery
from twinward.live.models import Sample
from twinward.live.storage.columns import decode, encode
from twinward.live.timeseries import Aggregate, Span, joined, points

SAMPLES = st.lists(
    st.builds(Sample, st.integers(0, 99), st.just(1), st.integers(0, 50).map(float), st.integers(0, 2)), max_size=40
)
SLOW = {
    Aggregate.MEAN: statistics.fmean,
    Aggregate.MIN: min,
    Aggregate.MAX: max,
    Aggregate.FIRST: lambda some: some[0],
    Aggregate.LAST: lambda some: some[-1],
    Aggregate.COUNT: len,
    Aggregate.MEDIAN: statistics.median,
}


@given(SAMPLES, st.integers(1, 30), st.integers(0, 50), st.sampled_from(Aggregate))
def test_a_step_is_what_its_samples_say(samples: list[Sample], step: int, begin: int, how: Aggregate) -> None:
    runs = [decode(encode([one])) for one in samples]
    span = Span(begin, 90, step, how)
    found = {one.time_ms: one.value for one in points(joined(runs, span.from_ms, span.to_ms), span)}
    expected: dict[int, list[float]] = {}
    for one in sorted(samples, key=lambda one: one.time_ms):
        if begin <= one.time_ms < 90 and one.quality < 2:
            expected.setdefault(begin + (one.time_ms - begin) // step * step, []).append(one.value)
    assert found.keys() == expected.keys()
    assert all(math.isclose(found[at], SLOW[how](some)) for at, some in expected.items())


@pytest.mark.parametrize(
    ("first", "stop", "step"), [(5, 5, 0), (6, 5, 0), (-1, 5, 0), (0, 401 * 86_400_000, 0), (0, 86_400_000, 1)]
)
def test_a_span_that_cannot_be_is_refused(first: int, stop: int, step: int) -> None:
    with pytest.raises(BadQuery):
        Span(first, stop, step)


def test_too_many_samples_want_a_step() -> None:
    run = decode(encode([Sample(at, 1, 1.0, 0) for at in range(1_000)]))
    samples = joined([run] * 101, 0, 1_000)
    with pytest.raises(BadQuery, match="samples"):
        points(samples, Span(0, 1_000))
    assert len(points(samples, Span(0, 1_000, 10))) == 100
