"""A registered model as one HTML page with its pictures inside: nothing is fetched when it is opened.

Figures are the card's, whose hash is on the ledger; where it was registered nowhere, of a simulation, the page says so.
Nothing here was measured on a hospital's patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError

from twinward.core.visible_text import visible_value
from twinward.federation.detectors.model_file import Model
from twinward.federation.evaluation.benchmark import (
    PRIVATE,
    SYNTHETIC,
    UNTRAINED,
    WITHOUT_PRIVACY,
    Measured,
    measure_detector,
    synthetic_benchmark,
)
from twinward.federation.evaluation.charts import draw_aurocs, draw_burn_down, draw_calibration, draw_roc
from twinward.federation.privacy.accountant import plan_for


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


def study_report(model: Model, card: Mapping[str, Any], registered: Registered | None) -> str:
    """The page.

    Args:
        model, card: of each other: who calls has checked that, and where they were registered, that they are those.
        registered: what the ledger says; None of a simulation on a researcher's own data.

    Raises:
        ArithmeticError, AttributeError, LookupError, TypeError, ValueError: the card is not one of ``model_card``.
    """
    measured = card["evaluation"]
    bars = [
        _Bar(name, one["estimate"], one["low_95"], one["high_95"], one["by_kind"], *_curve(one))
        for name, one in sorted(measured["auroc"].items(), key=lambda named: named[0] != PRIVATE)
    ]
    curves: list[Measured] | list[_Bar] = [bar for bar in bars if bar.true_positive_rate]
    if not curves and measured["benchmark"] == SYNTHETIC:
        curves = _curves(model)
    plan = plan_for(model.study)
    spent = [plan.epsilon_after(done) for done in range(1, plan.rounds + 1)]
    point = measured.get("operating_point")  # cards of before had none
    return _rendered(
        study=model.study,
        fingerprint=model.study.fingerprint().hex(),
        card=card,
        registered=registered,
        epsilon=card["privacy"]["epsilon"] if registered is None else registered.epsilon,
        delta=card["privacy"]["delta"] if registered is None else registered.delta,
        model_hash=model.hash().hex(),
        bars=bars,
        roles=_ROLES,
        point=point,
        groups=card.get("examined_in_groups"),
        disease_groups=card.get("disease_groups"),
        aurocs=_named(draw_aurocs(bars), "AUROC of each detector; the table above has the figures"),
        roc=_named(draw_roc(curves), "ROC curves") if curves else "",
        burn=_named(draw_burn_down(spent), "Epsilon spent, by round"),
        calibration=_calibration(point),
        odds=math.exp,
        whole=round,
    )


def _rendered(**values: Any) -> str:
    page = Environment(
        loader=PackageLoader("twinward.federation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=visible_value,
    ).get_template("study.html")
    try:
        return page.render(values)
    except TemplateError as error:
        raise TypeError("the card lacks what the page shows") from error


_ROLES: Final = {
    UNTRAINED: "floor: nothing learnt",
    WITHOUT_PRIVACY: "ceiling: the same, pooled and without noise",
    "IsolationForest": "a stock detector, pooled and without noise",
}


def _curve(one: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A card's ROC curve: false and true positive rates; empty of cards of before."""
    rates = tuple(float(rate) for rate in one.get("roc", ()))
    return tuple(step / max(len(rates) - 1, 1) for step in range(len(rates))), rates


def _calibration(point: Mapping[str, Any] | None) -> str:
    if point is None or not point["calibration"]:
        return ""
    shares = [one["observed"] for one in point["calibration"]]
    observed = [(one["share"], one["low"], one["high"]) for one in shares]
    drawn = draw_calibration([one["predicted"] for one in point["calibration"]], observed)
    return _named(drawn, "Calibration; the table has the figures")


def _named(picture: str, words: str) -> str:
    """A picture with a name for who does not see it."""
    return picture.replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1)


def _curves(model: Model) -> list[Measured]:
    """The model and the same detector untrained, measured anew: for cards without curves."""
    detector, test, bins = model.detector(), synthetic_benchmark(signals=model.study.signals).test, model.study.bins
    return [
        measure_detector(PRIVATE, detector, model.parameters, test, bins),
        measure_detector(UNTRAINED, detector, detector.untrained(), test, bins),
    ]
