"""Measurements and the units they come in.

A number in an unknown unit is no number: ``convert`` gives None where ``twinward.features.units`` refuses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

from twinward.core.errors import BadInput
from twinward.features import units
from twinward.features.unit_spellings import understood


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number measured on a patient: LOINC code, value, UCUM unit, when (ms since the epoch).

    Attributes:
        source: the name of the record that says so, e.g. ``Observation/8b1f``.
        finality: of two readings of one moment the more final counts: 0 preliminary, 1 final, 2 corrected.
        told_ms: when it was made available; 0 where that is not known.
    """

    code: str
    value: float
    unit: str
    at_ms: int
    source: str = ""
    finality: int = 1
    told_ms: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """What features need to know of a person; None where it is not known."""

    birth_date: date | None = None
    female: bool | None = None
    died: date | None = None
    is_dead: bool = False


EQUIVALENT_CODES = {
    "8459-0": "8480-6",  # systolic pressure, sitting
    "8460-8": "8480-6",  # standing
    "8461-6": "8480-6",  # supine
    "76534-7": "8480-6",  # non-invasive
    "76215-3": "8480-6",  # invasive
    "8453-3": "8462-4",  # diastolic pressure, sitting
    "8454-1": "8462-4",  # standing
    "8455-8": "8462-4",  # supine
    "76535-4": "8462-4",  # non-invasive
    "76213-8": "8462-4",  # invasive
    "8889-8": "8867-4",  # heart rate, pulse oximetry
    "8893-0": "8867-4",  # palpation
    "40443-4": "8867-4",  # resting
    "76282-3": "8867-4",  # beat to beat, ECG
    "59261-8": "4548-4",  # HbA1c, IFCC
    "17856-6": "4548-4",  # HPLC
    "4549-2": "4548-4",  # electrophoresis
    "17855-8": "4548-4",  # calculated
    "14749-6": "2345-7",  # glucose, moles/volume in serum or plasma
    "74774-1": "2345-7",  # serum, plasma or blood
    "15074-8": "2339-0",  # glucose, moles/volume in blood
    "2340-8": "2339-0",  # test strip
    "41653-7": "2339-0",  # glucometer, capillary
    "14743-9": "2339-0",  # the same, moles/volume
    "32016-8": "2339-0",  # capillary
    "14771-0": "1558-6",  # fasting glucose, moles/volume
    "76629-5": "1558-6",  # in blood, moles/volume
    "14647-2": "2093-3",  # cholesterol, moles/volume
    "14646-4": "2085-9",  # HDL cholesterol, moles/volume
    "49130-8": "2085-9",  # electrophoresis
    "22748-8": "18262-6",  # LDL cholesterol, moles/volume
    "69419-0": "18262-6",  # direct assay, moles/volume
    "18261-8": "18262-6",  # ultracentrifugation
    "39469-2": "13457-7",  # LDL cholesterol, calculated, moles/volume
    "14927-8": "2571-8",  # triglycerides, moles/volume
    "3043-7": "2571-8",  # in blood
    "14682-9": "2160-0",  # creatinine, moles/volume
    "59826-8": "38483-4",  # creatinine in blood, moles/volume
    "62238-1": "33914-3",  # estimated GFR, CKD-EPI
    "77147-7": "33914-3",  # MDRD
    "69405-9": "33914-3",  # unnamed formula
    "94677-2": "33914-3",  # CKD-EPI with cystatin C
    "32717-1": "2947-0",  # sodium, arterial blood
    "39791-9": "2947-0",  # venous blood
    "77139-4": "2951-2",  # serum, plasma or blood
    "32713-0": "6298-4",  # potassium, arterial blood
    "39789-3": "6298-4",  # venous blood
    "77142-8": "2823-3",  # serum, plasma or blood
}
"""LOINC codes of the same property, each with the code of a feature schema that it is looked up by: in moles, by
another method, in another posture, vessel or specimen of the same sense. Not here: what is no such number for everybody
(percentiles, estimated average glucose, eGFR by race), and other specimens (urine)."""


def canonical_code(code: str) -> str:
    """The LOINC code a measurement is looked up by: its equivalent in a feature schema, else itself."""
    return EQUIVALENT_CODES.get(code, code)


def convert(measurement: Measurement, unit: str, substance: str = "") -> float | None:
    """The value in ``unit`` (UCUM), or None if it cannot be had without guessing. See ``twinward.features.units``.

    A unit that lacks "per 1.73 m2" is completed where the LOINC code, by which the substance is known, says it.
    """
    if not math.isfinite(measurement.value):
        return None
    given = measurement.unit
    by_code = units.SUBSTANCES.get(substance, units.Substance()).per_body_surface
    if by_code and given.strip() and not understood(given).per_body_surface:
        given = f"{given.strip()}/{{1.73_m2}}"
    try:
        return units.convert(measurement.value, given, unit, substance=substance)
    except BadInput:
        return None
