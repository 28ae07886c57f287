"""Measurements and the units they come in.

``convert`` knows the spellings and units that real records use for the features of ``twinward.feature_schema``.
What it does not know it refuses: a number in an unknown unit is no number. Factors: molar masses from PubChem
(glucose 180.156, cholesterol 386.65, tripalmitin-equivalent triglycerides 885.7, creatinine 113.12 g/mol); HbA1c by
the IFCC–NGSP master equation (NGSP % = 0.09148 * IFCC mmol/mol + 2.152, Hoelzel et al., Clin Chem 50:166, 2004).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date


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

_SPELLINGS = {
    "mmhg": "mm[Hg]",
    "mm hg": "mm[Hg]",
    "bpm": "/min",
    "beats/min": "/min",
    "beats/minute": "/min",
    "{beats}/min": "/min",
    "1/min": "/min",
    "kg/m^2": "kg/m2",
    "kg/m²": "kg/m2",
    "ml/min/1.73m2": "mL/min/{1.73_m2}",
    "ml/min/1.73_m2": "mL/min/{1.73_m2}",
    "ml/min/{1.73_m2}": "mL/min/{1.73_m2}",
    "ml/min/{1.73m2}": "mL/min/{1.73_m2}",
    "mg/dl": "mg/dL",
    "mmol/l": "mmol/L",
    "meq/l": "meq/L",
    "umol/l": "umol/L",
    "µmol/l": "umol/L",
    "μmol/l": "umol/L",
    "g/l": "g/L",
    "percent": "%",
    "{percent}": "%",
}
"""Other spellings, lower-cased, with the UCUM unit they mean."""

_GLUCOSE = ("2339-0", "2345-7", "1558-6")
_CHOLESTEROL = ("2093-3", "2085-9", "18262-6", "13457-7", "2089-1")
_EGFR = ("33914-3", "98979-8", "48642-3")
_MONOVALENT = ("2947-0", "2951-2", "6298-4", "2823-3")

# (LOINC, unit it came in, unit wanted) -> (factor, offset): wanted = factor * value + offset
_CONVERSIONS: dict[tuple[str, str, str], tuple[float, float]] = {
    **{(code, "mmol/L", "mg/dL"): (18.0156, 0.0) for code in _GLUCOSE},
    **{(code, "mmol/L", "mg/dL"): (38.665, 0.0) for code in _CHOLESTEROL},
    ("2571-8", "mmol/L", "mg/dL"): (88.57, 0.0),
    ("2160-0", "umol/L", "mg/dL"): (1 / 88.40, 0.0),
    ("38483-4", "umol/L", "mg/dL"): (1 / 88.40, 0.0),
    ("4548-4", "mmol/mol", "%"): (0.09148, 2.152),
    # One milliequivalent of a monovalent ion is one millimole.
    **{(code, "meq/L", "mmol/L"): (1.0, 0.0) for code in _MONOVALENT},
    # The LOINC code already says "per 1.73 square metres"; Synthea leaves it out of the unit.
    **{(code, "mL/min", "mL/min/{1.73_m2}"): (1.0, 0.0) for code in _EGFR},
}


def canonical_code(code: str) -> str:
    """The LOINC code a measurement is looked up by: a molar code's mass counterpart, else itself."""
    return EQUIVALENT_CODES.get(code, code)


def convert(measurement: Measurement, unit: str) -> float | None:
    """The value in ``unit`` (UCUM), or None if it cannot be had without guessing."""
    if not math.isfinite(measurement.value):
        return None
    given = _SPELLINGS.get(measurement.unit.strip().lower(), measurement.unit.strip())
    if given == unit:
        return measurement.value
    rule = _CONVERSIONS.get((canonical_code(measurement.code), given, unit))
    return None if rule is None else rule[0] * measurement.value + rule[1]
