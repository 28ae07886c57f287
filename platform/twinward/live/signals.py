"""The signals that are taken: a name, its codes, one UCUM unit each is kept in, the category it falls under.

Codes are LOINC's (https://loinc.org) and, for what monitors send, MDC's (ISO/IEEE 11073-10101, as in IHE PCD). A value
beyond ``possible`` is no measurement of a living patient: it is kept apart, never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from twinward.core.errors import BadInput
from twinward.core.vocabulary import Category
from twinward.features.units import convert

LOINC: Final = "http://loinc.org"
MDC: Final = "urn:iso:std:iso:11073:10101"
_DECIMALS: Final = 4
"""Of a value that was converted: 98.6 [degF] is 37 Cel, not 36.99999999999994."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal.

    Attributes:
        name: as it is asked for.
        title: as people read it.
        loinc: its codes; the first is the one it is shown with.
        mdc: what monitors call it.
        unit: UCUM, of everything that is kept.
        category: whose key seals it.
        possible: lowest and highest value taken, in ``unit``.
        substance: as ``features.units`` names it, where mass and amount are converted.
    """

    name: str
    title: str
    loinc: tuple[str, ...]
    unit: str
    category: Category
    possible: tuple[float, float]
    mdc: tuple[str, ...] = ()
    substance: str = ""

    def value_of(self, value: float, unit: str) -> float:
        """A value in this signal's unit. Raises ``UnitUnknown``; ``BadInput`` beyond what is possible."""
        kept = value
        if unit != self.unit:
            kept = round(convert(value, unit, self.unit, substance=self.substance), _DECIMALS)
        if not self.possible[0] <= kept <= self.possible[1]:
            raise BadInput("the value is beyond what can be measured of this signal")
        return kept


_V, _L, _M = Category.VITALS, Category.LABS, Category.MONITORING

SIGNALS: Final = (
    Signal("heart_rate", "Heart rate", ("8867-4",), "/min", _V, (0, 400), ("147842", "149530")),
    Signal("respiratory_rate", "Respiratory rate", ("9279-1",), "/min", _V, (0, 200), ("151562",)),
    Signal("spo2", "Oxygen saturation", ("59408-5", "2708-6"), "%", _V, (0, 100), ("150456",)),
    Signal("systolic", "Systolic pressure", ("8480-6",), "mm[Hg]", _V, (0, 400), ("150021",)),
    Signal("diastolic", "Diastolic pressure", ("8462-4",), "mm[Hg]", _V, (0, 300), ("150022",)),
    Signal("mean_pressure", "Mean pressure", ("8478-0",), "mm[Hg]", _V, (0, 350), ("150023",)),
    Signal("arterial_systolic", "Invasive systolic pressure", ("76215-3",), "mm[Hg]", _V, (-50, 400)),
    Signal("arterial_diastolic", "Invasive diastolic pressure", ("76213-8",), "mm[Hg]", _V, (-50, 300)),
    Signal("arterial_mean", "Invasive mean pressure", ("76214-6",), "mm[Hg]", _V, (-50, 350)),
    Signal("temperature", "Temperature", ("8310-5",), "Cel", _V, (10, 50), ("150344",)),
    Signal("glasgow_coma", "Glasgow coma score", ("9269-2",), "{score}", _V, (3, 15)),
    Signal("oxygen_flow", "Inhaled oxygen flow", ("3151-8",), "L/min", _M, (0, 100)),
    Signal("fio2", "Inspired oxygen", ("3150-6",), "%", _M, (0, 100)),
    Signal("urine", "Urine output", ("9187-6",), "mL", _M, (0, 10_000)),
    Signal("lactate", "Lactate", ("2524-7",), "mmol/L", _L, (0, 60)),
    Signal("glucose", "Glucose", ("15074-8", "2345-7"), "mmol/L", _L, (0, 150), substance="glucose"),
    Signal("potassium", "Potassium", ("2823-3",), "mmol/L", _L, (0, 20), substance="potassium"),
    Signal("sodium", "Sodium", ("2951-2",), "mmol/L", _L, (50, 250), substance="sodium"),
    Signal("creatinine", "Creatinine", ("2160-0", "14682-9"), "mg/dL", _L, (0, 60), substance="creatinine"),
    Signal("white_cells", "White cells", ("6690-2",), "10*3/uL", _L, (0, 1000)),
    Signal("platelets", "Platelets", ("777-3",), "10*3/uL", _L, (0, 5000)),
)
"""Every signal, in the order in which they are shown."""

BY_NAME: Final[Mapping[str, Signal]] = MappingProxyType({one.name: one for one in SIGNALS})
LIVE_CATEGORIES: Final = frozenset(one.category for one in SIGNALS)
_BY_CODE: Final[Mapping[str, Signal]] = MappingProxyType(
    {code: one for one in SIGNALS for code in one.loinc}
    | {f"{LOINC}|{code}": one for one in SIGNALS for code in one.loinc}
    | {f"{MDC}|{code}": one for one in SIGNALS for code in one.mdc}
)


def signal_of(code: str) -> Signal | None:
    """The signal of a code: LOINC's alone, or ``system|code`` as FHIR writes a token. None where it is none."""
    return _BY_CODE.get(code)
