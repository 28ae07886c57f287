"""What privacy rests on, for whatever a hospital holds: bounded influence, exact sums, canonical bytes."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.integration.federation.kit import HOSPITALS, IDENTITIES, ROSTER
from twinward.features.icu_signals import SIGNALS
from twinward.features.monitored_stays import BadStay, decode_stay, encode_stay
from twinward.federation.aggregation.secure_aggregation import RoundSecret, open_sum, round_transcript
from twinward.federation.privacy.dp_sum import UNIT, clipped_integers, clipped_sum, decode, noise_variance, sensitivity

ANY_FLOAT = st.floats(width=32, allow_nan=True, allow_infinity=True)
CLIPS = st.floats(1e-6, 1e6)


def rows(dimension: int, least: int = 1) -> st.SearchStrategy[np.ndarray]:
    return npst.arrays(np.float32, st.tuples(st.integers(least, 8), st.just(dimension)), elements=ANY_FLOAT)


@given(rows(5), CLIPS)
def test_no_patient_weighs_more_than_the_sensitivity(contributions: np.ndarray, clip: float) -> None:
    for row in clipped_integers(contributions, clip):
        assert sum(int(value) ** 2 for value in row) <= sensitivity(5) ** 2  # in exact integers


@given(rows(7, least=2), CLIPS, st.data())
def test_removing_a_patient_moves_the_sum_by_at_most_the_sensitivity(
    contributions: np.ndarray, clip: float, data: st.DataObject
) -> None:
    gone = data.draw(st.integers(0, len(contributions) - 1))
    whole = clipped_sum([contributions], clip, 7)
    rest = clipped_sum([np.delete(contributions, gone, 0)], clip, 7)
    assert sum(int(moved) ** 2 for moved in whole - rest) <= sensitivity(7) ** 2


@given(rows(4), CLIPS, st.integers(1, 7))
def test_chunks_and_order_do_not_matter(contributions: np.ndarray, clip: float, size: int) -> None:
    chunks = [contributions[start : start + size] for start in range(0, len(contributions), size)]
    assert np.array_equal(clipped_sum(chunks, clip, 4), clipped_sum([contributions[::-1]], clip, 4))


@given(npst.arrays(np.float64, (6, 3), elements=st.floats(-1, 1)))
def test_what_is_within_the_clip_is_kept_to_the_grid(contributions: np.ndarray) -> None:
    kept = decode(clipped_sum([contributions], 2.0, 3), 2.0)
    np.testing.assert_allclose(kept, contributions.sum(0), atol=6 * 2.0 / UNIT)


@given(st.floats(0.1, 1000), st.integers(1, 100_000), st.integers(2, 20))
def test_honest_shares_of_noise_make_the_whole(multiplier: float, dimension: int, honest: int) -> None:
    share = noise_variance(multiplier, dimension, honest)
    assert honest * (share - 4) >= (multiplier * sensitivity(dimension)) ** 2 * (1 - 1e-12)


@settings(max_examples=20)
@given(npst.arrays(np.int64, st.tuples(st.just(3), st.integers(1, 40)), elements=st.integers(-(2**61), 2**61)))
def test_secure_sum_is_the_plain_sum(values: np.ndarray) -> None:
    study = hashlib.sha256(b"p").digest()
    opened = {name: RoundSecret(IDENTITIES[name], ROSTER, study, 1) for name in HOSPITALS}
    keys = [secret.signed_key for secret in opened.values()]
    told = round_transcript(study, 1, 1, keys, b"")
    masked = {name: opened[name].mask(row, keys, told, least=3) for name, row in zip(HOSPITALS, values, strict=True)}
    assert np.array_equal(open_sum(masked, HOSPITALS), values.sum(0))


FINITE_OR_MISSING = st.floats(width=32, allow_nan=True, allow_infinity=False)


@given(npst.arrays(np.float32, st.tuples(st.integers(1, 20), st.just(len(SIGNALS))), elements=FINITE_OR_MISSING))
def test_stays_round_trip_and_have_one_encoding(stay: np.ndarray) -> None:
    encoded = encode_stay(stay)
    assert np.array_equal(decode_stay(encoded), stay, equal_nan=True)
    assert encode_stay(decode_stay(encoded)) == encoded


@given(st.binary(max_size=400))
def test_any_bytes_decode_canonically_or_are_refused(content: bytes) -> None:
    for candidate in (content, encode_stay(np.zeros((2, 24), np.float32))[:16] + content):
        try:
            stay = decode_stay(candidate)
        except BadStay:
            continue
        assert encode_stay(stay) == candidate
