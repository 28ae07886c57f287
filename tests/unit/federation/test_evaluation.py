"""AUROC, its interval and curve, and the tampering that it is measured on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from twinward.core.errors import BadInput
from twinward.federation.evaluation.anomaly_injection import KINDS, Anomaly, LabelledStays, inject_anomalies
from twinward.federation.evaluation.benchmark import measure
from twinward.federation.stays.simulated import simulate_stays

STAYS = simulate_stays(300, 1)
TEST = inject_anomalies(STAYS, seed=2)


def test_tampering_is_labelled_truly() -> None:
    same = np.array(
        [np.array_equal(before, after, equal_nan=True) for before, after in zip(STAYS, TEST.stays, strict=True)]
    )
    assert not same[TEST.labels].any()
    assert same[~TEST.labels].all()
    assert set(TEST.kinds) == {Anomaly.NONE, *KINDS}
    assert 0.1 < TEST.labels.mean() < 0.3


def test_tampering_leaves_missingness_alone_but_for_swaps() -> None:
    for before, after, kind in zip(STAYS, TEST.stays, TEST.kinds, strict=True):
        if kind is not Anomaly.SWAP:
            assert np.array_equal(np.isnan(before), np.isnan(after))


def test_tampering_repeats_itself_and_keeps_its_input() -> None:
    before = STAYS.copy()
    again = inject_anomalies(STAYS, seed=2)
    assert np.array_equal(again.stays, TEST.stays, equal_nan=True)
    assert again.kinds == TEST.kinds
    assert np.array_equal(before, STAYS, equal_nan=True)
    assert inject_anomalies(STAYS, seed=3).kinds != TEST.kinds


@pytest.mark.parametrize("arguments", [{"share": 0.0}, {"share": 1.0}, {"stays": STAYS[:1]}])
def test_tampering_refuses_what_it_cannot_do(arguments: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        inject_anomalies(**({"stays": STAYS, "seed": 1} | arguments))  # type: ignore[arg-type]


def test_auroc_with_its_interval_and_curve() -> None:
    scores = np.random.default_rng(1).normal(size=300) + TEST.labels
    measured = measure("one", scores, TEST)
    assert measured.auroc == pytest.approx(roc_auc_score(TEST.labels, scores))
    assert measured.low < measured.auroc < measured.high
    assert 0.03 < measured.high - measured.low < 0.3
    rates = measured.false_positive_rate, measured.true_positive_rate
    assert all(list(rate) == sorted(rate) and rate[-1] == 1 for rate in rates)
    assert np.trapezoid(rates[1], rates[0]) == pytest.approx(measured.auroc, abs=0.01)
    assert set(measured.by_kind) == set(KINDS)


def test_perfect_reversed_and_constant_scores() -> None:
    perfect = TEST.labels.astype(float)
    assert measure("p", perfect, TEST).auroc == 1
    assert measure("p", -perfect, TEST).auroc == 0
    constant = measure("c", np.zeros(300), TEST)
    assert (constant.auroc, constant.low, constant.high) == (0.5, 0.5, 0.5)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(BadInput):
        measure("x", np.zeros(299), TEST)
    with pytest.raises(BadInput):
        measure("x", np.full(300, np.nan), TEST)
    with pytest.raises(BadInput, match="tampered and untouched"):
        measure("x", np.zeros(300), LabelledStays(STAYS, (Anomaly.NONE,) * 300))
