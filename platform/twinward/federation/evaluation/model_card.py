"""The model card: what was trained, for how much privacy, how well it does, and what it must not be used for.

Its canonical bytes are hashed onto the ledger. Nothing in it is one hospital's own: no metric, no patient count. Its
figures are of public or synthetic stays, to three digits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twinward.core.clock import iso
from twinward.federation.detectors.detector import normalise
from twinward.federation.detectors.grouped import scores_of
from twinward.federation.detectors.model_file import Model
from twinward.federation.evaluation.anomaly_injection import LabelledStays
from twinward.federation.evaluation.benchmark import Benchmark, Comparison, Measured
from twinward.federation.evaluation.group_figures import group_figures
from twinward.federation.evaluation.operating_point import operating_point
from twinward.federation.privacy.accountant import PrivacyPlan
from twinward.federation.study import DetectorKind, StudyProtocol
from twinward.federation.study_journal import Review
from twinward.federation.suspicion.suspects import FALSE_ALARMS
from twinward_crypto.canonical import canonicalize

ROC_POINTS: Final = 21
"""Of a curve in a card: at 0, 0.05, … 1 of false alarms."""

_DIGITS: Final = 3
"""Of an AUROC: its interval is wider than that."""


_TRUSTED: Final = "hospitals are trusted to train on genuine stays: poisoned contributions are bounded, not detected"
_MADE_UP: Final = (
    "hospitals' sums were held against each other; made-up patients that pass for genuine ones are not found"
)


@dataclass(frozen=True)
class ModelCard:
    """A card as RFC 8785 JSON."""

    content: bytes

    def hash(self) -> bytes:
        """SHA-256 of the card: what the ledger keeps."""
        return hashlib.sha256(self.content).digest()


def _roc(measured: Measured) -> list[float]:
    """The true positive rate at each twentieth of the false positive rate."""
    grid = np.linspace(0, 1, ROC_POINTS)
    rates = np.interp(grid, measured.false_positive_rate, measured.true_positive_rate)
    return [round(rate, _DIGITS) for rate in rates.tolist()]


def write_card(
    model: Model,
    plan: PrivacyPlan,
    comparison: Comparison,
    benchmark: Benchmark,
    at_ms: int,
    reviews: Mapping[str, Review] | None = None,
) -> ModelCard:
    """The card of a model just trained; ``reviews`` are what officers decided about hospitals."""
    study = model.study
    card: dict[str, Any] = {
        "card": "twinward/model-card/v1",
        "study": study.study_id,
        "protocol_sha256": study.fingerprint().hex(),
        "model_sha256": model.hash().hex(),
        "trained_at": iso(at_ms),
        "detector": study.detector.value,
        "hospitals": len(study.hospitals),
        "privacy": _privacy(study, plan),
        "evaluation": {
            "benchmark": benchmark.name,
            "benchmark_origin": benchmark.origin.value,
            "test_stays": len(benchmark.test.kinds),
            "tampered": int(benchmark.test.labels.sum()),
            "auroc": {
                measured.name: {
                    "estimate": round(measured.auroc, _DIGITS),
                    "low_95": round(measured.low, _DIGITS),
                    "high_95": round(measured.high, _DIGITS),
                    "roc": _roc(measured),
                    "by_kind": {kind.value: round(auroc, _DIGITS) for kind, auroc in measured.by_kind.items()},
                }
                for measured in comparison.all()
            },
            "operating_point": operating_point(
                _scores(model, benchmark.test), benchmark.test, chances=study.detector is DetectorKind.LOGISTIC
            ).to_json(),
        },
        "inputs": f"{len(study.signals.signal)} signals ({study.signals.name}), normalised by published limits",
        "hyperparameters": "fixed defaults from synthetic and public stays; none tuned on a hospital's patients",
        "limits": [
            "measured on injected tampering, not on clinical outcomes; not a medical device",
            "one stay of each patient counts at each hospital: the first",
            _several(study.hospitals_per_patient),
            _MADE_UP if study.group_size else _TRUSTED,
        ],
    }
    card |= _examined(study, reviews or {})
    if study.disease_groups:
        card["disease_groups"] = group_figures(model, benchmark.test)
        card["limits"].append("a patient is in one disease group, by codes on record: uncoded patients have no head")
    return ModelCard(canonicalize(card))


def _several(hospitals: int) -> str:
    if hospitals == 1:
        return "a patient recorded at several hospitals is protected at each of them, not jointly"
    return f"a patient recorded at up to {hospitals} hospitals is protected at all of them together"


def _adjacency(hospitals: int) -> str:
    where = "any one hospital" if hospitals == 1 else f"up to {hospitals} hospitals"
    return f"add or remove one patient, at {where}"


def _scores(model: Model, test: LabelledStays) -> NDArray[np.float64]:
    blocks = normalise(test.stays, model.study.bins, model.study.signals)
    return scores_of(model.detector(), model.parameters, blocks, test.groups)


def _examined(study: StudyProtocol, reviews: Mapping[str, Review]) -> dict[str, Any]:
    """What a study in groups says of its hospitals; nothing of one without."""
    if not study.group_size:
        return {}
    told = {
        "group_size": study.group_size,
        "chance_of_a_false_suspicion": FALSE_ALARMS,
        "left_out": sorted(name for name, one in reviews.items() if one.quarantined),
        "looked_at_and_kept": sorted(name for name, one in reviews.items() if not one.quarantined),
    }
    return {"examined_in_groups": told}


def _privacy(study: StudyProtocol, plan: PrivacyPlan) -> dict[str, Any]:
    """What the model cost."""
    return {
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "unit": "one patient's whole stay",
        "adjacency": _adjacency(study.hospitals_per_patient),
        "mechanism": "discrete Gaussian noise, drawn in shares by the hospitals, in secure sums",
        "noise_multiplier": plan.noise_multiplier,
        "rounds": plan.rounds,
        "clip": study.clip,
        "colluding_hospitals_tolerated": study.colluding,
        "lost_hospitals_tolerated": study.dropouts,
        "inverse_variance_micros": plan.inverse_variance_micros,
        "accountant": "privacy loss distribution, full batch",
    }
