"""A trained detector as a file: no pickle, nothing executable, bounded before parsing.

====== ===== ====================================================================
offset size  field
====== ===== ====================================================================
0      8     magic ``TWMODEL1``
8      4     length of the protocol, big-endian, at most 64 KiB
12     n     the study's protocol, RFC 8785 JSON
12+n   8 p   the parameters, little-endian float64, finite, as many as it implies
====== ===== ====================================================================
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Detector, Parameters
from twinward.federation.detectors.dimensions import known_dimensions
from twinward.federation.errors import ModelFileInvalid, StudyInvalid
from twinward.federation.study import MAX_CANONICAL_BYTES, StudyProtocol

_MAGIC: Final = b"TWMODEL1"
_MAX_FILE_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class Model:
    """A protocol and the parameters it led to."""

    study: StudyProtocol
    parameters: Parameters

    def detector(self) -> Detector:
        """What scores with these parameters."""
        return build_detector(self.study)

    def to_bytes(self) -> bytes:
        """The file."""
        protocol = self.study.canonical()
        return _MAGIC + len(protocol).to_bytes(4, "big") + protocol + self.parameters.astype("<f8").tobytes()

    def hash(self) -> bytes:
        """SHA-256 of the file: its name on the ledger."""
        return hashlib.sha256(self.to_bytes()).digest()


def read_model(content: bytes) -> Model:
    """A model from its file.

    Raises:
        ModelFileInvalid: anything but the exact layout above.
    """
    if len(content) > _MAX_FILE_BYTES or len(content) < 12 or content[:8] != _MAGIC:
        raise ModelFileInvalid("this is no model file", hint="a model file begins with TWMODEL1 and is under 16 MiB")
    length = int.from_bytes(content[8:12], "big")
    if length > MAX_CANONICAL_BYTES or len(content) < 12 + length or (len(content) - 12 - length) % 8:
        raise ModelFileInvalid("this model file is cut short or malformed")
    try:
        study = StudyProtocol.parse(msgspec.json.decode(content[12 : 12 + length], type=dict[str, object]))
    except (msgspec.DecodeError, StudyInvalid, RecursionError) as error:
        raise ModelFileInvalid("this model file's protocol is not one of ours") from error
    if study.canonical() != content[12 : 12 + length]:
        raise ModelFileInvalid("this model file's protocol is not in canonical form")
    parameters = np.frombuffer(content, "<f8", offset=12 + length).astype(np.float64)
    model = Model(study, parameters)
    sizes = (model.detector().dimension, *known_dimensions(study))
    if parameters.size not in sizes or not bool(np.isfinite(parameters).all()):
        raise ModelFileInvalid("this model file's parameters do not fit its protocol")
    return model
