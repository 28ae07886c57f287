"""The sampler's law, against the exact one and against a slow reference written from the paper."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from tests.integration.federation.kit import seeded_bytes
from twinward.core.errors import BadInput
from twinward.federation.privacy import discrete_gaussian as module
from twinward.federation.privacy.discrete_gaussian import discrete_gaussian


def law(variance: int) -> tuple[np.ndarray, np.ndarray]:
    reach = int(12 * math.sqrt(variance)) + 10
    values = np.arange(-reach, reach + 1)
    weights = np.exp(-(values.astype(float) ** 2) / (2 * variance))
    return values, weights / weights.sum()


@pytest.mark.parametrize("variance", [1, 2, 7, 100, 1000, 5000])
def test_chi_square_against_the_exact_law(variance: int) -> None:
    draws = discrete_gaussian(40_000, variance, seeded_bytes(variance))
    values, chances = law(variance)
    expected = chances * len(draws)
    common = expected >= 8
    counts = np.array([(draws == value).sum() for value in values[common]])
    observed = np.append(counts, len(draws) - counts.sum())
    expected = np.append(expected[common], len(draws) - expected[common].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("variance", [1, 7, 1000, 5000, 2**18 + 1])
def test_what_is_proposed_and_kept_is_the_exact_law(variance: int) -> None:
    """No draw: step chances times place, sign and keeping, against exp(-x²/2σ²) over all magnitudes."""
    edges, _ = module._edges(variance)
    width = 1 << module._step_bits(variance)
    proposed = np.repeat(np.diff(np.append(0.0, np.append(edges[:-1], 1.0))), width) / width
    step = np.repeat(np.arange(len(edges)) * width, width)
    place = np.arange(len(step)) - step
    kept = proposed * np.exp(-place * (2.0 * step + place) / (2 * variance))
    kept[0] /= 2  # minus zero is thrown away
    values, _ = law(variance)
    exact = np.where(np.arange(len(kept)) > 0, 2.0, 1.0) * np.exp(-(np.arange(len(kept)) ** 2.0) / (2 * variance))
    np.testing.assert_allclose(kept / kept.sum(), exact / exact.sum(), atol=1e-13)
    assert len(kept) > values[-1] > 12 * math.sqrt(variance)
    assert kept.sum() > (0.96 if width > 1 else 0.7)


def test_the_guide_leads_where_a_search_does() -> None:
    for variance in (1, 1000, 2**55):
        edges, guide = module._edges(variance)
        uniform = np.random.default_rng(1).random(20_000)
        led = guide[(uniform * len(guide)).astype(int)]
        found = np.searchsorted(edges, uniform, side="right")
        assert ((led == found) | (led < 0)).all()
        assert (led >= 0).mean() > 0.5


def reference(variance: int, source: random.Random) -> int:
    """Algorithms 1 to 3 of Canonne, Kamath, Steinke 2020, line by line, over rationals."""

    def bernoulli(chance: Fraction) -> bool:
        return source.randrange(chance.denominator) < chance.numerator

    def bernoulli_exp(gamma: Fraction) -> bool:
        while gamma > 1:
            if not bernoulli_exp(Fraction(1)):
                return False
            gamma -= 1
        k = 1
        while bernoulli(gamma / k):
            k += 1
        return k % 2 == 1

    t = math.isqrt(variance) + 1
    while True:
        u = source.randrange(t)
        if not bernoulli_exp(Fraction(u, t)):
            continue
        v = 0
        while bernoulli_exp(Fraction(1)):
            v += 1
        x, negative = u + t * v, bernoulli(Fraction(1, 2))
        if negative and x == 0:
            continue
        if bernoulli_exp((abs(x) - Fraction(variance, t)) ** 2 / (2 * variance)):
            return -x if negative else x


def test_same_law_as_the_slow_reference() -> None:
    source = random.Random(5)
    slow = np.array([reference(9, source) for _ in range(4000)])
    fast = discrete_gaussian(4000, 9, seeded_bytes(5))
    edges = np.arange(-8.5, 9)
    table = np.array([np.histogram(np.clip(draws, -8, 8), edges)[0] for draws in (slow, fast)])
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_the_variances_that_training_uses() -> None:
    variance = 2**55 + 12345
    draws = discrete_gaussian(50_000, variance, seeded_bytes(2)) / math.sqrt(variance)
    assert stats.kstest(draws, "norm").pvalue > 1e-3
    assert len(np.unique(discrete_gaussian(1000, variance, seeded_bytes(3)) % 1024)) > 500  # low bits are alive


def test_doubtful_comparisons_are_settled_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    module._edges.cache_clear()
    monkeypatch.setattr(module, "_DOUBT", 2.0)  # every comparison is doubtful now
    exact = discrete_gaussian(3000, 7, seeded_bytes(11))
    module._edges.cache_clear()
    values, chances = law(7)
    common = chances * len(exact) >= 8
    counts = np.array([(exact == value).sum() for value in values[common]])
    observed = np.append(counts, len(exact) - counts.sum())
    expected = np.append(chances[common], 1 - chances[common].sum()) * len(exact)
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_an_exact_decision_splits_between_neighbouring_words() -> None:
    threshold = int(math.exp(-0.5) * 2**53) << 11
    zeros = bytes
    assert module._decide_exactly(threshold - 2**20, Fraction(1, 2), zeros)
    assert not module._decide_exactly(threshold + 2**20, Fraction(1, 2), zeros)
    assert module._decide_exactly(2**64 - 1, Fraction(0), zeros)


def test_a_step_is_found_exactly_on_either_side_of_an_edge() -> None:
    edges, _ = module._edges(100)
    for index in (0, 3, 20):
        at = int(edges[index] * 2**53) << 11
        assert module._step_exactly(at - 2**20, 100, bytes) == index
        assert module._step_exactly(at + 2**20, 100, bytes) == index + 1
    assert module._step_exactly(0, 100, bytes) == 0
    assert module._step_exactly(2**64 - 1, 100, lambda size: b"\xff" * size) > 180  # 18 σ, where 2^-256 is


def test_sizes_and_refusals() -> None:
    assert discrete_gaussian(0, 5, seeded_bytes(0)).shape == (0,)
    assert discrete_gaussian(3, 1, seeded_bytes(0)).dtype == np.int64
    assert np.abs(discrete_gaussian(100, 2**80, seeded_bytes(0))).max() < 2**43
    for variance in (0, -1, 2**80 + 1):
        with pytest.raises(BadInput):
            discrete_gaussian(3, variance, seeded_bytes(0))
