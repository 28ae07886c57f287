"""A stay as a model sees it, of live series: as ``features.stay_building`` makes it of records, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from twinward.features.derivation import Measurement
from twinward.features.derivation import convert as convert_measured
from twinward.features.monitored_stays import Stay
from twinward.features.schema import canonical_code
from twinward.features.signal_schema import SchemaSignal, SignalSchema
from twinward.features.units import UnitUnknown, convert
from twinward.live.signals import Signal, signal_of
from twinward.live.storage.columns import Columns
from twinward.live.timeseries import joined

_HOUR_MS: Final = 3_600_000
_ARTEFACT: Final = 2


def begin_of(schema: SignalSchema, end_ms: int) -> int:
    """When a stay begins that ends then. The schema has hours (``require_live``)."""
    return end_ms - round(schema.steps * (schema.step_hours or 0.0) * _HOUR_MS)


def measuring(one: SchemaSignal) -> list[Signal]:
    """The live signals that a column is made of, the preferred first."""
    found = [signal for code in one.loinc if (signal := signal_of(code)) is not None]
    return list(dict.fromkeys(found))


def newest_charted(schema: SignalSchema, charted: Iterable[Measurement]) -> dict[str, tuple[int, float]]:
    """By live signal, the newest of what records say was measured: when, and the value in the signal's unit."""
    wanted = {signal for one in schema.signal for signal in measuring(one)}
    found: dict[str, tuple[int, float]] = {}
    for one in charted:
        signal = signal_of(canonical_code(one.code))
        value = convert_measured(one, signal.unit, signal.substance) if signal in wanted and signal else None
        if signal and value is not None and (one.at_ms, value) > found.get(signal.name, (0, 0.0)):
            found[signal.name] = (one.at_ms, value)
    return found


def with_charted(live: Stay | None, charted: Stay | None) -> Stay | None:
    """A stay with what records say of steps in which nothing was measured live; None of nothing at all."""
    if live is None or charted is None:
        return charted if live is None else live
    stay: Stay = np.where(np.isnan(live), charted, live)
    return stay


def build_live_stay(schema: SignalSchema, runs: Mapping[str, Sequence[Columns]], end_ms: int) -> Stay | None:
    """Float32 ``[steps, signals]`` in the schema's units, NaN where nothing was measured; None of nothing at all.

    A step is the mean of what was measured in it, artefacts left out; of two signals that make one column the
    preferred counts where there is any of it.
    """
    begin_ms = begin_of(schema, end_ms)
    stay = np.full((schema.steps, len(schema.signal)), np.nan, np.float32)
    for column, one in enumerate(schema.signal):
        for signal in reversed(measuring(one)):
            try:
                offset = convert(0.0, signal.unit, one.unit, substance=one.substance)
                slope = convert(1.0, signal.unit, one.unit, substance=one.substance) - offset  # every unit is affine
            except UnitUnknown:
                continue
            samples = joined(runs.get(signal.name, ()), begin_ms, end_ms)
            good = samples.qualities < _ARTEFACT
            steps = (samples.times[good] - begin_ms) * schema.steps // (end_ms - begin_ms)
            counts = np.bincount(steps, minlength=schema.steps)
            sums = np.bincount(steps, samples.values[good], minlength=schema.steps)
            measured = counts > 0
            stay[measured, column] = sums[measured] / counts[measured] * slope + offset
    return None if bool(np.isnan(stay).all()) else stay
