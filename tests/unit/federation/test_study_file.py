"""A protocol's file says what each field is, and parses to the protocol it was written of."""

from __future__ import annotations

import json
import tomllib

import pytest

from twinward.features.signal_schema import ICU, SHIPPED, SchemaSignal, SignalSchema
from twinward.federation.errors import StudyInvalid
from twinward.federation.study import DetectorKind, StudyProtocol
from twinward.federation.study_file import FIELDS, new_protocol, protocol_toml

HOSPITALS = ("east", "north", "south")


def test_every_field_is_explained() -> None:
    assert list(FIELDS) == list(StudyProtocol.model_fields)


@pytest.mark.parametrize("detector", DetectorKind)
def test_a_file_parses_to_its_protocol(detector: DetectorKind) -> None:
    study = new_protocol("sepsis-1", HOSPITALS, detector, 1.5)
    text = protocol_toml(study)
    assert StudyProtocol.parse(tomllib.loads(text)) == study
    assert (study.detector, study.epsilon) == (detector, 1.5)
    assert max(map(len, text.splitlines())) <= 120


OWN = SignalSchema(
    name="own",
    steps=6,
    step_hours=4.0,
    signal=(
        SchemaSignal(
            name="glucose",
            title='Glucose, "fasting" é\\',
            unit="mg/dL",
            low=70,
            high=1e11,
            loinc=("2345-7", "2339-0"),
            substance="glucose",
        ),
        SchemaSignal(name="b.x-1", low=-1e-7, high=0.1),
    ),
)


@pytest.mark.parametrize("signals", [*SHIPPED.values(), OWN, OWN.model_copy(update={"name": "icu"})])
def test_a_files_signals_parse_to_the_same(signals: SignalSchema) -> None:
    detector = DetectorKind.LOGISTIC if signals.has_outcome else DetectorKind.DP_VAR
    study = new_protocol("own-1", HOSPITALS, detector, 1.0, signals=signals)
    text = protocol_toml(study)
    assert StudyProtocol.parse(tomllib.loads(text)) == study
    assert (f'signals = "{signals.name}"' in text) == (signals in SHIPPED.values())


def test_signals_are_part_of_the_fingerprint_but_the_icus_go_without_saying() -> None:
    icu = new_protocol("own-1", HOSPITALS, DetectorKind.DP_VAR, 1.0)
    assert b"signals" not in icu.canonical()
    assert icu.canonical() == new_protocol("own-1", HOSPITALS, DetectorKind.DP_VAR, 1.0, signals="icu").canonical()
    own = [new_protocol("own-1", HOSPITALS, DetectorKind.DP_VAR, 1.0, signals=one, bins=6) for one in (ICU, OWN)]
    assert len({one.fingerprint() for one in own}) == 2
    assert StudyProtocol.parse(json.loads(own[1].canonical())) == own[1]


def test_bins_fit_the_signals() -> None:
    assert new_protocol("own-1", HOSPITALS, DetectorKind.AUTOENCODER, 1.0, signals="ecg").bins == 14
    with pytest.raises(StudyInvalid, match="one of 2, 3, 6"):
        new_protocol("own-1", HOSPITALS, DetectorKind.DP_VAR, 1.0, signals=OWN, bins=4)
    with pytest.raises(StudyInvalid, match="there are icu, icu-outcome, ecg, checkup"):
        new_protocol("own-1", HOSPITALS, DetectorKind.DP_VAR, 1.0, signals="icu-2")
