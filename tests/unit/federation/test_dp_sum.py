"""The figures that the privacy proof rests on, written out, and what is refused because the proof does not cover it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.integration.federation.kit import seeded_bytes
from twinward.core.errors import BadInput
from twinward.federation.privacy.dp_sum import (
    UNIT,
    add_noise,
    clipped_integers,
    clipped_sum,
    decode,
    noise_variance,
    sensitivity,
)


def test_the_sensitivity_is_the_unit_the_slack_of_floats_the_rounding_and_the_batch() -> None:
    assert UNIT == 2**24
    assert sensitivity(16) == 2**24 + 2**-6 + 2 + 2**4


@pytest.mark.parametrize("honest", [1, 3])
def test_each_hospitals_noise_is_its_share_and_four(honest: int) -> None:
    assert noise_variance(2.0, 16, honest) == math.ceil((2.0 * sensitivity(16)) ** 2 / honest) + 4


def test_only_dimensions_and_shapes_of_the_proof_are_summed() -> None:
    for dimension in (1, 2**20):
        assert clipped_sum([], 1.0, dimension).shape == (dimension,)
    for dimension in (0, 2**20 + 1):
        with pytest.raises(BadInput, match="coordinates"):
            clipped_sum([], 1.0, dimension)
    for wrong in (np.zeros(3), np.zeros((2, 2)), np.zeros((1, 2, 3))):
        with pytest.raises(BadInput, match="contributions"):
            clipped_sum([wrong], 1.0, 3)


def test_only_clips_of_the_proof_are_taken() -> None:
    row = np.array([[3.0, 4.0]])
    for clip in (1e-6, 1e6):
        assert clipped_integers(row, clip).shape == (1, 2)
    for clip in (0.9e-6, 1.1e6, 0.0, -1.0, math.nan, math.inf):
        with pytest.raises(BadInput, match="clipped"):
            clipped_integers(row, clip)


def test_a_row_is_scaled_to_the_clip_and_one_that_is_not_finite_counts_as_zero() -> None:
    rows = np.array([[3.0, 4.0], [0.3, 0.4], [math.nan, 1.0], [1.0, math.inf], [0.0, 0.0]])
    steps = clipped_integers(rows, 1.0)
    inside = [round(0.3 * UNIT), round(0.4 * UNIT)]
    assert steps.tolist() == [[round(0.6 * UNIT), round(0.8 * UNIT)], inside, [0, 0], [0, 0], [0, 0]]


def test_a_sum_is_read_in_the_units_of_the_contributions_and_noise_is_added_to_it() -> None:
    total = np.array([UNIT, -UNIT // 2])
    assert decode(total, 2.0).tolist() == [2.0, -1.0]
    noisy = [add_noise(total, 1, seeded_bytes(seed)) - total for seed in range(50)]
    assert 0 < np.abs(np.concatenate(noisy)).max() < 10
