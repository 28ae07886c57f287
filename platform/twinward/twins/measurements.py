"""Measurements and the units they come in.

A number in an unknown unit is no number: ``convert`` gives None where ``twinward.units`` refuses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from twinward import units
from twinward.errors import BadInput


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number measured on a patient: LOINC code, value, UCUM unit, when (ms since the epoch)."""

    code: str
    value: float
    unit: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Person:
    """What features need to know of a person; None where it is not known."""

    birth_date: date | None = None
    female: bool | None = None


EQUIVALENT_CODES = {
    "14749-6": "2345-7",  # glucose, moles/volume in serum or plasma
    "15074-8": "2339-0",  # glucose, moles/volume in blood
    "14771-0": "1558-6",  # fasting glucose, moles/volume
    "14647-2": "2093-3",  # cholesterol
    "14646-4": "2085-9",  # HDL cholesterol
    "22748-8": "18262-6",  # LDL cholesterol, direct
    "39469-2": "13457-7",  # LDL cholesterol, calculated
    "14927-8": "2571-8",  # triglycerides
    "14682-9": "2160-0",  # creatinine
    "59261-8": "4548-4",  # HbA1c, IFCC
}
"""LOINC codes of the same property in moles, each with the code of its mass counterpart."""


def canonical_code(code: str) -> str:
    """The LOINC code a measurement is looked up by: a molar code's mass counterpart, else itself."""
    return EQUIVALENT_CODES.get(code, code)


def convert(measurement: Measurement, unit: str, substance: str = "") -> float | None:
    """The value in ``unit`` (UCUM), or None if it cannot be had without guessing. See ``twinward.units``."""
    if not math.isfinite(measurement.value):
        return None
    try:
        return units.convert(measurement.value, measurement.unit, unit, substance=substance)
    except BadInput:
        return None
