"""Early-warning scores, to the letter of their publications.

NEWS2: Royal College of Physicians, National Early Warning Score (NEWS) 2, London 2017, charts 1 and 2.
qSOFA: Singer et al., JAMA 315(8):801-810, 2016: respiratory rate of 22 or more, altered mentation, systolic pressure of
100 mmHg or less.

The charts are in whole numbers, and tenths of a degree: values are rounded to that, halves up. A parameter that was not
measured counts 0 and is named: what is computed is then the least the score can be, for no parameter takes from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_Band = tuple[float, int]
"""Up to and including this value, so many points."""
_INF: Final = math.inf
RESPIRATION: Final[tuple[_Band, ...]] = ((8, 3), (11, 1), (20, 0), (24, 2), (_INF, 3))
SPO2_SCALE_1: Final[tuple[_Band, ...]] = ((91, 3), (93, 2), (95, 1), (_INF, 0))
SPO2_SCALE_2_ON_AIR: Final[tuple[_Band, ...]] = ((83, 3), (85, 2), (87, 1), (_INF, 0))
SPO2_SCALE_2_ON_OXYGEN: Final[tuple[_Band, ...]] = ((83, 3), (85, 2), (87, 1), (92, 0), (94, 1), (96, 2), (_INF, 3))
SYSTOLIC: Final[tuple[_Band, ...]] = ((90, 3), (100, 2), (110, 1), (219, 0), (_INF, 3))
PULSE: Final[tuple[_Band, ...]] = ((40, 3), (50, 1), (90, 0), (110, 1), (130, 2), (_INF, 3))
TEMPERATURE: Final[tuple[_Band, ...]] = ((35.0, 3), (36.0, 1), (38.0, 0), (39.0, 1), (_INF, 2))
_BANDS: Final = {
    "respiratory_rate": RESPIRATION,
    "spo2": SPO2_SCALE_1,
    "spo2, scale 2, on air": SPO2_SCALE_2_ON_AIR,
    "spo2, scale 2, on oxygen": SPO2_SCALE_2_ON_OXYGEN,
    "systolic": SYSTOLIC,
    "heart_rate": PULSE,
    "temperature": TEMPERATURE,
}
_CHARTS: Final = tuple((one, one) for one in ("respiratory_rate", "spo2", "systolic", "heart_rate", "temperature"))
"""Each parameter and its chart."""
_CHARTS_2_ON_AIR: Final = tuple((one, "spo2, scale 2, on air" if one == "spo2" else one) for one, _ in _CHARTS)
_CHARTS_2_ON_OXYGEN: Final = tuple((one, "spo2, scale 2, on oxygen" if one == "spo2" else one) for one, _ in _CHARTS)
ON_OXYGEN, NOT_ALERT = 2, 3
RED: Final = 3
_AIR_PERCENT: Final = 21
_FULL_COMA_SCORE: Final = 15


@dataclass(frozen=True, slots=True)
class Score:
    """A score, what each parameter gave, and which were not measured. ``total`` is a lower bound where any was not."""

    total: int
    parts: Mapping[str, int]
    missing: tuple[str, ...]

    @property
    def is_red(self) -> bool:
        """NEWS2's red score: 3 in a single parameter, which wants an urgent look whatever the sum is (chart 3)."""
        return any(points == RED for points in self.parts.values())


def news2(values: Mapping[str, float], *, scale_2: bool = False) -> Score:
    """NEWS2 of signals by name (``live.signals``).

    Supplemental oxygen is a flow above 0 or an inspired fraction above 21 %; where neither was measured the patient
    breathes air. Consciousness is alert at 15 of the Glasgow coma scale, else confusion or less (CVPU).

    Args:
        values: what was measured last.
        scale_2: the SpO2 scale for hypercapnic respiratory failure, which a clinician prescribes.
    """
    oxygen = _has_oxygen(values)
    charts = _CHARTS if not scale_2 else _CHARTS_2_ON_OXYGEN if oxygen else _CHARTS_2_ON_AIR
    parts = {name: _points(chart, values[name]) for name, chart in charts if name in values}
    parts["oxygen"] = ON_OXYGEN if oxygen else 0
    if "glasgow_coma" in values:
        parts["glasgow_coma"] = NOT_ALERT if values["glasgow_coma"] < _FULL_COMA_SCORE else 0
    missing = tuple(name for name in (*(one for one, _ in charts), "glasgow_coma") if name not in values)
    return Score(sum(parts.values()), parts, missing)


def news2_total(values: Mapping[str, float], *, scale_2: bool = False) -> int:
    """The sum of ``news2`` alone: what is looked at with each reading."""
    oxygen = _has_oxygen(values)
    charts = _CHARTS if not scale_2 else _CHARTS_2_ON_OXYGEN if oxygen else _CHARTS_2_ON_AIR
    total = ON_OXYGEN if oxygen else 0
    if values.get("glasgow_coma", _FULL_COMA_SCORE) < _FULL_COMA_SCORE:
        total += NOT_ALERT
    for name, chart in charts:
        value = values.get(name)
        if value is not None:
            total += _points(chart, value)
    return total


def qsofa(values: Mapping[str, float]) -> Score:
    """The quick SOFA score of signals by name."""
    parts: dict[str, int] = {}
    if "respiratory_rate" in values:
        parts["respiratory_rate"] = int(_rounded(values["respiratory_rate"], 0) >= 22)
    if "glasgow_coma" in values:
        parts["glasgow_coma"] = int(values["glasgow_coma"] < _FULL_COMA_SCORE)
    if "systolic" in values:
        parts["systolic"] = int(_rounded(values["systolic"], 0) <= 100)
    missing = tuple(name for name in ("respiratory_rate", "glasgow_coma", "systolic") if name not in parts)
    return Score(sum(parts.values()), parts, missing)


def _has_oxygen(values: Mapping[str, float]) -> bool:
    return values.get("oxygen_flow", 0) > 0 or values.get("fio2", 0) > _AIR_PERCENT


@lru_cache(maxsize=4_096)
def _points(chart: str, value: float) -> int:
    """What a chart gives for a value. Remembered: monitors send the same few values over and over."""
    rounded = _rounded(value, 1 if chart == "temperature" else 0)
    return next(points for upto, points in _BANDS[chart] if rounded <= upto)


def _rounded(value: float, decimals: int) -> float:
    """Halves up: what a chart's reader does; ``round`` would take them to the even neighbour."""
    power = 10.0**decimals
    return math.floor(value * power + 0.5 + 1e-9) / power
