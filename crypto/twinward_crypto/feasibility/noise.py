"""Two-sided geometric noise, cut at ``bound``, drawn exactly: no floating-point number decides anything.

``P(Z = z)`` is proportional to ``alpha^|z|`` for ``|z| <= bound``, with rational ``alpha = p / 10^6 >= e^-epsilon``, so
weights are integers and a draw is one uniform integer below their sum (Ghosh, Roughgarden, Sundararajan 2009;
discrete because continuous samplers leak through their rounding, Mironov 2012). For counts that differ by one the
likelihoods differ by at most ``1 / alpha <= e^epsilon`` but at one end, whose mass is ``delta``.
"""

from __future__ import annotations

import math
import secrets
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import Final

from twinward_crypto.errors import ParameterError

MAX_DELTA: Final = 2.0**-40
MIN_MILLIS, MAX_MILLIS = 50, 4000
_DENOMINATOR: Final = 10**6


@dataclass(frozen=True, slots=True)
class GeometricNoise:
    """Noise of one epsilon. Make it with ``of``.

    Attributes:
        millis: epsilon in thousandths: what is charged.
        bound: ``W``: the noise is from ``-bound`` to ``bound``.
        cumulative: the running sums of the integer weights of ``-bound .. bound``.
    """

    millis: int
    bound: int
    cumulative: tuple[int, ...]

    @classmethod
    def of(cls, millis: int) -> GeometricNoise:
        """The noise of epsilon = millis / 1000, with delta at most 2^-40. Raises ``ParameterError`` out of range."""
        if not MIN_MILLIS <= millis <= MAX_MILLIS:
            raise ParameterError(f"must be from {MIN_MILLIS / 1000} to {MAX_MILLIS / 1000}", part="epsilon")
        return _noise(millis)

    @property
    def epsilon(self) -> float:
        """At most this: what is charged for."""
        return self.millis / 1000

    @property
    def total(self) -> int:
        """The sum of the weights."""
        return self.cumulative[-1]

    @property
    def delta(self) -> float:
        """The mass of one end, and so the hockey-stick divergence at epsilon."""
        return float(Fraction(self.cumulative[0], self.total))

    def weight(self, value: int) -> int:
        """The integer weight of a value from ``-bound`` to ``bound``."""
        place = value + self.bound
        return self.cumulative[place] - (self.cumulative[place - 1] if place else 0)

    def draw(self, randbelow: Callable[[int], int] = secrets.randbelow) -> int:
        """One value, from the operating system's random source."""
        return bisect_right(self.cumulative, randbelow(self.total)) - self.bound

    def half_width(self, level: float = 0.95) -> int:
        """The smallest ``h`` with ``P(|Z| <= h) >= level``."""
        return half_width([self], level)


@lru_cache(maxsize=32)
def _noise(millis: int) -> GeometricNoise:
    numerator = math.ceil(_DENOMINATOR * math.exp(-millis / 1000)) + 1  # one up: whatever the platform's exp rounds
    alpha = numerator / _DENOMINATOR
    bound = 1
    while alpha**bound * (1 - alpha) / (1 + alpha - 2 * alpha ** (bound + 1)) > MAX_DELTA:
        bound += 1
    values = range(-bound, bound + 1)
    weights = (numerator ** abs(value) * _DENOMINATOR ** (bound - abs(value)) for value in values)
    return GeometricNoise(millis, bound, tuple(accumulate(weights)))


def half_width(noises: list[GeometricNoise], level: float = 0.95) -> int:
    """The smallest ``h`` such that the sum of independent noises is within ``h`` with at least this probability."""
    masses = [1.0]
    for noise in noises:
        own = [noise.weight(value) / noise.total for value in range(-noise.bound, noise.bound + 1)]
        masses = _convolved(masses, own)
    middle = len(masses) // 2
    inside = masses[middle]
    width = 0
    while inside < level and width < middle:
        width += 1
        inside += masses[middle - width] + masses[middle + width]
    return width


def _convolved(one: list[float], other: list[float]) -> list[float]:
    found = [0.0] * (len(one) + len(other) - 1)
    for place, mass in enumerate(one):
        for shift, share in enumerate(other):
            found[place + shift] += mass * share
    return found
