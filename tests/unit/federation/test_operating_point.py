"""Thresholds, calibration and subgroups, against counts by hand and scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from twinward.features.signal_schema import table_schema
from twinward.federation.evaluation.anomaly_injection import Anomaly, LabelledStays
from twinward.federation.evaluation.operating_point import operating_point

TABLE = table_schema("one", {"x": (-1.0, 1.0)})


def labelled(labels: np.ndarray, groups: tuple[str, ...] | None = None) -> LabelledStays:
    kinds = tuple(Anomaly.LABELLED if one else Anomaly.NONE for one in labels.tolist())
    return LabelledStays(np.zeros((len(labels), 1, 1), np.float32), kinds, TABLE, groups)


def test_the_threshold_bears_one_false_alarm_in_twenty() -> None:
    scores = np.concatenate([np.arange(100.0), [50, 97.5, 98, 99.5]])
    point = operating_point(scores, labelled(np.arange(104) >= 100))
    above = int((np.arange(100.0) > point.threshold).sum())
    assert above in (4, 5)
    assert (point.false_alarms.share, point.false_alarms.of) == (above / 100, 100)
    assert (point.found.share, point.found.of) == (0.75, 4)
    # Wilson by its formula: 3 of 4, z = 1.96
    z, n, p = 1.959964, 4, 0.75
    centre, half = (
        (p + z * z / 2 / n) / (1 + z * z / n),
        z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / 4 / n**2),
    )
    assert (point.found.low, point.found.high) == pytest.approx((centre - half, centre + half), abs=1e-5)
    assert point.calibration == ()  # four anomalies calibrate nothing


def test_a_subgroup_has_its_own_figures_or_none() -> None:
    random = np.random.default_rng(0)
    labels = random.random(600) < 0.3
    groups = np.where(np.arange(600) < 580, np.where(np.arange(600) % 2, "f", "m"), "rare")
    scores = random.normal(size=600) + labels * np.where(groups == "f", 3.0, 0.2)
    point = operating_point(scores, labelled(labels, tuple(groups.tolist())))
    found = {one.name: one for one in point.subgroups}
    assert sorted(found) == ["f", "m", "rare"]
    assert (found["rare"].patients, found["rare"].auroc, found["rare"].found) == (20, None, None)
    for name in ("f", "m"):
        among = groups == name
        assert found[name].auroc is not None
        assert found[name].auroc[0] == pytest.approx(roc_auc_score(labels[among], scores[among]))
        assert found[name].found is not None
        assert found[name].found.share == (scores[among & labels] > point.threshold).mean()
    assert found["f"].auroc[1] > found["m"].auroc[2]  # told apart: their intervals do not meet


def test_calibration_is_held_against_the_other_half() -> None:
    random = np.random.default_rng(1)
    scores = random.random(4000)
    labels = random.random(4000) < scores  # a score is its own probability
    point = operating_point(scores, labelled(labels))
    assert [one.predicted for one in point.calibration] == sorted(one.predicted for one in point.calibration)
    assert sum(one.observed.of for one in point.calibration) == 2000
    for one in point.calibration:
        assert one.observed.low - 0.06 < one.predicted < one.observed.high + 0.06
    shown = json.loads(json.dumps(point.to_json()))
    assert shown["calibration"][0]["observed"]["share"] == round(point.calibration[0].observed.share, 3)


def test_scores_that_are_chances_are_held_against_what_happened_as_they_are() -> None:
    random = np.random.default_rng(2)
    truly = random.random(4000) * 0.5
    labels = random.random(4000) < truly
    for told, apart in ((truly, 0.0), (truly + 0.2, 0.2)):
        point = operating_point(told, labelled(labels), chances=True)
        assert point.calibration_error == pytest.approx(apart, abs=0.02)
        assert [one.observed.of for one in point.calibration] == [500] * 8
        assert point.calibration[0].predicted == pytest.approx(np.sort(told)[:500].mean())
    assert operating_point(truly, labelled(labels)).calibration_error is None
