"""Monitored stays: the signals of a bedside monitor and chart, hour by hour, and how one stay is stored.

A stay is a tensor ``[hours, signals]`` of float32 in clinical units, NaN where nothing was charted. The vocabulary
is that of ``icu_signals``.

A vault record of one stay (all integers big-endian; the body's floats little-endian IEEE 754 binary32):

====== ========================= ==========================================================================
offset size                      field
====== ========================= ==========================================================================
0      4                         magic ``TWM1``
4      2                         hours, 1..1024
6      2                         signals, equal to ``len(SIGNALS)``
8      8                         first 8 bytes of the vocabulary's SHA-256: signals mean what they meant
16     ceil(hours * signals / 8) presence bitmap, row-major, most significant bit first, padding zero
...    4 * (bits set)            the values present, row-major, finite
====== ========================= ==========================================================================

The encoding is canonical: a stay has exactly one, and any byte string that is not one is refused.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from twinward.core.errors import BadInput
from twinward.core.late_module import LateModule
from twinward.features.icu_signals import SIGNALS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LateModule("numpy")

Stay: TypeAlias = "NDArray[np.float32]"
"""One stay ``[hours, signals]`` in clinical units, NaN where nothing was charted."""

Stays: TypeAlias = "NDArray[np.float32]"
"""Stays ``[patients, hours, signals]``."""

MAX_HOURS: Final = 1024
_MAGIC: Final = b"TWM1"
_HEADER: Final = struct.Struct(">4sHH8s")
_MAX_FILE_BYTES: Final = 1 << 30


class BadStay(BadInput):
    """A stay, or the bytes of one, that is not what this module's docstring describes."""


VOCABULARY_HASH: Final = hashlib.sha256(
    "\n".join(f"{signal.name}|{signal.loinc}|{signal.unit}" for signal in SIGNALS).encode()
).digest()[:8]


def column(name: str) -> int:
    """The column of a signal.

    Raises:
        BadStay: there is no such signal.
    """
    for index, signal in enumerate(SIGNALS):
        if signal.name == name:
            return index
    raise BadStay(f"no signal is called {name!r}", hint="one of: " + ", ".join(signal.name for signal in SIGNALS))


def encode_stay(stay: Stay) -> bytes:
    """The bytes of one stay, as the module's docstring lays them out. Every NaN is "not charted".

    Raises:
        BadStay: not a float32 array ``[hours, signals]``, too long, or infinite somewhere.
    """
    if not isinstance(stay, np.ndarray) or stay.dtype != np.float32 or stay.ndim != 2:
        raise BadStay("a stay is a float32 array [hours, signals]")
    hours, signals = stay.shape
    if not 1 <= hours <= MAX_HOURS or signals != len(SIGNALS):
        raise BadStay(f"a stay has 1 to {MAX_HOURS} hours and {len(SIGNALS)} signals, not {hours} x {signals}")
    if bool(np.isinf(stay).any()):
        raise BadStay("a stay holds finite values, or NaN where nothing was charted")
    present = ~np.isnan(stay)
    header = _HEADER.pack(_MAGIC, hours, signals, VOCABULARY_HASH)
    return header + np.packbits(present).tobytes() + stay[present].astype("<f4").tobytes()


def decode_stay(encoded: bytes) -> Stay:
    """One stay from its bytes.

    Raises:
        BadStay: anything but the exact output of ``encode_stay`` under the same vocabulary.
    """
    if len(encoded) < _HEADER.size:
        raise BadStay("a stored stay is cut short")
    magic, hours, signals, vocabulary = _HEADER.unpack_from(encoded)
    if magic != _MAGIC:
        raise BadStay("these bytes are not a stored stay", hint="a stored stay begins with TWM1")
    if vocabulary != VOCABULARY_HASH or signals != len(SIGNALS):
        raise BadStay(
            "this stay was stored under another signal vocabulary", hint="read it with the version that wrote it"
        )
    if not 1 <= hours <= MAX_HOURS:
        raise BadStay(f"a stored stay has 1 to {MAX_HOURS} hours")
    cells = hours * signals
    body_at = _HEADER.size + (cells + 7) // 8
    if len(encoded) < body_at:
        raise BadStay("a stored stay is cut short")
    bits = np.unpackbits(np.frombuffer(encoded, np.uint8, offset=_HEADER.size, count=body_at - _HEADER.size))
    if bool(bits[cells:].any()) or len(encoded) != body_at + 4 * int(bits.sum()):
        raise BadStay("a stored stay's length does not match its presence bitmap")
    values = np.frombuffer(encoded, "<f4", offset=body_at).astype(np.float32)
    if not bool(np.isfinite(values).all()):
        raise BadStay("a stored stay holds finite values only")
    stay = np.full(cells, np.nan, np.float32)
    stay[bits[:cells].astype(bool)] = values
    return stay.reshape(hours, signals)


def load_stays(path: Path) -> Stays:
    """The stays of an ``.npz`` file: its arrays ``Xa``, ``Xb``, … or ``stays``, each ``[patients, hours, signals]``.

    Raises:
        BadStay: the file cannot be read, or holds no such array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.removesuffix(".npy") in ("stays", "Xa", "Xb", "Xc")]
            if sum(member.file_size for member in members) > _MAX_FILE_BYTES:
                raise BadStay(f"{path} unpacks to more than {_MAX_FILE_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            found = [arrays[member.filename.removesuffix(".npy")] for member in members]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadStay(f"cannot read stays from {path}: {error}", hint="give an .npz file of arrays") from error
    if not found:
        raise BadStay(f"{path} holds no array called stays, Xa, Xb or Xc")
    for array in found:
        if array.dtype != np.float32 or array.ndim != 3 or array.shape[2] != len(SIGNALS):
            raise BadStay(f"{path}: each array is float32 [patients, hours, {len(SIGNALS)}]")
    if len({array.shape[1] for array in found}) != 1 or not 1 <= found[0].shape[1] <= MAX_HOURS:
        raise BadStay(f"{path}: every stay has the same number of hours, 1 to {MAX_HOURS}")
    stays: Stays = np.concatenate(found)
    if bool(np.isinf(stays).any()):
        raise BadStay(f"{path}: values are finite, or NaN where nothing was charted")
    return stays
