"""Dealing a round's hospitals into groups whose sums are opened apart.

By chance, each round anew, so that over the rounds everybody is with everybody: of some draws the one that brings the
fewest together who were together before. Privacy does not rest on the draw: a site takes any group that is large
enough, and answers one in an attempt.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Final

Groups = tuple[tuple[str, ...], ...]

_CHANCE: Final[random.Random] = random.SystemRandom()
_DRAWS: Final = 16


def deal_groups(
    hospitals: Sequence[str], size: int, earlier: Iterable[Sequence[str]] = (), chance: random.Random | None = None
) -> Groups:
    """As many groups as there can be of ``size`` or more, of nearly even size; one where there are fewer hospitals.

    Args:
        hospitals: who is dealt.
        size: of the smallest group.
        earlier: the groups of rounds before.
        chance: where draws come from.
    """
    together = Counter(pair for group in earlier for pair in combinations(sorted(group), 2))
    draws = (_draw(hospitals, size, chance or _CHANCE) for _ in range(_DRAWS))
    return min(draws, key=lambda groups: sum(together[pair] ** 2 for one in groups for pair in combinations(one, 2)))


def _draw(hospitals: Sequence[str], size: int, chance: random.Random) -> Groups:
    drawn = chance.sample(sorted(hospitals), len(hospitals))
    count = max(1, len(drawn) // size)
    return tuple(tuple(sorted(drawn[start::count])) for start in range(count))
