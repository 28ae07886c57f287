"""A model's file: exact, bounded, and nothing else passes for one."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from tests.integration.federation.kit import HOSPITALS
from twinward.federation.detectors.dp_var import DpVarDetector
from twinward.federation.detectors.model_file import Model, read_model
from twinward.federation.errors import ModelFileInvalid
from twinward.federation.study import StudyProtocol

STUDY = StudyProtocol.for_dp_var("icu-1", HOSPITALS)
MODEL = Model(STUDY, np.random.default_rng(1).normal(size=DpVarDetector.dimension))


def test_round_trip_is_exact() -> None:
    read = read_model(MODEL.to_bytes())
    assert read.study == STUDY
    assert np.array_equal(read.parameters, MODEL.parameters)
    assert read.hash() == MODEL.hash()


def test_the_hash_follows_protocol_and_parameters() -> None:
    assert Model(STUDY, MODEL.parameters + 1e-12).hash() != MODEL.hash()
    other = StudyProtocol.for_dp_var("icu-2", HOSPITALS)
    assert Model(other, MODEL.parameters).hash() != MODEL.hash()


def file_of(protocol: bytes, parameters: bytes) -> bytes:
    return b"TWMODEL1" + len(protocol).to_bytes(4, "big") + protocol + parameters


@pytest.mark.parametrize(
    ("desc", "content"),
    [
        ("empty", b""),
        ("a pickle", pickle.dumps({"weights": [1.0]})),
        ("cut short", MODEL.to_bytes()[:-1]),
        ("one parameter short", MODEL.to_bytes()[:-8]),
        ("one parameter long", MODEL.to_bytes() + bytes(8)),
        ("other magic", b"TWMODEL2" + MODEL.to_bytes()[8:]),
        ("protocol longer than the file", b"TWMODEL1\x00\x00\xff\xff" + MODEL.to_bytes()[12:]),
        ("protocol of 4 GiB", b"TWMODEL1\xff\xff\xff\xff" + MODEL.to_bytes()[12:]),
        ("protocol is no JSON", file_of(b"{" * 40, MODEL.parameters.tobytes())),
        ("protocol is no study", file_of(b'{"a":1}', MODEL.parameters.tobytes())),
        (
            "protocol not canonical",
            file_of(json.dumps(json.loads(STUDY.canonical()), indent=1).encode(), MODEL.parameters.tobytes()),
        ),
        ("infinite parameter", file_of(STUDY.canonical(), np.full(DpVarDetector.dimension, np.inf).tobytes())),
        ("too large", b"TWMODEL1" + bytes(17 << 20)),
    ],
)
def test_anything_else_is_refused(desc: str, content: bytes) -> None:
    with pytest.raises(ModelFileInvalid):
        read_model(content)
