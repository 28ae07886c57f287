"""The public feature schema: how clinical values become the small integers that encrypted search works on.

A hospital publishes it, a vendor normalises queries with it, so both sides round alike. Nothing in it depends on
any patient: ranges are clinical, not measured. Quantisation: ``level = round((clip(x, low, high) - low) / (high -
low) * (levels - 1))``, half away from zero, so a value is off by at most half a step.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from twinward.errors import BadInput


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

    @model_validator(mode="after")
    def _check(self) -> Feature:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self.name}: low must be below high")
        if not self.low <= self.default <= self.high:
            raise ValueError(f"{self.name}: default must lie in [low, high]")
        return self


class FeatureSchema(BaseModel):
    """An ordered set of features and the number of quantisation levels they share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int = 1
    levels: Annotated[int, Field(ge=2, le=1024)] = 128
    features: tuple[Feature, ...]

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

    def fingerprint(self) -> str:
        """SHA-256 hex of the schema's JSON: what query and cohort are matched by."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def quantise(self, values: Mapping[str, float]) -> list[int]:
        """Clinical values to levels, in schema order; a missing feature takes its default.

        Raises:
            BadInput: for a feature the schema does not know, or a value that is not a finite number.
        """
        unknown = sorted(set(values) - {feature.name for feature in self.features})
        if unknown:
            known = ", ".join(feature.name for feature in self.features)
            raise BadInput(f"unknown feature {unknown[0]!r}", hint=f"this schema knows: {known}")
        return [self._level(feature, values.get(feature.name, feature.default)) for feature in self.features]

    def step(self, name: str) -> float:
        """One quantisation step of a feature, in its own unit."""
        feature = next((f for f in self.features if f.name == name), None)
        if feature is None:
            raise BadInput(f"unknown feature {name!r}")
        return (feature.high - feature.low) / (self.levels - 1)

    def _level(self, feature: Feature, value: float) -> int:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise BadInput(f"{feature.name} must be a finite number in {feature.unit}")
        share = (min(max(float(value), feature.low), feature.high) - feature.low) / (feature.high - feature.low)
        return math.floor(share * (self.levels - 1) + 0.5)


def _feature(name: str, title: str, unit: str, low: float, high: float, default: float, *loinc: str) -> Feature:
    return Feature(name=name, title=title, unit=unit, low=low, high=high, default=default, loinc=loinc)


CARDIOMETABOLIC = FeatureSchema(
    name="cardiometabolic",
    features=(
        _feature("age", "Age", "a", 0, 110, 50),
        _feature("sex_female", "Female (1) or not (0)", "1", 0, 1, 0),
        _feature("bmi", "Body mass index", "kg/m2", 12, 60, 25, "39156-5"),
        _feature("systolic_mmhg", "Systolic pressure", "mm[Hg]", 70, 220, 120, "8480-6"),
        _feature("diastolic_mmhg", "Diastolic pressure", "mm[Hg]", 40, 130, 78, "8462-4"),
        _feature("heart_rate", "Heart rate", "/min", 30, 200, 72, "8867-4"),
        _feature("hba1c_percent", "HbA1c", "%", 4, 15, 5.4, "4548-4"),
        _feature("glucose_mg_dl", "Glucose", "mg/dL", 40, 400, 95, "2339-0", "2345-7", "1558-6"),
        _feature("cholesterol_mg_dl", "Total cholesterol", "mg/dL", 80, 400, 185, "2093-3"),
        _feature("hdl_mg_dl", "HDL cholesterol", "mg/dL", 15, 120, 52, "2085-9"),
        _feature("ldl_mg_dl", "LDL cholesterol", "mg/dL", 20, 300, 110, "18262-6", "13457-7", "2089-1"),
        _feature("triglycerides_mg_dl", "Triglycerides", "mg/dL", 30, 800, 120, "2571-8"),
        _feature("creatinine_mg_dl", "Creatinine", "mg/dL", 0.2, 10, 0.9, "38483-4", "2160-0"),
        _feature("egfr", "Estimated GFR", "mL/min/{1.73_m2}", 0, 150, 95, "33914-3", "98979-8", "48642-3"),
        _feature("sodium_mmol_l", "Sodium", "mmol/L", 110, 170, 140, "2947-0", "2951-2"),
        _feature("potassium_mmol_l", "Potassium", "mmol/L", 2, 8, 4.2, "6298-4", "2823-3"),
    ),
)
"""The schema a new node starts with."""
