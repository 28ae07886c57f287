"""A protocol's file says what each field is, and parses to the protocol it was written of."""

from __future__ import annotations

import tomllib

import pytest

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
