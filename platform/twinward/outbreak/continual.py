"""Daily counts under continual observation: the binary tree mechanism over a period of days.

After Dwork, Naor, Pitassi, Rothblum 2010 and Chan, Shi, Song 2011. A node of level k covers 2^k days that end at a
multiple of 2^k; on each day the nodes that end with it are released, each as a sum with noise of its own. Any days
1..t are then the sum of at most log2(t)+1 nodes instead of t numbers.

Invariants:

* **One patient, one day.** Within a period a patient counts once for a syndrome, on the first day (``first_days``). So
  a patient who is added or removed changes at most ``levels`` nodes of each syndrome, each by 1: the L2 sensitivity of
  everything that a period releases of k syndromes is √(levels · k). Another day instead is one patient less and one
  more: twice that, so it must not happen.
* **A day that is released stays as it was counted.** Who comes to light late, with an earlier first day or without the
  one counted, would be in the nodes of two days: the caller keeps the counts of released days, and hands over the same.
* **One noise a node, drawn once.** A release is kept and given again, never drawn again: the caller's to see to, too.
* Noise is discrete Gaussian, in shares: each of n hospitals adds ⌈v/honest⌉ + 4, so that what the honest ones add is
  at least v (``federation.privacy.dp_sum``, points 2 and 3). A period is one Gaussian mechanism of multiplier
  √(v/(levels · k)), and costs levels · k/v in 1/σ² on the ledger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.privacy.discrete_gaussian import RandomBytes, discrete_gaussian

Counts = NDArray[np.int64]

MAX_DAYS: Final = 366
MOST_SYNDROMES: Final = 16
_SMOOTHING_VARIANCE: Final = 4
_MICROS: Final = 1_000_000


class Tree(Protocol):
    """The days and levels of what is released, whatever it costs."""

    @property
    def days(self) -> int:
        """How long."""
        ...

    @property
    def levels(self) -> int:
        """How many levels are released."""
        ...


@dataclass(frozen=True, slots=True)
class Period:
    """What is promised to each patient for so many days, and the noise that keeps it.

    Attributes:
        days: how long, from 1; a patient counts once in them.
        levels: how many levels of the tree are released; 1 is each day alone, the most that helps ⌊log2 days⌋ + 1.
        epsilon, delta: for everything that is released in these days, of all syndromes together.
        syndromes: how many are counted; a patient may be a case of each.
    """

    days: int
    levels: int
    epsilon: float
    delta: float
    syndromes: int = 1

    def __post_init__(self) -> None:
        """Raises ``BadInput``."""
        if not 1 <= self.days <= MAX_DAYS:
            raise BadInput(f"a period has 1 to {MAX_DAYS} days")
        if not 1 <= self.levels <= self.days.bit_length():
            raise BadInput(f"a tree over {self.days} days has 1 to {self.days.bit_length()} levels")
        if not 1 <= self.syndromes <= MOST_SYNDROMES:
            raise BadInput(f"a period counts 1 to {MOST_SYNDROMES} syndromes")
        self.variance  # noqa: B018 - an ε or δ that no noise keeps is refused now

    @property
    def variance(self) -> int:
        """v: of the honest hospitals' noise in each node."""
        from twinward.federation.privacy.accountant import calibrate  # an extra: who releases has v from the agreement

        return math.ceil(calibrate(self.epsilon, self.delta, 1) ** 2 * self.levels * self.syndromes)

    @property
    def cost_micros(self) -> int:
        """What a period costs each hospital on the ledger: levels · syndromes/v in millionths of 1/σ², rounded up."""
        return cost_micros(self.levels * self.syndromes, self.variance)

    def share(self, honest: int) -> int:
        """The variance of one hospital's noise in each node, of which ``honest`` shares make v."""
        return share_of(self.variance, honest)


def share_of(variance: int, honest: int) -> int:
    """The variance of one hospital's noise in each node, of which ``honest`` shares make v. Raises ``BadInput``."""
    if honest < 1:
        raise BadInput("at least one hospital is honest")
    return math.ceil(variance / honest) + _SMOOTHING_VARIANCE


def cost_micros(changed: int, variance: int) -> int:
    """The price of nodes of which a patient changes so many by 1: changed/v in millionths of 1/σ², rounded up."""
    return math.ceil(changed * _MICROS / variance)


def first_days(days_of_patients: Iterable[Iterable[int]], period_days: int) -> Counts:
    """Patients counted once, on their first day in the period: ``[days]``; days count from 1, others are left out."""
    counts = np.zeros(period_days, np.int64)
    for days in days_of_patients:
        inside = [day for day in days if 1 <= day <= period_days]
        if inside:
            counts[min(inside) - 1] += 1
    return counts


def nodes_of_day(period: Tree, day: int) -> list[tuple[int, int]]:
    """The nodes that end with a day, as (first day, last day), the shortest first. Raises ``BadInput``."""
    if not 1 <= day <= period.days:
        raise BadInput(f"the period has days 1 to {period.days}")
    return [(day - (1 << level) + 1, day) for level in range(period.levels) if day % (1 << level) == 0]


def release(period: Period, counts: Counts, day: int, honest: int, random_bytes: RandomBytes) -> Counts:
    """One hospital's release of a day: its sum over each of ``nodes_of_day``, with its share of the noise.

    Args:
        period: what is promised.
        counts: ``[days]``, of ``first_days``; what lies behind the day is not looked at.
        day: from 1.
        honest: how many of the hospitals that add noise are counted on.
        random_bytes: the source.

    Raises:
        BadInput: no day of the period, or counts of another one.
    """
    return noisy_sums(period, counts, day, period.share(honest), random_bytes)


def noisy_sums(tree: Tree, counts: Counts, day: int, share: int, random_bytes: RandomBytes) -> Counts:
    """As ``release``, where one hospital's share of the noise has the variance ``share``."""
    if counts.shape != (tree.days,):
        raise BadInput(f"counts of {tree.days} days are wanted")
    sums = np.array([counts[first - 1 : last].sum() for first, last in nodes_of_day(tree, day)], np.int64)
    return sums + discrete_gaussian(len(sums), share, random_bytes)


def cover(period: Period, first: int, last: int) -> list[tuple[int, int]]:
    """The fewest nodes of the tree that make up the days ``first`` to ``last``. Raises ``BadInput``."""
    if not 1 <= first <= last <= period.days:
        raise BadInput(f"the period has days 1 to {period.days}")
    found = []
    while first <= last:
        start = first - 1
        level = period.levels - 1
        while start % (1 << level) or start + (1 << level) > last:
            level -= 1
        found.append((first, start + (1 << level)))
        first = found[-1][1] + 1
    return found


def window(period: Period, releases: Sequence[Counts], first: int, last: int) -> int:
    """What the released sums say of the days ``first`` to ``last``; ``releases`` are of the days from 1 on."""
    by_node = {
        node: int(number)
        for day, released in enumerate(releases, 1)
        for node, number in zip(nodes_of_day(period, day), released.tolist(), strict=True)
    }
    return sum(by_node[node] for node in cover(period, first, last))
