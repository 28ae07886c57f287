"""Signal schemas: which signals a study looks at, in which units and steps, and what counts as usual of each.

A schema is part of a study's protocol, so its fingerprint covers it. Nothing in it depends on a patient: ``low`` and
``high`` are published reference limits, and normalising by them costs no privacy. What is looked at is a tensor
``[patients, steps, signals]``; a table is a schema of one step.

Three are shipped by name. ``icu``: the 24 charted signals of the PhysioNet/CinC Challenge 2012, 48 hours. ``ecg``: one
heartbeat of one lead, 140 samples, z-normalised as in the UCR archive's ECG5000. ``checkup``: what a general practice
measures, the ten years up to the newest measurement; what imported FHIR records of outpatients carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from twinward.core.errors import BadInput
from twinward.core.field_faults import faults_of
from twinward.core.sentences import sentence
from twinward.core.visible_text import visible_line
from twinward.features import units
from twinward.features.icu_signals import SIGNALS
from twinward.features.schema import CARDIOMETABOLIC

MAX_STEPS: Final = 1024
MAX_SIGNALS: Final = 128
_MAX_CELLS: Final = 1 << 15

_Text = Annotated[str, Field(max_length=100)]
_Loinc = Annotated[str, Field(pattern=r"^[0-9]{1,7}-[0-9]$")]
_Limit = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]


class SchemaSignal(BaseModel):
    """One signal.

    Attributes:
        name: a column's name in a file.
        title: what people call it, on one line; it stands in records of patients whom a model finds.
        unit: its UCUM unit; "1" where there is none.
        low, high: published reference limits, in that unit.
        loinc: LOINC codes of FHIR Observations that carry it, preferred first; none where it comes from files only.
        substance: what is measured, where mass and amount are to be converted: a name in ``units.SUBSTANCES``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,62}$")]
    title: _Text = ""
    unit: Annotated[str, Field(min_length=1, max_length=units.MAX_UNIT_CHARS)] = "1"
    low: _Limit
    high: _Limit
    loinc: Annotated[tuple[_Loinc, ...], Field(max_length=16)] = ()
    substance: str = ""

    @model_validator(mode="after")
    def _check(self) -> SchemaSignal:
        if not self.high - self.low >= 1e-9:
            raise ValueError(sentence("{name}: low must be below high", name=self.name))
        for text in (self.title, self.unit):
            if visible_line(text) != text or (text and not text.strip()):
                raise ValueError(
                    sentence("{name}: title and unit are words that can be seen, on one line", name=self.name)
                )
        if self.substance and self.substance not in units.SUBSTANCES:
            known = ", ".join(sorted(units.SUBSTANCES))
            raise ValueError(sentence("{name}: substance is one of {known}, or nothing", name=self.name, known=known))
        return self

    @property
    def middle(self) -> float:
        """The middle of its reference limits."""
        return (self.low + self.high) / 2

    @property
    def half_range(self) -> float:
        """Half the distance between them."""
        return (self.high - self.low) / 2


class SignalSchema(BaseModel):
    """An ordered set of signals over a number of equal steps of time.

    Attributes:
        name: what it is called.
        steps: of a stay, 1 to 1024; 1 is a table, a row for each patient.
        step_hours: how long a step lasts; None where steps are no time on a clock, as the samples of a heartbeat.
            Only a schema with hours, or a table, can be read from FHIR Observations.
        signal: the signals, in the order of the tensor's columns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    step_hours: Annotated[float, Field(gt=0.001, le=100_000, allow_inf_nan=False)] | None = None
    signal: Annotated[tuple[SchemaSignal, ...], Field(min_length=1, max_length=MAX_SIGNALS)]

    @field_validator("signal")
    @classmethod
    def _named_once(cls, signals: tuple[SchemaSignal, ...]) -> tuple[SchemaSignal, ...]:
        names = [one.name.lower() for one in signals]
        if len(set(names)) != len(names):
            raise ValueError(sentence("name each signal once; capital letters make no other name"))
        if not set(names).isdisjoint(RESERVED):
            raise ValueError(
                sentence("{reserved} are columns of a file and no signals", reserved=", ".join(sorted(RESERVED)))
            )
        codes = [code for one in signals for code in one.loinc]
        if len(set(codes)) != len(codes):
            raise ValueError(sentence("a LOINC code stands for one signal"))
        return signals

    @model_validator(mode="after")
    def _check(self) -> SignalSchema:
        if OUTCOME in self.names[:-1] or self.names == (OUTCOME,):
            raise ValueError(sentence("{outcome} is the last signal of those that foretell it", outcome=OUTCOME))
        if self.steps * len(self.signal) > _MAX_CELLS:
            raise ValueError(sentence("steps times signals may be {most} at most", most=_MAX_CELLS))
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The signals' names in order."""
        return tuple(one.name for one in self.signal)

    @property
    def is_table(self) -> bool:
        """Whether a patient is one row."""
        return self.steps == 1

    @property
    def has_outcome(self) -> bool:
        """Whether its last signal is no input but what is to be foretold: 1, 0, or missing."""
        return self.signal[-1].name == OUTCOME

    @property
    def reads_fhir(self) -> bool:
        """Whether FHIR Observations can be read with it."""
        return any(one.loinc for one in self.signal) and (self.step_hours is not None or self.is_table)

    def default_bins(self) -> int:
        """How many bins a stay is cut into unless it is said: the largest divisor of its steps up to 14."""
        return max(bins for bins in range(1, min(self.steps, 14) + 1) if self.steps % bins == 0)


OUTCOME: Final = "outcome"
"""The last signal's name in a schema that has one."""

RESERVED: Final = frozenset({"patient", "step", "label", "group"})
"""Columns of a file that are no signals."""

_FURTHER_CODES: Final = {
    "SysABP": ("8480-6",),
    "DiasABP": ("8462-4",),
    "MAP": ("8478-0",),
    "SaO2": ("59408-5",),
    "BUN": ("6299-2",),
    "Creatinine": ("38483-4",),
    "Glucose": ("2339-0",),
    "HCO3": ("20565-8", "2028-9"),
    "K": ("6298-4",),
    "Na": ("2947-0",),
    "HCT": ("20570-8",),
}
"""Codes of real charts beside the ICU vocabulary's own: the same quantity by a cuff, or in blood."""

_ICU_SUBSTANCES: Final = {"Creatinine": "creatinine", "Glucose": "glucose", "K": "potassium", "Na": "sodium"}

ICU: Final = SignalSchema(
    name="icu",
    steps=48,
    step_hours=1.0,
    signal=tuple(
        SchemaSignal(
            name=one.name,
            title=one.title,
            unit=one.unit,
            low=round(one.middle - one.half_range, 6),
            high=round(one.middle + one.half_range, 6),
            loinc=(one.loinc, *_FURTHER_CODES.get(one.name, ())),
            substance=_ICU_SUBSTANCES.get(one.name, ""),
        )
        for one in SIGNALS
    ),
)
"""What a protocol means that names no schema, so it never changes: earlier protocols and models stand on it."""

ECG: Final = SignalSchema(
    name="ecg",
    steps=140,
    signal=(SchemaSignal(name="lead", title="One lead, z-normalised beat", low=-1.0, high=1.0),),
)

_CHECKUP: Final = {
    "bmi": (18.5, 25.0),
    "systolic_mmhg": (90.0, 130.0),
    "diastolic_mmhg": (60.0, 85.0),
    "heart_rate": (60.0, 100.0),
    "hba1c_percent": (4.0, 5.7),
    "glucose_mg_dl": (70.0, 100.0),
    "cholesterol_mg_dl": (125.0, 200.0),
    "hdl_mg_dl": (40.0, 80.0),
    "ldl_mg_dl": (50.0, 130.0),
    "triglycerides_mg_dl": (40.0, 150.0),
    "creatinine_mg_dl": (0.55, 1.25),
    "sodium_mmol_l": (135.0, 145.0),
    "potassium_mmol_l": (3.5, 5.0),
}
"""Adult reference limits: Kratz et al., NEJM 351:1548 (laboratory); WHO (body mass index); ESC/ESH 2018 (pressures)."""


def _checkup() -> SignalSchema:
    features = {one.name: one for one in CARDIOMETABOLIC.features}
    signals = tuple(
        SchemaSignal(
            name=name,
            title=features[name].title,
            unit=features[name].unit,
            low=low,
            high=high,
            loinc=features[name].loinc,
            substance=features[name].substance,
        )
        for name, (low, high) in _CHECKUP.items()
    )
    return SignalSchema(name="checkup", steps=10, step_hours=8766.0, signal=signals)


CHECKUP: Final = _checkup()

ICU_OUTCOME: Final = SignalSchema(
    name="icu-outcome",
    steps=ICU.steps,
    step_hours=ICU.step_hours,
    signal=(*ICU.signal, SchemaSignal(name=OUTCOME, title="Died in hospital", low=0.375, high=0.625)),
)
"""The ICU's signals and whether the patient died in hospital: 1 or 0 at each step, which a block has as 1 and -1."""

SHIPPED: Final[Mapping[str, SignalSchema]] = MappingProxyType(
    {one.name: one for one in (ICU, ICU_OUTCOME, ECG, CHECKUP)}
)
"""By the name a protocol's file may use instead of the whole schema."""


def schema_of(value: Any) -> Any:
    """A schema by its shipped name; anything else as it is, for pydantic to take or refuse. Raises ``ValueError``."""
    if not isinstance(value, str):
        return value
    if value not in SHIPPED:
        raise ValueError(
            sentence(
                "no schema is shipped by this name; there are {shipped}, or write one: [signals]",
                shipped=", ".join(SHIPPED),
            )
        )
    return SHIPPED[value]


def table_schema(name: str, limits: Mapping[str, tuple[float, float]]) -> SignalSchema:
    """A table of columns without units, each with its reference limits ``(low, high)``.

    Raises:
        BadInput: no schema; says why.
    """
    try:
        signals = tuple(SchemaSignal(name=column, low=low, high=high) for column, (low, high) in limits.items())
        return SignalSchema(name=name, steps=1, signal=signals)
    except ValidationError as error:
        raise BadInput(sentence("no schema can be made of this: {faults}", faults=faults_of(error))) from error
