"""A hospital's worth of made-up patients, for demonstrations and tests: deterministic, clinically coherent US Core R4.

The generator is ``carebundle``; this module mixes its profiles, ages and sexes, and joins each patient's full visit
with the earlier visits of the same patient's history. No real person is behind any of it, and its output says so.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date
from typing import Any

import carebundle

from twinward.core.clock import FixedClock
from twinward.core.errors import BadInput
from twinward.core.vocabulary import Again
from twinward.fhir.mapping.ids import Origin, OriginNames
from twinward.fhir.mapping.records import gather_directory, patient_imports
from twinward.fhir.mapping.references import read_bundle
from twinward.twins.models import PatientImport

PREVALENCE = {"healthy": 40, "hypertension": 25, "type2_diabetes": 18, "ckd_stage3": 9, "anaemia": 8}
"""Patients per hundred drawn from each ``carebundle`` profile."""

AGE_RANGES = ((18, 34), (35, 49), (50, 64), (65, 79), (80, 92))
_AGE_WEIGHTS = {
    "healthy": (30, 30, 20, 15, 5),
    "hypertension": (5, 20, 35, 30, 10),
    "type2_diabetes": (3, 22, 40, 28, 7),
    "ckd_stage3": (1, 9, 30, 40, 20),
    "anaemia": (25, 30, 20, 15, 10),
}
_OF_A_VISIT = ("Encounter", "Observation")
_REFERENCE_DATE = date(2026, 1, 1)


def generate_cohort(count: int, seed: int, *, reference_date: date = _REFERENCE_DATE) -> Iterator[PatientImport]:
    """``count`` patients, each with 40 to 60 resources, then their practitioners for the directory.

    The same arguments give the same bytes; patient *n* does not depend on ``count``.

    Raises:
        BadInput: a count below 1 or a negative seed.
    """
    if count < 1 or seed < 0:
        raise BadInput("a cohort has at least one patient, and its seed is not negative")
    return gather_directory(one for index in range(count) for one in _patient(index, seed, reference_date))


def patient_bundle(index: int, seed: int, reference_date: date = _REFERENCE_DATE) -> bytes:
    """The transaction bundle of one patient of a cohort."""
    draw = random.Random(f"twinward cohort {seed} {index}")
    profile = draw.choices(list(PREVALENCE), weights=list(PREVALENCE.values()))[0]
    age_range = draw.choices(AGE_RANGES, weights=_AGE_WEIGHTS[profile])[0]
    shared: dict[str, Any] = {
        "profile": profile,
        "seed": seed,
        "sex": draw.choice("FM"),
        "age_range": age_range,
        "reference_date": reference_date,
        "index": index,
    }
    visit: Any = carebundle.generate_bundle(**shared)
    history: Any = carebundle.generate_history(**shared, visits=draw.randint(2, 7), interval_days=draw.randint(60, 150))
    # Both name the same patient and practitioner. The history's last visit is the full visit over again, and its
    # conditions hang on an encounter of its own: earlier encounters and their blood pressures are what it adds.
    visit.entry.extend([one for one in history.entry if one.resource["resourceType"] in _OF_A_VISIT][:-2])
    text: str = carebundle.to_json(visit, indent=1)
    return text.encode()


def _patient(index: int, seed: int, reference_date: date) -> list[PatientImport]:
    origin = Origin(f"made-up patients {seed}", Again.UPDATE)
    named = read_bundle(patient_bundle(index, seed, reference_date), OriginNames(origin, FixedClock()))
    return patient_imports(named.bundle, source=f"made-up patient {index + 1} (seed {seed})")
