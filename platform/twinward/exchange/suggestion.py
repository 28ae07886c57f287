"""Which offer should go to which request: the transportation problem, solved exactly.

What is best, in this order: as many units as possible reach somebody who asked; requests that end sooner come first;
the way is short. One linear program for each resource (Dantzig 1951): its constraints are totally unimodular, so a
vertex is whole, and the dual simplex of HiGHS (``scipy.optimize.linprog``) ends at one. Nothing here is promised: a
hospital takes a suggestion up by its own signature, or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twinward.exchange.models import ListingView

Minutes = Callable[[str, str], float]
"""How long the way from one hospital to another is, in minutes."""

SAME_FOR_ALL: Final = 60.0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A promise that would help: so much of an offer to a request."""

    offer: int
    request: int
    giver: str
    receiver: str
    resource: str
    quantity: int
    minutes: float


def suggest(listings: Sequence[ListingView], minutes: Minutes = lambda _from, _to: SAME_FOR_ALL) -> list[Suggestion]:
    """Promises for what stands and is left, by resource, offer and request.

    Args:
        listings: offers and requests; those that do not stand are passed over.
        minutes: the way between two hospitals, at least 0.
    """
    found: list[Suggestion] = []
    for resource in sorted({one.resource for one in listings if one.stands}):
        of_it = [one for one in listings if one.stands and one.resource == resource]
        offers = [one for one in of_it if one.kind == "offer"]
        needs = [one for one in of_it if one.kind == "request"]
        found += _of_one_resource(offers, needs, minutes)
    return found


def _of_one_resource(offers: Sequence[ListingView], needs: Sequence[ListingView], minutes: Minutes) -> list[Suggestion]:
    pairs = [(i, j) for i, a in enumerate(offers) for j, b in enumerate(needs) if a.hospital != b.hospital]
    if not pairs:
        return []
    ways = [minutes(offers[i].hospital, needs[j].hospital) for i, j in pairs]
    shares = _solved(pairs, [one.left for one in offers], [one.left for one in needs], _costs(pairs, needs, ways))
    return [
        Suggestion(
            offers[i].number, needs[j].number, offers[i].hospital, needs[j].hospital, offers[i].resource, share, way
        )
        for (i, j), share, way in zip(pairs, shares, ways, strict=True)
        if share
    ]


def _costs(pairs: Sequence[tuple[int, int]], needs: Sequence[ListingView], ways: Sequence[float]) -> list[float]:
    """What a unit costs on each pair, so that the three aims come one after the other.

    Any way to one more unit, or to a more urgent one, changes at most one pair for each listing: a step of a coarser
    aim weighs more than all of them together.
    """
    ends = sorted({one.until_s for one in needs}, reverse=True)
    urgency = [ends.index(one.until_s) for one in needs]
    step = 2.0 * (len(needs) + len({i for i, _ in pairs}) + 1)
    longest = max(ways) or 1.0
    unit = step * (len(ends) + 1)
    return [-unit - step * urgency[j] + way / longest for (_, j), way in zip(pairs, ways, strict=True)]


def _solved(
    pairs: Sequence[tuple[int, int]], supplies: Sequence[int], demands: Sequence[int], costs: Sequence[float]
) -> list[int]:
    import numpy as np
    from scipy.optimize import linprog  # costs half a second, and few commands suggest
    from scipy.sparse import csr_array

    columns = np.arange(len(pairs))
    rows = np.array(pairs)
    where = (np.concatenate([rows[:, 0], len(supplies) + rows[:, 1]]), np.concatenate([columns, columns]))
    bounds: Any = np.array([*supplies, *demands], dtype=float)
    matrix = csr_array((np.ones(2 * len(pairs)), where), shape=(len(supplies) + len(demands), len(pairs)))
    solved = linprog(np.array(costs), A_ub=matrix, b_ub=bounds, bounds=(0, None), method="highs-ds")
    if solved.x is None:  # all zero always is a solution, and nothing is unbounded
        raise RuntimeError(f"the optimiser found nothing: {solved.message}")
    return [round(share) for share in solved.x]
