"""A model's finding about a patient as a FHIR RiskAssessment: what departed, by how much, and which model says so.

No Observation: a share of 40 % under the LOINC code of a saturation would be read as one. Numbers stand in extensions,
since R4's own elements are probabilities, which a score is not. The same finding gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from twinward.core.vocabulary import Category
from twinward.twins.models import ImportRecord

MODEL_SYSTEM: Final = "urn:twinward:model-sha256"
SCORE: Final = "urn:twinward:anomaly-score"
THRESHOLD: Final = "urn:twinward:anomaly-threshold"
CONTRIBUTION: Final = "urn:twinward:contributing-signal"
_LOINC: Final = "http://loinc.org"


@dataclass(frozen=True, slots=True)
class ModelProvenance:
    """The model that made a finding: its study, its number on the ledger, and the SHA-256 of its file."""

    study: str
    detector: str
    number: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ContributingSignal:
    """A signal, its LOINC code ("" where it has none), and its share of the score, 0 to 1."""

    title: str
    loinc: str
    share: float


def risk_assessment(
    resource_id: str,
    patient: str,
    model: ModelProvenance,
    *,
    score: float,
    threshold: float,
    signals: Sequence[ContributingSignal],
    withdrawn: bool = False,
) -> ImportRecord:
    """The record.

    Args:
        resource_id: its FHIR id.
        patient: the reference of whom it is about, ``Patient/id``.
        model: which model found it.
        score, threshold: above which a score is an anomaly.
        signals: which signals contribute, most first.
        withdrawn: an earlier finding of this model stands no more: the score is not above the threshold now.
    """
    above = "is not above the threshold any more" if withdrawn else "is above the threshold"
    named = ", ".join(f"{one.title} {one.share:.0%}" for one in signals) or "none named"
    prediction = {
        "extension": [
            {"url": SCORE, "valueDecimal": _digits(score)},
            {"url": THRESHOLD, "valueDecimal": _digits(threshold)},
            *(_contribution(one) for one in signals),
        ],
        "outcome": {"text": "Vital signs and laboratory results depart from what the model foretells"},
        "qualitativeRisk": {"text": f"the score {above}"},
        "rationale": f"score {_digits(score):g}, threshold {_digits(threshold):g}; contributing: {named}",
    }
    body = {
        "resourceType": "RiskAssessment",
        "id": resource_id,
        "status": "amended" if withdrawn else "final",
        "method": {
            "coding": [{"system": MODEL_SYSTEM, "code": model.sha256}],
            "text": f"study {model.study}, {model.detector}, model {model.number} on the ledger",
        },
        "code": {"text": "Anomaly in monitored signals"},
        "subject": {"reference": patient},
        "prediction": [prediction],
        "note": [{"text": "Found by a model, not by a person; not a diagnosis."}],
    }
    return ImportRecord(
        f"RiskAssessment/{resource_id}", "RiskAssessment", Category.CONDITIONS, msgspec.json.encode(body)
    )


def _contribution(one: ContributingSignal) -> dict[str, object]:
    concept: dict[str, object] = {"text": one.title}
    if one.loinc:
        concept["coding"] = [{"system": _LOINC, "code": one.loinc}]
    return {
        "url": CONTRIBUTION,
        "extension": [
            {"url": "signal", "valueCodeableConcept": concept},
            {"url": "share", "valueDecimal": round(one.share, 3)},
        ],
    }


def _digits(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")
