"""The public feature schema: how clinical values become the small integers that encrypted search works on.

A hospital publishes it, a vendor normalises queries with it, so both sides round alike. Nothing in it depends on
any patient: ranges are clinical, not measured. Quantisation: ``level = round((clip(x, low, high) - low) / (high -
low) * (levels - 1))``, half away from zero.

**Error bounds.** A value within its range is off by at most half a step. Two patients' difference in a feature is
off by at most one level, so by the triangle inequality their distance, as a root-mean-square share of the ranges
(``Threshold.share``; weights included), is off by at most ``share_error = 1 / (levels - 1)``: whoever is nearer than
``threshold - share_error`` is certainly found, whoever is farther than ``threshold + share_error`` certainly not.
Values outside a range count as its end. Scoring under encryption adds nothing to this: it is exact.

**Missing values.** On the hospital's side a feature without a usable measurement takes its ``default``, a clinically
unremarkable value; a patient with fewer than ``minimum_present`` measured features enters no cohort. In a query a
feature that is left out does not count at all (weight 0).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from twinward.core.errors import BadInput
from twinward.features import units
from twinward.features.codes import NO_CODES, RECORDED_LEVELS, CodeList
from twinward.features.facets import Facet, Sites

Value: TypeAlias = float | tuple[float | str, str]
"""A number in the feature's own unit, or a number and the UCUM unit it is in: ``("66", "mmol/mol")``."""


class Feature(BaseModel):
    """One numeric feature: where it comes from, its unit (UCUM), its clinical range, its quantisation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    title: str
    unit: str
    low: float
    high: float
    loinc: tuple[str, ...] = ()
    """LOINC codes that supply it, first match wins; empty for a derived feature such as age."""
    default: float
    """What stands in for a missing value: a clinically unremarkable one."""
    substance: str = ""
    """What is measured, where units of mass and amount are to be understood: a name in ``units.SUBSTANCES``."""

    @model_validator(mode="after")
    def _check(self) -> Feature:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.name}: low must be below high")
        if not self.low <= self.default <= self.high:
            raise ValueError(f"{self.name}: default must lie in [low, high]")
        if self.substance and self.substance not in units.SUBSTANCES:
            raise ValueError(f"{self.name}: unknown substance")
        return self


class FeatureSchema(BaseModel):
    """An ordered set of features and the number of quantisation levels they share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int = 1
    levels: Annotated[int, Field(ge=2, le=1024)] = 128
    features: tuple[Feature, ...]
    minimum_present: Annotated[int, Field(ge=1)] = 1
    """How many features must have been measured on a patient for the patient to enter a cohort."""
    codes: Annotated[CodeList, Field(exclude=True)] = NO_CODES
    """Coded features beside the numeric ones. They have a fingerprint of their own and stand in no message with these:
    distances are of numbers alone."""
    facets: Annotated[tuple[Facet, ...], Field(exclude=True)] = ()
    """Public facets that queries may be filtered by; told beside the schema, and no part of it."""
    sites: Annotated[Sites, Field(exclude=True)] = ()
    """What each site's organisation is called in patients' records. Stays here."""

    @model_validator(mode="after")
    def _check(self) -> FeatureSchema:
        names = [feature.name for feature in self.features]
        if not names or len(set(names)) != len(names):
            raise ValueError("a schema needs at least one feature and no name twice")
        return self

    @property
    def dimension(self) -> int:
        """How many features there are."""
        return len(self.features)

    @property
    def eligibility_levels(self) -> tuple[int, ...]:
        """How many levels criteria tell apart of each feature (one is "not known"), and then of each coded feature."""
        return (self.levels + 1,) * self.dimension + (RECORDED_LEVELS,) * len(self.codes)

    def fingerprint(self) -> str:
        """SHA-256 hex of the schema's JSON: what query and cohort are matched by."""
        return self._fingerprint

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> FeatureSchema:
        """A copy, with other values where ``update`` says so; its fingerprint is its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("_fingerprint", None)  # pydantic copies what was cached along with the fields
        return copied

    @cached_property
    def _fingerprint(self) -> str:
        # Not a private attribute: those count in ``==``; a schema that was asked would equal none that was not.
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def share_error(self) -> float:
        """How far quantisation can move a distance, as a root-mean-square share of the ranges."""
        return 1 / (self.levels - 1)

    def in_own_units(self, values: Mapping[str, Value]) -> dict[str, float]:
        """Values with units, as numbers in the schema's own units.

        Raises:
            BadInput: for an unknown feature, a unit that cannot be converted, or what is no number.
        """
        return {name: self._in_unit(self.feature(name), value) for name, value in values.items()}

    def feature(self, name: str) -> Feature:
        """The feature of a name. Raises ``BadInput`` where there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        known = ", ".join(feature.name for feature in self.features)
        raise BadInput(f"unknown feature {name[:64]!r}", hint=f"this schema knows: {known}")

    def quantise(self, values: Mapping[str, float]) -> list[int]:
        """Clinical values to levels, in schema order; a missing feature takes its default.

        Raises:
            BadInput: for a feature the schema does not know, or a value that is not a finite number.
        """
        for name in sorted(values):
            self.feature(name)
        return [self._level(feature, values.get(feature.name, feature.default)) for feature in self.features]

    def step(self, name: str) -> float:
        """One quantisation step of a feature, in its own unit."""
        feature = self.feature(name)
        return (feature.high - feature.low) / (self.levels - 1)

    def _in_unit(self, feature: Feature, value: Value) -> float:
        if not isinstance(value, tuple | list):
            return value
        if len(value) != 2 or not isinstance(value[1], str) or isinstance(value[0], bool):
            raise BadInput(f"{feature.name}: a number and its unit are expected", hint='for instance (66, "mmol/mol")')
        try:
            return units.convert(_number(feature, value[0]), value[1], feature.unit, substance=feature.substance)
        except BadInput as error:
            raise BadInput(f"{feature.name}: {error}", hint=error.hint) from None

    def _level(self, feature: Feature, value: float) -> int:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise BadInput(f"{feature.name} must be a finite number in {feature.unit}")
        share = (min(max(float(value), feature.low), feature.high) - feature.low) / (feature.high - feature.low)
        return math.floor(share * (self.levels - 1) + 0.5)


def _number(feature: Feature, number: float | str) -> float:
    try:
        return float(number)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(f"{feature.name} must be a number") from None


def _feature(
    name: str, title: str, unit: str, low: float, high: float, default: float, *loinc: str, of: str = ""
) -> Feature:
    return Feature(name=name, title=title, unit=unit, low=low, high=high, default=default, loinc=loinc, substance=of)


CARDIOMETABOLIC = FeatureSchema(
    name="cardiometabolic",
    version=2,
    features=(
        _feature("age", "Age", "a", 0, 110, 50),
        _feature("sex_female", "Female (1) or not (0)", "1", 0, 1, 0),
        _feature("bmi", "Body mass index", "kg/m2", 12, 60, 25, "39156-5"),
        _feature("systolic_mmhg", "Systolic pressure", "mm[Hg]", 70, 220, 120, "8480-6"),
        _feature("diastolic_mmhg", "Diastolic pressure", "mm[Hg]", 40, 130, 78, "8462-4"),
        _feature("heart_rate", "Heart rate", "/min", 30, 200, 72, "8867-4"),
        _feature("hba1c_percent", "HbA1c", "%", 4, 15, 5.4, "4548-4", of="hba1c"),
        _feature("glucose_mg_dl", "Glucose", "mg/dL", 40, 400, 95, "2339-0", "2345-7", "1558-6", of="glucose"),
        _feature("cholesterol_mg_dl", "Total cholesterol", "mg/dL", 80, 400, 185, "2093-3", of="cholesterol"),
        _feature("hdl_mg_dl", "HDL cholesterol", "mg/dL", 15, 120, 52, "2085-9", of="cholesterol"),
        _feature(
            "ldl_mg_dl", "LDL cholesterol", "mg/dL", 20, 300, 110, "18262-6", "13457-7", "2089-1", of="cholesterol"
        ),
        _feature("triglycerides_mg_dl", "Triglycerides", "mg/dL", 30, 800, 120, "2571-8", of="triglycerides"),
        _feature("creatinine_mg_dl", "Creatinine", "mg/dL", 0.2, 10, 0.9, "38483-4", "2160-0", of="creatinine"),
        _feature("egfr", "Estimated GFR", "mL/min/{1.73_m2}", 0, 150, 95, "33914-3", "98979-8", "48642-3", of="egfr"),
        _feature("sodium_mmol_l", "Sodium", "mmol/L", 110, 170, 140, "2947-0", "2951-2", of="sodium"),
        _feature("potassium_mmol_l", "Potassium", "mmol/L", 2, 8, 4.2, "6298-4", "2823-3", of="potassium"),
    ),
)
"""The schema a new node starts with."""

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
