"""A day examined: visits made of accesses, each explained or ranked, a sample beside them. Pure: reads nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

from twinward.audit.models import IndexedAccess
from twinward.core.vocabulary import Action, TwinId
from twinward.review.explanations import explain
from twinward.review.models import CareContext, DayReview, Explained, Staff, Visit
from twinward.review.risk import rank
from twinward.review.sampling import sample

SAMPLED: Final = 10
REVIEWED_ACTIONS: Final = frozenset(
    {Action.READ, Action.WRITE, Action.SEARCH, Action.EXPORT, Action.BREAK_GLASS, Action.MATCH, Action.TRAIN}
)
"""What touches a patient's record; looking at the log, consent and accounts are not among them."""


def visits_of(accesses: Iterable[IndexedAccess]) -> list[Visit]:
    """One visit for what each account did with each patient, in the order they began."""
    found: dict[tuple[str, TwinId], list[IndexedAccess]] = {}
    for one in accesses:
        if one.twin is not None and one.action in REVIEWED_ACTIONS:
            found.setdefault((one.agent, one.twin), []).append(one)
    return [Visit(agent, its[0].role, its[0].unit, twin, tuple(its)) for (agent, twin), its in found.items()]


def examine(
    day: date,
    visits: Sequence[Visit],
    care: Mapping[TwinId, CareContext],
    staff: Staff,
    *,
    seed: bytes,
    size: int,
    sampled: int = SAMPLED,
) -> DayReview:
    """Explain what can be explained, rank the rest, draw a sample of all; no sample without a seed."""
    explained: list[Explained] = []
    unexplained: list[Visit] = []
    for visit in visits:
        found = explain(visit, care.get(visit.twin, CareContext(visit.twin, is_known=False)), staff)
        if found is None:
            unexplained.append(visit)
        else:
            explained.append(found)
    why = {one.visit.index: one.sentence for one in explained}
    drawn = sample(visits, seed, sampled) if seed else []
    return DayReview(
        day=day,
        explained=dict(Counter(one.template for one in explained).most_common()),
        suspects=tuple(rank(unexplained, visits, care, staff)),
        sample=tuple((one, why.get(one.index, "")) for one in drawn),
        seed=seed.hex(),
        size=size,
    )
