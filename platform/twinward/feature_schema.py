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


CARDIOMETABOLIC = FeatureSchema(
    name="cardiometabolic",
    features=(
        Feature(name="age", title="Age", unit="a", low=0, high=110, default=50),
        Feature(name="sex_female", title="Female (1) or not (0)", unit="1", low=0, high=1, default=0),
        Feature(name="bmi", title="Body mass index", unit="kg/m2", low=12, high=60, loinc=("39156-5",), default=25),
        Feature(
            name="systolic_mmhg",
            title="Systolic pressure",
            unit="mm[Hg]",
            low=70,
            high=220,
            loinc=("8480-6",),
            default=120,
        ),
        Feature(
            name="diastolic_mmhg",
            title="Diastolic pressure",
            unit="mm[Hg]",
            low=40,
            high=130,
            loinc=("8462-4",),
            default=78,
        ),
        Feature(name="heart_rate", title="Heart rate", unit="/min", low=30, high=200, loinc=("8867-4",), default=72),
        Feature(name="hba1c_percent", title="HbA1c", unit="%", low=4, high=15, loinc=("4548-4",), default=5.4),
        Feature(
            name="glucose_mg_dl",
            title="Glucose",
            unit="mg/dL",
            low=40,
            high=400,
            loinc=("2339-0", "2345-7", "1558-6"),
            default=95,
        ),
        Feature(
            name="cholesterol_mg_dl",
            title="Total cholesterol",
            unit="mg/dL",
            low=80,
            high=400,
            loinc=("2093-3",),
            default=185,
        ),
        Feature(
            name="hdl_mg_dl", title="HDL cholesterol", unit="mg/dL", low=15, high=120, loinc=("2085-9",), default=52
        ),
        Feature(
            name="ldl_mg_dl",
            title="LDL cholesterol",
            unit="mg/dL",
            low=20,
            high=300,
            loinc=("18262-6", "13457-7", "2089-1"),
            default=110,
        ),
        Feature(
            name="triglycerides_mg_dl",
            title="Triglycerides",
            unit="mg/dL",
            low=30,
            high=800,
            loinc=("2571-8",),
            default=120,
        ),
        Feature(
            name="creatinine_mg_dl",
            title="Creatinine",
            unit="mg/dL",
            low=0.2,
            high=10,
            loinc=("38483-4", "2160-0"),
            default=0.9,
        ),
        Feature(
            name="egfr",
            title="Estimated GFR",
            unit="mL/min/{1.73_m2}",
            low=0,
            high=150,
            loinc=("33914-3", "98979-8", "48642-3"),
            default=95,
        ),
        Feature(
            name="sodium_mmol_l",
            title="Sodium",
            unit="mmol/L",
            low=110,
            high=170,
            loinc=("2947-0", "2951-2"),
            default=140,
        ),
        Feature(
            name="potassium_mmol_l",
            title="Potassium",
            unit="mmol/L",
            low=2,
            high=8,
            loinc=("6298-4", "2823-3"),
            default=4.2,
        ),
    ),
)
"""The schema a new node starts with."""
