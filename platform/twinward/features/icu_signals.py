"""The signals of an intensive-care chart: those of the PhysioNet/CinC Challenge 2012.

``middle`` and ``half_range`` are published adult reference intervals (Kratz et al., NEJM 351:1548, "Laboratory
Reference Values"; usual bedside ranges for vitals): normalising by them asks nothing of any patient, so it costs no
privacy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Signal:
    """One charted signal: its short name, LOINC code, UCUM unit, and adult reference interval."""

    name: str
    title: str
    loinc: str
    unit: str
    middle: float
    half_range: float


SIGNALS: Final = (
    Signal("HR", "Heart rate", "8867-4", "/min", 80, 20),
    Signal("SysABP", "Invasive systolic pressure", "76215-3", "mm[Hg]", 120, 20),
    Signal("DiasABP", "Invasive diastolic pressure", "76213-8", "mm[Hg]", 65, 15),
    Signal("MAP", "Invasive mean pressure", "76214-6", "mm[Hg]", 85, 15),
    Signal("RespRate", "Respiratory rate", "9279-1", "/min", 16, 4),
    Signal("Temp", "Body temperature", "8310-5", "Cel", 37, 0.7),
    Signal("SaO2", "Arterial oxygen saturation", "2708-6", "%", 97, 3),
    Signal("FiO2", "Inspired oxygen fraction", "3150-6", "1", 0.4, 0.2),
    Signal("GCS", "Glasgow coma score", "9269-2", "{score}", 14, 2),
    Signal("Urine", "Urine output", "9187-6", "mL", 100, 80),
    Signal("pH", "Arterial pH", "2744-1", "[pH]", 7.4, 0.05),
    Signal("PaO2", "Arterial oxygen pressure", "2703-7", "mm[Hg]", 100, 40),
    Signal("PaCO2", "Arterial carbon dioxide pressure", "2019-8", "mm[Hg]", 40, 5),
    Signal("Lactate", "Lactate", "2524-7", "mmol/L", 1.2, 0.8),
    Signal("BUN", "Blood urea nitrogen", "3094-0", "mg/dL", 14, 7),
    Signal("Creatinine", "Creatinine", "2160-0", "mg/dL", 0.9, 0.35),
    Signal("Glucose", "Glucose", "2345-7", "mg/dL", 105, 35),
    Signal("HCO3", "Bicarbonate", "1963-8", "mmol/L", 25, 3),
    Signal("K", "Potassium", "2823-3", "mmol/L", 4.2, 0.7),
    Signal("Na", "Sodium", "2951-2", "mmol/L", 140, 5),
    Signal("WBC", "White cells", "6690-2", "10*3/uL", 7.5, 3.5),
    Signal("Platelets", "Platelets", "777-3", "10*3/uL", 250, 100),
    Signal("HCT", "Haematocrit", "4544-3", "%", 40, 6),
    Signal("Mg", "Magnesium", "19123-9", "mg/dL", 2, 0.3),
)
"""The signals of a stay, in the order of its columns."""
