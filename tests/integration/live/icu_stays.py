"""Public ICU stays as streams of readings, and beside them the published tables by the hour.

PhysioNet/CinC Challenge 2012, sets a and b (ODC-By 1.0): one value an hour and signal over 48 hours, and whether the
patient died in hospital. It is not known when somebody died, nor whether or when anybody at the bedside was worried.
Set a is what the shipped rules' dead bands were looked at on, set b what they are measured on. Both are public.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from tests.integration.live.ward import CARING, FILING, Ward
from twinward.core.clock import iso
from twinward.live.alerts.models import Alert
from twinward.live.intake.lines import MAX_LINES, read_lines

FILE: Final = "icu-stays-2012.npz"
HOUR_MS: Final = 3_600_000
_COLUMNS: Final = {
    "heart_rate": (0, "8867-4", "/min"),
    "systolic": (1, "8480-6", "mm[Hg]"),
    "respiratory_rate": (4, "9279-1", "/min"),
    "temperature": (5, "8310-5", "Cel"),
    "spo2": (6, "2708-6", "%"),
    "fio2": (7, "3150-6", "%"),
    "glasgow_coma": (8, "9269-2", "{score}"),
    "potassium": (18, "2823-3", "mmol/L"),
}
"""Where each signal stands in the file, its code and its unit. Saturation is of arterial blood: no pulse oximetry."""
_PH, _LACTATE = 10, 13
_VALID_HOURS = 4


@dataclass(frozen=True)
class Stay:
    """One stay: what was measured in each hour, whether the patient died, the first hour of shock in the laboratory.

    ``worse_at``: lactate of 4 mmol/L or more, or arterial pH below 7.2, which no shipped rule looks at; None: never.
    """

    hours: tuple[dict[str, float], ...]
    died: bool
    worse_at: int | None

    @property
    def days(self) -> float:
        """From the first hour with a value to the last."""
        measured = [hour for hour, some in enumerate(self.hours) if some]
        return (measured[-1] - measured[0] + 1) / 24 if measured else 0.0


def stays(folder: Path, which: str, most: int) -> list[Stay]:
    """The first stays of a set, ``a`` or ``b``."""
    with np.load(folder / FILE) as found:
        values, died = found[f"X{which}"][:most], found[f"Y{which}"][:most]
    return [_stay(one, bool(end)) for one, end in zip(values, died, strict=True)]


def _stay(values: np.ndarray, died: bool) -> Stay:
    hours = [
        {name: _kept(name, float(row[at])) for name, (at, _, _) in _COLUMNS.items() if not np.isnan(row[at])}
        for row in values
    ]
    with np.errstate(invalid="ignore"):
        worse = np.flatnonzero((values[:, _LACTATE] >= 4) | (values[:, _PH] < 7.2))
    return Stay(tuple(hours), died, int(worse[0]) if len(worse) else None)


def _kept(name: str, value: float) -> float:
    return round(value * 100 if name == "fio2" else value, 2)


def replayed(folder: Path, some: Sequence[Stay]) -> list[list[Alert]]:
    """Each stay's alerts: sent hour by hour to a ward's intake, the rules at work in it; between hours, time is told.

    ``raised_ms`` is from the beginning of the stay.
    """
    ward = Ward(folder)
    begin = ward.clock.now_ms()
    twins = [ward.admit(f"stay-{number}") for number in range(len(some))]
    for number, twin in enumerate(twins):
        ward.live.assign(FILING, f"bed-{number}", twin, begin)
    seq = 0
    for hour in range(max(len(one.hours) for one in some)):
        ward.clock.at_ms = begin + hour * HOUR_MS
        lines: list[bytes] = []
        for number, stay in enumerate(some):
            for name, value in stay.hours[hour].items():
                seq += 1
                _, code, unit = _COLUMNS[name]
                reading = {"seq": seq, "device": f"bed-{number}", "code": code, "value": value, "unit": unit}
                lines.append(json.dumps(reading | {"time": iso(ward.clock.at_ms)}).encode())
        for first in range(0, len(lines), MAX_LINES):
            ward.live.intake.take(FILING, "chart", read_lines(b"\n".join(lines[first : first + MAX_LINES])))
        ward.clock.at_ms += HOUR_MS // 2
        ward.live.watch.tick()
    found = [ward.live.alerts.of(CARING, twin, all_of_them=True) for twin in twins]
    ward.close()
    return [[_since(begin, one) for one in each] for each in found]


def _since(begin_ms: int, alert: Alert) -> Alert:
    return msgspec.structs.replace(alert, raised_ms=alert.raised_ms - begin_ms)


@dataclass(frozen=True)
class Band:
    """A score's alert: raised at a sum, over below another; ``unless`` the one named is up."""

    rule: str
    score: str
    at_least: int
    clear: int
    unless: str = ""


SHIPPED: Final = (
    Band("news2-high", "news2", 7, 5),
    Band("news2-medium", "news2", 5, 4, "news2-high"),
    Band("qsofa", "qsofa", 2, 1),
)
"""What the shipped rules are meant to say of scores, in the order of their file."""
PLAIN: Final = (Band("news2-high", "news2", 7, 7), Band("news2-medium", "news2", 5, 5), Band("qsofa", "qsofa", 2, 2))
"""Each crossing of each published threshold."""


def by_hour(stay: Stay, bands: Sequence[Band]) -> list[tuple[str, int]]:
    """When each rule rises, in milliseconds from the stay's beginning, straight from the published tables.

    A value counts for four hours. It is looked at on the hour, and half an hour later, when the oldest is over.
    """
    up: dict[str, bool] = defaultdict(bool)
    risen: list[tuple[str, int]] = []
    for half in range(2 * len(stay.hours)):
        hour = half // 2
        first = max(0, hour - _VALID_HOURS + half % 2)
        values: dict[str, float] = {}
        for measured in stay.hours[first : hour + 1]:  # what no living patient has goes to quarantine
            values |= {name: one for name, one in measured.items() if name != "temperature" or one >= 10}
        total = {"news2": sum(_news2(values)), "qsofa": sum(_qsofa(values))}
        for band in bands:
            was = up[band.rule]
            up[band.rule] = not up[band.unless] and total[band.score] >= (band.clear if was else band.at_least)
            if up[band.rule] and not was:
                risen.append((band.rule, half * HOUR_MS // 2))
    return risen


def _news2(values: dict[str, float]) -> Iterator[int]:
    """Chart 1 of the Royal College's publication, row by row."""
    whole = partial(_whole, values)
    if (rate := whole("respiratory_rate")) is not None:
        yield 3 if rate <= 8 else 1 if rate <= 11 else 0 if rate <= 20 else 2 if rate <= 24 else 3
    if (saturation := whole("spo2")) is not None:
        yield 3 if saturation <= 91 else 2 if saturation <= 93 else 1 if saturation <= 95 else 0
    if values.get("fio2", 0) > 21:
        yield 2
    if (pressure := whole("systolic")) is not None:
        yield 3 if pressure <= 90 else 2 if pressure <= 100 else 1 if pressure <= 110 else 0 if pressure <= 219 else 3
    if (pulse := whole("heart_rate")) is not None:
        low = 3 if pulse <= 40 else 1 if pulse <= 50 else 0
        yield low or (0 if pulse <= 90 else 1 if pulse <= 110 else 2 if pulse <= 130 else 3)
    if values.get("glasgow_coma", 15) < 15:
        yield 3
    if "temperature" in values:
        tenths = int(np.floor(values["temperature"] * 10 + 0.5 + 1e-6))
        yield 3 if tenths <= 350 else 1 if tenths <= 360 else 0 if tenths <= 380 else 1 if tenths <= 390 else 2


def _qsofa(values: dict[str, float]) -> Iterator[int]:
    """Box 4 of Singer et al. 2016."""
    rate, pressure = _whole(values, "respiratory_rate"), _whole(values, "systolic")
    yield int(rate is not None and rate >= 22)
    yield int(values.get("glasgow_coma", 15) < 15)
    yield int(pressure is not None and pressure <= 100)


def _whole(values: dict[str, float], name: str) -> int | None:
    return int(np.floor(values[name] + 0.5 + 1e-6)) if name in values else None
