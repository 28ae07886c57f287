"""A stay built of measurements: steps, units, what stands, and what is passed over."""

from __future__ import annotations

import random

import numpy as np
import pytest

from twinward.features.derivation import Measurement
from twinward.features.signal_schema import CHECKUP, ICU, SchemaSignal, SignalSchema
from twinward.features.stay_building import build_stay

HOUR = 3_600_000
NOON = 1_700_000_000_000
HR, TEMP, SYS = (ICU.names.index(name) for name in ("HR", "Temp", "SysABP"))


def measured(code: str, value: float, unit: str, hours: float = 0, **further: int) -> Measurement:
    return Measurement(code, value, unit, NOON + round(hours * HOUR), **further)


def test_the_newest_measurement_ends_the_last_hour() -> None:
    stay = build_stay(
        ICU,
        [
            measured("8867-4", 70, "/min"),
            measured("8867-4", 80, "{beats}/min", -0.5),
            measured("8867-4", 60, "/min", -1),
            measured("8310-5", 98.6, "[degF]", -47),
            measured("8310-5", 30, "Cel", -48),
            measured("8480-6", 130, "mm[Hg]", -2),
        ],
    )
    assert stay is not None
    assert stay.dtype == np.float32
    assert stay.shape == (48, 24)
    assert stay[47, HR] == 75  # two in one hour: their mean
    assert stay[46, HR] == 60  # an hour before belongs to the hour before
    assert stay[0, TEMP] == pytest.approx(37, abs=1e-4)  # and what is 48 hours older belongs to none
    assert stay[45, SYS] == 130  # a cuff's code stands for the arterial line's
    assert np.isnan(stay).sum() == 48 * 24 - 4


def test_of_one_moment_the_more_final_counts_then_the_one_told_later() -> None:
    said = [
        measured("8867-4", 50, "/min", finality=0, told_ms=9),
        measured("8867-4", 60, "/min", finality=2, told_ms=1),
        measured("8867-4", 70, "/min", finality=2, told_ms=2),
        measured("8867-4", 80, "/min", finality=1, told_ms=9),
    ]
    for _ in range(4):
        random.shuffle(said)
        stay = build_stay(ICU, said)
        assert stay is not None
        assert stay[47, HR] == 70


def test_what_cannot_be_converted_without_guessing_is_passed_over() -> None:
    assert build_stay(ICU, [measured("8867-4", 70, "mg/dL"), measured("9999-9", 1, "1")]) is None
    assert build_stay(ICU, [measured("8867-4", 1e300, "/min")]) is None
    assert build_stay(ICU, []) is None
    glucose = CHECKUP.names.index("glucose_mg_dl")
    stay = build_stay(CHECKUP, [measured("2339-0", 5.5, "mmol/L")])
    assert stay is not None
    assert stay[9, glucose] == pytest.approx(99.1, abs=0.1)


def test_a_table_takes_the_newest_of_each_signal() -> None:
    signals = tuple(
        SchemaSignal(name=name, low=0, high=1, unit=unit, loinc=(code,))
        for name, unit, code in (("hr", "/min", "8867-4"), ("temp", "Cel", "8310-5"))
    )
    table = SignalSchema(name="row", steps=1, signal=signals)
    stay = build_stay(
        table,
        [measured("8867-4", 70, "/min", -9000), measured("8867-4", 60, "/min", -9999), measured("8310-5", 36, "Cel")],
    )
    assert stay is not None
    assert stay.tolist() == [[70, 36]]
