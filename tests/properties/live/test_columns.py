"""Columns and number sets hold what was put in, for anything that can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twinward.live.models import Sample
from twinward.live.sequences import SequenceSet
from twinward.live.storage.columns import decode, encode

DECIMALS = st.integers(-10_000_000, 10_000_000).map(lambda number: number / 100)
VALUES = st.one_of(DECIMALS, st.floats(-1e12, 1e12, allow_nan=False), st.integers(-(10**12), 10**12).map(float))
SAMPLES = st.lists(
    st.builds(Sample, st.integers(0, 253_402_300_799_999), st.integers(0, 2**53 - 1), VALUES, st.integers(0, 2)),
    min_size=1,
    max_size=60,
)


@given(SAMPLES)
def test_samples_come_back_as_they_were(samples: list[Sample]) -> None:
    assert decode(encode(samples)).samples() == samples


@given(st.binary(max_size=60))
def test_bytes_formed_by_hand_are_an_error_or_samples(raw: bytes) -> None:
    try:
        found = decode(raw)
    except (ValueError, IndexError):
        return
    assert len(found.samples()) == len(found)


@given(st.lists(st.integers(0, 60), max_size=80))
def test_a_set_of_numbers_is_a_set(numbers: list[int]) -> None:
    fast, slow = SequenceSet(), set[int]()
    for number in numbers:
        assert (number in fast) == (number in slow)
        if number not in slow:
            assert fast.has_room(number)
            fast.add(number)
            slow.add(number)
    covered = [number for start, stop in fast for number in range(start, stop)]
    assert covered == sorted(slow)
    assert fast.count == len(slow)
    assert fast.missing == (max(slow) - min(slow) + 1 - len(slow) if slow else 0)
    assert len(fast) == sum(number - 1 not in slow for number in slow), "neighbours are joined"
    again = SequenceSet(list(fast))
    assert list(again) == list(fast)
