"""Discrete Gaussian noise from a cryptographic source of bytes, exactly: rejection from a staircase.

The proposal: the magnitudes 0, 1, 2, … are cut into steps of 2^b, σ/2^b being 16 to 32 (or b = 0). Step k is proposed
with a weight of exp(-(k 2^b)²/2σ²), the law's greatest within it; a place r in the step and a sign are uniform bits;
the magnitude x = k 2^b + r is kept with a chance of exp(-r (2 k 2^b + r)/2σ²). So x is kept with a probability
proportional to exp(-x²/2σ²), 98 of 100 proposals are kept, and a draw takes three random words.

The acceptance is that of Canonne, Kamath, Steinke 2020 (algorithm 3), from another proposal. Each decision compares 64
random bits with a float64, and where the two are closer than float error could explain (about once in 2^29 draws) 256
bits with 100 digits of the exact number. So each is right but for 2^-250, whatever the platform's exp; steps beyond
that much of the law are left out. Floating-point attacks on continuous samplers (Mironov 2012) have no hold: outputs
are integers and their law does not depend on rounding.
"""

from __future__ import annotations

import bisect
import decimal
import functools
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput

RandomBytes = Callable[[int], bytes]
"""Gives that many random bytes: ``os.urandom``, or a seeded stream in a test."""

_DOUBT: Final = 2.0**-40
"""Wider than all float error: of an exponent (below 2^-44 where it matters), of exp, and of a sum of 620 of them."""
_MAX_VARIANCE: Final = 1 << 80
_STEPS_PER_SIGMA_BITS: Final = 5
_REACH: Final = 19
"""In σ: beyond lies less than 2^-256 of the law."""
_DIGITS: Final = 100
_GUIDE_BITS: Final = 12


def discrete_gaussian(size: int, variance: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
    """Independent draws of N_Z(0, variance): P(x) proportional to exp(-x²/(2 variance)).

    Args:
        size: how many.
        variance: the parameter σ², an integer so that every exponent is rational.
        random_bytes: the source.

    Raises:
        BadInput: a variance below 1 or beyond 2^80.
    """
    if not 1 <= variance <= _MAX_VARIANCE:
        raise BadInput("the noise variance must be an integer from 1 to 2^80")
    accepted: list[NDArray[np.int64]] = []
    missing = size
    while missing > 0:
        kept = _proposals_kept(missing + missing // 32 + 16, variance, random_bytes)[:missing]
        accepted.append(kept)
        missing -= len(kept)
    return np.concatenate(accepted) if accepted else np.zeros(0, np.int64)


def _proposals_kept(tries: int, variance: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
    """What is kept of ``tries`` proposals."""
    bits = _step_bits(variance)
    step = _steps(tries, variance, random_bytes) << bits
    word = _words(tries, random_bytes)
    place = (word & np.uint64((1 << bits) - 1)).view(np.int64)
    negative = (word >> np.uint64(63)).view(np.int64)
    exponent = place.astype(np.float64) * (2 * step + place) / (2.0 * variance)

    def exactly(index: int) -> Fraction:
        return Fraction(int(place[index]) * (2 * int(step[index]) + int(place[index])), 2 * variance)

    kept = _bernoulli_exp(exponent, exactly, random_bytes)
    magnitude = step + place
    kept &= (magnitude | (1 - negative)) != 0  # zero must not come twice as often
    drawn: NDArray[np.int64] = ((magnitude ^ -negative) + negative)[kept]
    return drawn


def _step_bits(variance: int) -> int:
    return max(0, math.isqrt(variance).bit_length() - _STEPS_PER_SIGMA_BITS)


def _steps(tries: int, variance: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
    """Which steps are proposed: the number of edges at or below a uniform number."""
    edges, guide = _edges(variance)
    words = _words(tries, random_bytes)
    uniform = words.astype(np.float64) * 2.0**-64
    found = guide[(words >> np.uint64(64 - _GUIDE_BITS)).view(np.int64)]
    open_ones = np.flatnonzero(found < 0)
    found[open_ones] = np.searchsorted(edges, uniform[open_ones], side="right")
    near = np.abs(uniform[open_ones, None] - edges[np.stack([found[open_ones] - 1, found[open_ones]], 1)])
    for index in open_ones[(near <= _DOUBT).any(1)]:
        found[index] = _step_exactly(int(words[index]), variance, random_bytes)
    return found


@functools.lru_cache(maxsize=32)
def _edges(variance: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The steps' cumulative chances without the last, and the step of each leading 12 bits, -1 where it is open."""
    width = 1 << _step_bits(variance)
    starts = np.arange(_step_count(variance)) * float(width)
    cumulative = np.cumsum(np.exp(-(starts**2) / (2.0 * variance)))
    edges = np.append(
        cumulative[:-1] / cumulative[-1], np.inf
    )  # no edge after the last, nor (as [-1]) before the first
    corners = np.arange((1 << _GUIDE_BITS) + 1) / (1 << _GUIDE_BITS)
    low = np.searchsorted(edges, corners[:-1] - 2 * _DOUBT, side="right")
    high = np.searchsorted(edges, corners[1:] + 2 * _DOUBT, side="right")
    return edges, np.where(low == high, low, -1)


def _step_count(variance: int) -> int:
    return (_REACH * (math.isqrt(variance) + 1) >> _step_bits(variance)) + 1


def _step_exactly(word: int, variance: int, random_bytes: RandomBytes) -> int:
    """The step of the uniform number that begins with ``word``."""
    with decimal.localcontext(prec=_DIGITS):
        cumulative = _exact_edges(variance)
        return bisect.bisect_right(cumulative[:-1], cumulative[-1] * _uniform(word, random_bytes))


@functools.lru_cache(maxsize=8)
def _exact_edges(variance: int) -> list[decimal.Decimal]:
    """The steps' cumulative weights, in the context's digits."""
    width = 1 << _step_bits(variance)
    weights = (_exp(Fraction((k * width) ** 2, 2 * variance)) for k in range(_step_count(variance)))
    return list(itertools.accumulate(weights))


def _bernoulli_exp(
    gamma: NDArray[np.float64], exactly: Callable[[int], Fraction], random_bytes: RandomBytes
) -> NDArray[np.bool_]:
    """For each γ ≥ 0, true with probability exp(-γ). ``exactly(i)`` is the i-th γ without rounding."""
    words = _words(len(gamma), random_bytes)
    margin = np.exp(-gamma)
    margin -= words.astype(np.float64) * 2.0**-64
    outcome = margin > 0
    for index in np.flatnonzero(np.abs(margin) <= _DOUBT):
        outcome[index] = _decide_exactly(int(words[index]), exactly(int(index)), random_bytes)
    return outcome


def _decide_exactly(word: int, gamma: Fraction, random_bytes: RandomBytes) -> bool:
    """Whether the uniform number that begins with ``word`` lies below exp(-gamma)."""
    if gamma == 0:
        return True
    with decimal.localcontext(prec=_DIGITS):
        return _uniform(word, random_bytes) < _exp(gamma)


def _exp(gamma: Fraction) -> decimal.Decimal:
    """exp(-gamma) in the context's digits."""
    return (-decimal.Decimal(gamma.numerator) / decimal.Decimal(gamma.denominator)).exp()


def _uniform(word: int, random_bytes: RandomBytes) -> decimal.Decimal:
    """256 uniform bits that begin with ``word``, as a number in [0, 1)."""
    return decimal.Decimal(word << 192 | int.from_bytes(random_bytes(24), "big")) / decimal.Decimal(2**256)


def _words(count: int, random_bytes: RandomBytes) -> NDArray[np.uint64]:
    return np.frombuffer(random_bytes(8 * count), "<u8").astype(np.uint64, copy=False)
