"""Signal schemas: the shipped ones stand still, and what is none is refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from twinward.core.errors import BadInput
from twinward.features.icu_signals import SIGNALS
from twinward.features.signal_schema import CHECKUP, ECG, ICU, SHIPPED, SchemaSignal, SignalSchema, table_schema


def test_the_icu_schema_is_the_vocabulary_of_monitored_stays_for_ever() -> None:
    assert [(one.name, one.loinc[0], one.unit) for one in ICU.signal] == [(s.name, s.loinc, s.unit) for s in SIGNALS]
    assert [np.float32(one.middle) for one in ICU.signal] == [np.float32(one.middle) for one in SIGNALS]
    assert [np.float32(one.half_range) for one in ICU.signal] == [np.float32(one.half_range) for one in SIGNALS]
    # Protocols and models that name no schema mean this one: a change would change what they mean.
    shown = json.dumps(ICU.model_dump(mode="json"), sort_keys=True).encode()
    assert hashlib.sha256(shown).hexdigest() == "c41509fc2dec1138b8fd53b5b8768b9d1676afe6756114b8b194193567b332d4"


def test_shipped_schemas_say_what_can_be_read_with_them() -> None:
    assert [(one.name, one.steps, one.reads_fhir, one.default_bins()) for one in SHIPPED.values()] == [
        ("icu", 48, True, 12),
        ("icu-outcome", 48, True, 12),
        ("ecg", 140, False, 14),
        ("checkup", 10, True, 10),
    ]
    assert not ECG.is_table
    assert all(one.loinc for one in CHECKUP.signal)


SIGNAL = {"name": "a", "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 1025}, "steps"),
        ({"name": "Mine"}, "name"),
        ({"signal": []}, "signal"),
        ({"signal": [SIGNAL, SIGNAL | {"name": "A"}]}, "once"),
        ({"signal": [SIGNAL | {"name": "label"}]}, "no signals"),
        ({"signal": [SIGNAL | {"low": 1.0}]}, "below high"),
        ({"signal": [SIGNAL | {"high": float("inf")}]}, "high"),
        ({"signal": [SIGNAL | {"loinc": ["not-a-code"]}]}, "loinc"),
        ({"signal": [SIGNAL | {"loinc": ["1-1"]}, SIGNAL | {"name": "b", "loinc": ["1-1"]}]}, "one signal"),
        ({"signal": [SIGNAL | {"substance": "gold"}]}, "substance"),
        ({"signal": [SIGNAL | {"mean": 3}]}, "mean"),
        ({"step_hours": -1}, "step_hours"),
        ({"steps": 1024, "signal": [SIGNAL | {"name": f"s{n}"} for n in range(33)]}, "32768"),
    ],
)
def test_what_is_no_schema_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SignalSchema.model_validate({"name": "mine", "steps": 4, "signal": [SIGNAL]} | changes)


def test_a_table_is_one_step() -> None:
    table = table_schema("thyroid", {"tsh": (0.4, 4.0), "t3": (1.2, 2.8)})
    assert (table.is_table, table.names, table.default_bins(), table.reads_fhir) == (True, ("tsh", "t3"), 1, False)
    with pytest.raises(BadInput, match="below high"):
        table_schema("thyroid", {"tsh": (4.0, 0.4)})


@pytest.mark.parametrize("text", ["a\x1b[2J", "two\nlines", "\u202eneddih", "  ", "\x00", "\u200b"])
def test_titles_and_units_are_words_that_can_be_seen(text: str) -> None:
    for field in ("title", "unit"):
        with pytest.raises(ValidationError, match="can be seen"):
            SchemaSignal.model_validate({"name": "k", "low": 0, "high": 1, field: text})
