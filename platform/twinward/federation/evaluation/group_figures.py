"""A model's disease groups in its card: which have a head, why not, and how each tells, beside the backbone.

On a benchmark's stays: those of the group where it names groups and has enough of it, else all of them, which says how
its head tells on stays of nobody in particular.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.grouped import scores_of
from twinward.federation.detectors.model_file import Model
from twinward.federation.disease_groups import NO_GROUP
from twinward.federation.evaluation.anomaly_injection import LabelledStays
from twinward.federation.evaluation.benchmark import measure
from twinward.federation.evaluation.operating_point import FEWEST, threshold_of
from twinward.federation.privacy.outlook import HeadOutlook, head_outlooks

_DIGITS: Final = 3


def group_figures(model: Model, test: LabelledStays) -> list[dict[str, Any]]:
    """An entry for each disease group, and first one for patients of none; nothing for a study without groups."""
    found = head_outlooks(model.study)
    if not found:
        return []
    return [{"name": NO_GROUP} | _measured(model, test, NO_GROUP), *(_of_group(model, test, one) for one in found)]


def thresholds(card: Mapping[str, Any]) -> dict[str, float]:
    """A card's alarm thresholds, by disease group; of patients of none by ``NO_GROUP``.

    Raises:
        KeyError, TypeError, ValueError: it is no card of a release that had them.
    """
    groups = card.get("disease_groups", ())
    if not groups:
        return {NO_GROUP: float(card["evaluation"]["operating_point"]["threshold"])}
    return {str(one["name"]): float(one["threshold"]) for one in groups}


def _of_group(model: Model, test: LabelledStays, one: HeadOutlook) -> dict[str, Any]:
    told = {
        "name": one.group,
        "expected_patients": one.expected_patients,
        "signal_to_noise": round(one.signal_to_noise, _DIGITS),
        "patients_needed": one.patients_needed,
        "has_head": one.has_head,
    }
    return told | _measured(model, test, one.group)


def _measured(model: Model, test: LabelledStays, group: str) -> dict[str, Any]:
    among = np.array([name == group for name in test.groups]) if test.groups is not None else np.zeros(0, np.bool_)
    labels = test.labels
    own = len(among) > 0 and min(int(labels[among].sum()), int((~labels)[among].sum())) >= FEWEST
    part = _taken(test, among) if own else test
    blocks, detector = normalise(part.stays, model.study.bins, model.study.signals), model.detector()
    by_head = scores_of(detector, model.parameters, blocks, [group] * len(blocks))
    return {
        "own_stays": own,
        "stays": len(part.kinds),
        "auroc": _auroc(by_head, part),
        "backbone": _auroc(detector.scores(model.parameters, blocks), part),
        "threshold": float(f"{threshold_of(by_head, part):.6g}"),
    }


def _taken(test: LabelledStays, among: NDArray[np.bool_]) -> LabelledStays:
    kinds = tuple(kind for kind, chosen in zip(test.kinds, among.tolist(), strict=True) if chosen)
    return LabelledStays(test.stays[among], kinds, test.signals)


def _auroc(scores: NDArray[np.float64], part: LabelledStays) -> list[float]:
    found = measure("group", scores, part)
    return [round(one, _DIGITS) for one in (found.auroc, found.low, found.high)]
