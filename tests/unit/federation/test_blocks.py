"""Blocks against a slow, obvious reference."""

from __future__ import annotations

import numpy as np
import pytest

from twinward.core.errors import BadInput
from twinward.features.icu_signals import SIGNALS
from twinward.federation.detectors.detector import normalise
from twinward.federation.stays.simulated import simulate_stays


def slowly(stay: np.ndarray, bins: int) -> np.ndarray:
    width = len(stay) // bins
    block = np.zeros((bins, 24))
    for column, signal in enumerate(SIGNALS):
        last = 0.0
        for index in range(bins):
            values = [
                max(-4.0, min(4.0, (float(value) - signal.middle) / signal.half_range))
                for value in stay[index * width : (index + 1) * width, column]
                if not np.isnan(value)
            ]
            last = sum(values) / len(values) if values else last
            block[index, column] = last / 4
    return block


@pytest.mark.parametrize("bins", [1, 12, 48])
def test_agrees_with_the_reference(bins: int) -> None:
    stays = simulate_stays(6, 2, severity=0.8)
    stays[0, :, 3] = np.nan
    stays[1, 5, 0] = 1e6
    blocks = normalise(stays, bins)
    assert blocks.dtype == np.float32
    np.testing.assert_allclose(blocks, [slowly(stay, bins) for stay in stays], atol=2e-6)


def test_blocks_stay_in_range_whatever_the_chart_says() -> None:
    wild = np.random.default_rng(1).normal(0, 1e30, (5, 12, 24)).astype(np.float32)
    assert np.abs(normalise(wild, 4)).max() <= 1
    assert not normalise(np.full((2, 12, 24), np.nan, np.float32), 4).any()


def test_one_patients_block_depends_on_that_patient_alone() -> None:
    stays = simulate_stays(4, 3)
    together = normalise(stays, 12)
    for index in range(4):
        assert np.array_equal(normalise(stays[index : index + 1], 12)[0], together[index])


@pytest.mark.parametrize(("shape", "bins"), [((2, 48, 24), 5), ((2, 48, 24), 0), ((48, 24), 12), ((2, 48, 9), 12)])
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], bins: int) -> None:
    with pytest.raises(BadInput):
        normalise(np.zeros(shape, np.float32), bins)
