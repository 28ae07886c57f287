"""Outbreaks to try a detector on: a stochastic SEIR epidemic over a background of everyday cases.

Discrete days, chain-binomial (Bailey 1975; Lekone, Finkenstädt 2006). Who becomes infectious comes to a hospital with a
small chance; every day has everyday cases as well, negative binomial, fewer on weekends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput


@dataclass(frozen=True, slots=True)
class Epidemic:
    """One city. ``reproduction`` is R0, ``presenting`` the share of infected who come; durations are mean days."""

    population: int = 500_000
    reproduction: float = 2.0
    latent_days: float = 2.0
    infectious_days: float = 4.0
    presenting: float = 0.05
    seeds: int = 20
    everyday: float = 60.0
    dispersion: float = 50.0
    """Of the everyday cases: their variance is mean + mean²/dispersion."""

    def __post_init__(self) -> None:
        """Raises ``BadInput``."""
        positive = (self.reproduction, self.latent_days, self.infectious_days, self.everyday, self.dispersion)
        if not all(0 < one < 1e9 for one in positive) or not 0 <= self.presenting <= 1:
            raise BadInput("rates and durations lie above 0, a share between 0 and 1")
        if not 0 <= self.seeds < self.population <= 10**9:
            raise BadInput("fewer are infected at first than there are people")


def background(epidemic: Epidemic, days: int, draws: np.random.Generator) -> NDArray[np.int64]:
    """Everyday cases, ``[days]``."""
    weekday = np.where(np.arange(days) % 7 >= 5, 0.8, 1.08)
    mean = epidemic.everyday * weekday
    found: NDArray[np.int64] = draws.negative_binomial(
        epidemic.dispersion, epidemic.dispersion / (epidemic.dispersion + mean)
    )
    return found


def cases(epidemic: Epidemic, days: int, draws: np.random.Generator) -> NDArray[np.int64]:
    """Cases of an outbreak that begins on day 0, ``[days]``."""
    susceptible, exposed, infectious = epidemic.population - epidemic.seeds, epidemic.seeds, 0
    rate = epidemic.reproduction / epidemic.infectious_days
    onset, recovery = -math.expm1(-1 / epidemic.latent_days), -math.expm1(-1 / epidemic.infectious_days)
    found = np.zeros(days, np.int64)
    for day in range(days):
        infected = int(draws.binomial(susceptible, -math.expm1(-rate * infectious / epidemic.population)))
        falling_ill, recovering = int(draws.binomial(exposed, onset)), int(draws.binomial(infectious, recovery))
        susceptible -= infected
        exposed += infected - falling_ill
        infectious += falling_ill - recovering
        found[day] = draws.binomial(falling_ill, epidemic.presenting)
    return found
