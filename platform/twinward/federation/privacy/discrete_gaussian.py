"""Discrete Gaussian noise from a cryptographic source of bytes: Canonne, Kamath, Steinke 2020, algorithms 1 to 3.

Vectorised: every Bernoulli(exp(-γ)) is decided by comparing 64 random bits with a float64 exp(-γ), and where the two
are closer than float error could explain (about once in 2^39 draws) by 256 bits against exp(-γ) to 100 digits of the
exact rational γ. So each decision is right but for 2^-250, whatever the platform's exp. Floating-point attacks on
continuous samplers (Mironov 2012) have no hold: outputs are integers and their law does not depend on rounding.
"""

from __future__ import annotations

import decimal
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
"""Wider than all float error in γ (below 2^-44 where exp(-γ) matters) and in exp itself (a few 2^-53)."""
_MAX_VARIANCE: Final = 1 << 80


def discrete_gaussian(size: int, variance: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
    """Independent draws of N_Z(0, variance): P(x) proportional to exp(-x²/(2 variance)).

    Args:
        size: how many.
        variance: the parameter σ², an integer so that every probability is rational in the exponent.
        random_bytes: the source.

    Raises:
        BadInput: a variance below 1 or beyond 2^80.
    """
    if not 1 <= variance <= _MAX_VARIANCE:
        raise BadInput("the noise variance must be an integer from 1 to 2^80")
    bits = math.isqrt(variance).bit_length()
    scale = 1 << bits  # any scale is exact; a power of two makes uniform draws exact too, and σ ≤ scale ≤ 2σ + 2
    centre = variance / scale
    accepted: list[NDArray[np.int64]] = []
    missing = size
    while missing > 0:
        draws = _discrete_laplace(2 * missing + 16, bits, random_bytes)
        gamma = (np.abs(draws) - centre) ** 2 / (2 * float(variance))

        def exactly(index: int, draws: NDArray[np.int64] = draws) -> Fraction:
            return Fraction((abs(int(draws[index])) * scale - variance) ** 2, 2 * variance * scale * scale)

        kept = draws[_bernoulli_exp(gamma, exactly, random_bytes)][:missing]
        accepted.append(kept)
        missing -= len(kept)
    return np.concatenate(accepted) if accepted else np.zeros(0, np.int64)


def _discrete_laplace(tries: int, bits: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
    """At most ``tries`` draws with P(x) proportional to exp(-|x| / 2^bits)."""
    scale = 1 << bits
    low = (_words(tries, random_bytes) >> np.uint64(64 - bits)).astype(np.int64)
    low = low[_bernoulli_exp(low / scale, lambda index: Fraction(int(low[index]), scale), random_bytes)]
    high = _geometric(len(low), random_bytes)
    negative = (_words(len(low), random_bytes) >> np.uint64(63)).astype(np.bool_)
    size = low + scale * high
    keep = ~(negative & (size == 0))  # zero must not come twice as often
    drawn: NDArray[np.int64] = np.where(negative, -size, size)[keep]
    return drawn


def _geometric(count: int, random_bytes: RandomBytes) -> NDArray[np.int64]:
    """How often Bernoulli(1/e) succeeds before it fails."""
    successes = np.zeros(count, np.int64)
    running = np.arange(count)
    while len(running):
        running = running[_bernoulli_exp(np.ones(len(running)), lambda _: Fraction(1), random_bytes)]
        successes[running] += 1
    return successes


def _bernoulli_exp(
    gamma: NDArray[np.float64], exactly: Callable[[int], Fraction], random_bytes: RandomBytes
) -> NDArray[np.bool_]:
    """For each γ ≥ 0, true with probability exp(-γ). ``exactly(i)`` is the i-th γ without rounding."""
    words = _words(len(gamma), random_bytes)
    uniform, probability = words.astype(np.float64) * 2.0**-64, np.exp(-gamma)
    outcome = uniform < probability
    for index in np.flatnonzero(np.abs(uniform - probability) <= _DOUBT):
        outcome[index] = _decide_exactly(int(words[index]), exactly(int(index)), random_bytes)
    return outcome


def _decide_exactly(word: int, gamma: Fraction, random_bytes: RandomBytes) -> bool:
    """Whether the uniform number that begins with ``word`` lies below exp(-gamma)."""
    if gamma == 0:
        return True
    uniform = word << 192 | int.from_bytes(random_bytes(24), "big")
    with decimal.localcontext(prec=100):
        threshold = (-decimal.Decimal(gamma.numerator) / decimal.Decimal(gamma.denominator)).exp()
        return decimal.Decimal(uniform) < threshold * decimal.Decimal(2**256)


def _words(count: int, random_bytes: RandomBytes) -> NDArray[np.uint64]:
    return np.frombuffer(random_bytes(8 * count), "<u8").astype(np.uint64)
