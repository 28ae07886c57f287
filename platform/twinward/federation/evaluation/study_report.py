"""A registered model as one HTML page with its pictures inside: nothing is fetched when it is opened.

Figures are the card's, whose hash is on the ledger. ROC curves are in no card: they are drawn anew from the registered
model on the same made-up stays, which costs nobody any privacy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from twinward.core.visible_text import visible_value
from twinward.federation.detectors.model_file import Model
from twinward.federation.evaluation.benchmark import (
    PRIVATE,
    SYNTHETIC,
    UNTRAINED,
    Measured,
    measure_detector,
    synthetic_benchmark,
)
from twinward.federation.evaluation.charts import draw_aurocs, draw_roc


@dataclass(frozen=True)
class Registered:
    """What the ledger says of a model.

    Attributes:
        number: the ledger's.
        at: when, as ISO 8601.
        reservation: which paid; 0 for a model of before there were any.
        paid_micros: what each hospital was charged, in millionths of 1/sigma^2.
        epsilon, delta: its privacy.
        model_hash, card_hash: SHA-256 of both files.
    """

    number: int
    at: str
    reservation: int
    paid_micros: int
    epsilon: float
    delta: float
    model_hash: str
    card_hash: str


@dataclass(frozen=True)
class _Bar:
    """A detector's AUROC as the card has it."""

    name: str
    auroc: float
    low: float
    high: float
    by_kind: Mapping[str, float]
    false_positive_rate: tuple[float, ...] = ()
    true_positive_rate: tuple[float, ...] = ()


def study_report(model: Model, card: Mapping[str, Any], registered: Registered) -> str:
    """The page. ``card`` and ``model`` are those that were registered: who calls has checked that.

    Raises:
        KeyError, TypeError: the card is not one of ``model_card``.
    """
    bars = [
        _Bar(name, one["estimate"], one["low_95"], one["high_95"], one["by_kind"])
        for name, one in sorted(card["evaluation"]["auroc"].items(), key=lambda named: named[0] != PRIVATE)
    ]
    curves = _curves(model) if card["evaluation"]["benchmark"] == SYNTHETIC else []
    page = Environment(
        loader=PackageLoader("twinward.federation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=visible_value,
    ).get_template("study.html")
    return page.render(
        study=model.study,
        fingerprint=model.study.fingerprint().hex(),
        card=card,
        registered=registered,
        odds=math.exp(registered.epsilon),
        one_in=round(1 / registered.delta),
        bars=bars,
        aurocs=draw_aurocs(bars),
        roc=draw_roc(curves) if curves else "",
    )


def _curves(model: Model) -> list[Measured]:
    """The model and the same detector untrained, measured anew."""
    detector, test, bins = model.detector(), synthetic_benchmark(signals=model.study.signals).test, model.study.bins
    return [
        measure_detector(PRIVATE, detector, model.parameters, test, bins),
        measure_detector(UNTRAINED, detector, detector.untrained(), test, bins),
    ]
