"""A patient's stay in a schema's steps, of what was measured on the patient: FHIR Observations, as ``Measurement``.

The stay is the newest: its last step ends with the newest measurement of any of the schema's signals, or at a moment
that is given. Of one step and signal the mean counts, of one moment the more final, then the one told later, as for
features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np

from twinward.features.derivation import Measurement, convert
from twinward.features.monitored_stays import Stay
from twinward.features.schema import canonical_code
from twinward.features.signal_schema import SignalSchema

_HOUR_MS: Final = 3_600_000


def build_stay(signals: SignalSchema, measurements: Iterable[Measurement], end_ms: int | None = None) -> Stay | None:
    """Float32 ``[steps, signals]`` in the schema's units, NaN where nothing was measured; None of nothing at all.

    A number in a unit that cannot be converted without guessing is passed over, as is one no float32 can hold.

    Args:
        end_ms: when the last step ends; what was measured then or later is passed over.
    """
    if end_ms is not None:
        measurements = (one for one in measurements if one.at_ms < end_ms)
    standing = _standing(signals, measurements)
    if not standing:
        return None
    sums = np.zeros((signals.steps, len(signals.signal)))
    counts = np.zeros_like(sums)
    newest = max(at_ms for _, at_ms in standing) if end_ms is None else end_ms - 1
    width = (signals.step_hours or math.inf) * _HOUR_MS
    for (column, at_ms), value in standing.items():
        step = signals.steps - 1 - int((newest - at_ms) // width)
        if signals.is_table:
            if at_ms == _newest_of(standing, column):
                sums[0, column], counts[0, column] = value, 1
        elif step >= 0:
            sums[step, column] += value
            counts[step, column] += 1
    stay: Stay = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)
    return stay


def _newest_of(standing: dict[tuple[int, int], float], column: int) -> int:
    return max(at_ms for found, at_ms in standing if found == column)


def _standing(signals: SignalSchema, measurements: Iterable[Measurement]) -> dict[tuple[int, int], float]:
    """The value that stands of each signal and moment."""
    wanted = {
        code: (column, place) for column, one in enumerate(signals.signal) for place, code in enumerate(one.loinc)
    }
    best: dict[tuple[int, int], tuple[tuple[int, int, int], float]] = {}
    for one in measurements:
        found = wanted.get(one.code) or wanted.get(canonical_code(one.code))
        if found is None:
            continue
        column, place = found
        value = convert(one, signals.signal[column].unit, signals.signal[column].substance)
        if value is None or not abs(value) < float(np.finfo(np.float32).max):
            continue
        rank = (one.finality, one.told_ms, -place)
        key = (column, one.at_ms)
        if key not in best or rank > best[key][0]:
            best[key] = (rank, value)
    return {key: value for key, (_, value) in best.items()}
