"""What nothing explains, ranked by risk, each with the reasons it is made of.

Two things are put together. *Reasons* that officers know by name (same surname, household, colleague, a guarded
record, the hour, the volume), each with a weight; they add up as if each were one chance of being right:
``1 - prod(1 - weight)``. And how unlike the day's other visits a visit is, by scikit-learn's isolation forest (Liu,
Ting and Zhou, ICDM 2008) over the numbers below, as one more reason that weighs at most ``UNLIKE``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import log2, prod
from typing import Final

from twinward.core.sentences import sentence
from twinward.core.vocabulary import SENSITIVE, Action, Purpose, TwinId
from twinward.review.models import CareContext, Kin, Reason, Staff, Suspect, Visit

UNLIKE: Final = 0.3
MANY: Final = 5
"""Unexplained patients of one person on one day from which volume is a reason."""
NIGHT: Final = range(0, 5)
"""Hours (UTC) that are a reason: few have a reason to be there."""
_TREES: Final = 100
_NOBODY: Final = Kin()


def rank(
    unexplained: Sequence[Visit],
    every: Sequence[Visit],
    care: Mapping[TwinId, CareContext],
    staff: Staff,
) -> list[Suspect]:
    """The unexplained visits by risk, the riskiest first.

    Args:
        unexplained: what no template explains.
        every: all visits of the day: what is usual.
        care: by patient.
        staff: the directory.
    """
    if not unexplained:
        return []
    patients = Counter(one.agent for one in unexplained)
    unlike = _unlike(unexplained, every, patients)
    found = [
        _suspect(one, care.get(one.twin, CareContext(one.twin, is_known=False)), staff, patients[one.agent], share)
        for one, share in zip(unexplained, unlike, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.risk, one.visit.index))


def _suspect(visit: Visit, care: CareContext, staff: Staff, patients: int, unlike: float) -> Suspect:
    reasons = [*_of_kin(visit, care, staff), *_of_visit(visit, care, patients)]
    if unlike >= 0.5:
        weight = UNLIKE * unlike
        reasons.append(Reason("unlike others", "it is unlike what others did that day, by numbers alone", weight))
    reasons.sort(key=lambda one: -one.weight)
    return Suspect(visit, 1 - prod(1 - one.weight for one in reasons), tuple(reasons))


def _of_kin(visit: Visit, care: CareContext, staff: Staff) -> list[Reason]:
    mine, theirs = staff.kin.get(visit.agent, _NOBODY), care.kin
    found = []
    if visit.agent in theirs.accounts:
        found.append(Reason("own record", "it is this person's own record, opened as staff", 0.7))
    elif theirs.accounts:
        found.append(Reason("colleague", "the patient works here", 0.6))
    if mine.addresses & theirs.addresses:
        found.append(Reason("household", "both have the same address", 0.7))
    if mine.surnames & theirs.surnames:
        found.append(Reason("surname", "both have the same family name", 0.5))
    return found


def _of_visit(visit: Visit, care: CareContext, patients: int) -> list[Reason]:
    found = []
    if care.is_vip:
        found.append(Reason("guarded record", "the record is marked as one that people are curious about", 0.6))
    if patients >= MANY:
        weight = min(0.6, 0.3 + 0.05 * (patients - MANY))
        found.append(
            Reason(
                "volume",
                sentence("one of {patients} patients that nothing connects with this person", patients=patients),
                weight,
            )
        )
    if datetime.fromtimestamp(visit.at_ms / 1000, UTC).hour in NIGHT:
        found.append(Reason("hour", "it was at night", 0.25))
    if SENSITIVE & {category for one in visit.accesses for category in one.categories}:
        found.append(Reason("sensitive", "sensitive categories were asked for", 0.3))
    if any(one.purpose is Purpose.EMERGENCY or one.action is Action.BREAK_GLASS for one in visit.accesses):
        found.append(Reason("emergency", "it was declared an emergency, which has a review of its own", 0.3))
    if refused := sum(not one.permitted for one in visit.accesses):
        found.append(
            Reason(
                "refused",
                sentence("{refused} of {asked} accesses were refused", refused=refused, asked=len(visit.accesses)),
                0.2,
            )
        )
    if any(one.action is Action.EXPORT for one in visit.accesses):
        found.append(Reason("export", "records were taken out", 0.3))
    if not care.is_known:
        found.append(Reason("care unknown", "care data of this patient could not be opened to explain it", 0.1))
    elif not visit.unit:
        found.append(Reason("no unit", "the account has no unit", 0.1))
    return found


def _unlike(unexplained: Sequence[Visit], every: Sequence[Visit], patients: Mapping[str, int]) -> list[float]:
    """For each unexplained visit, the share of all visits that are more usual than it, by an isolation forest."""
    import numpy as np
    from sklearn.ensemble import IsolationForest

    per_agent = Counter(one.agent for one in every)

    def numbers(one: Visit) -> list[float]:
        hour = datetime.fromtimestamp(one.at_ms / 1000, UTC).hour
        categories = {category for access in one.accesses for category in access.categories}
        return [
            float(min(hour, 24 - hour)),
            log2(len(one.accesses)),
            float(len(categories)),
            float(len(SENSITIVE & categories)),
            log2(per_agent[one.agent]),
            float(patients.get(one.agent, 0)),
            float(sum(not access.permitted for access in one.accesses)),
        ]

    table = np.array([numbers(one) for one in every])
    forest = IsolationForest(n_estimators=_TREES, random_state=0, n_jobs=1).fit(table)
    usual = np.sort(forest.score_samples(table))
    scores = forest.score_samples(np.array([numbers(one) for one in unexplained]))
    return [float(share) for share in 1 - np.searchsorted(usual, scores, side="left") / len(usual)]
