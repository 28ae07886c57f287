"""A researcher's own data as a study's stays: an ``.npz`` of arrays, or a ``.csv`` with a header.

These files never enter a vault. What is wrong with them is said by row and column, never by value.

``.npz``: ``stays`` ``[patients, steps, signals]`` (or ``X``, or ``Xa``, ``Xb``, …, which are put together); a table may
be ``[patients, signals]``, a schema of one signal ``[patients, steps]``. Beside it, each as long as there are rows:
``patient`` (whose row it is), ``label`` (or ``y``: 1 is an anomaly), ``group``; and ``columns``, the signals' names.

``.csv``: a row for each patient and step, with columns ``patient``, ``step`` (0 is the first) and one named after each
signal; a table has no ``step``, and without ``patient`` each row is somebody else. Or a row for each patient, with
columns ``SIGNAL_STEP``, as ``lead_0``. A header may name the unit: ``glucose [mmol/L]``. Empty, NA and NaN are missing.
"""

from __future__ import annotations

import csv
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twinward.features.signal_schema import SignalSchema
from twinward.federation.errors import DataInvalid
from twinward.federation.stays.csv_rows import read_csv
from twinward.federation.stays.patient_data import FileRows, PatientData, patients_of, shaped

MAX_FILE_BYTES: Final = 1 << 30
_ARRAYS: Final = ("stays", "X", "Xa", "Xb", "Xc", "Xd")
_LABELS: Final = ("label", "y")
_UNREADABLE: Final = (
    *(OSError, EOFError, MemoryError, ValueError, TypeError, RuntimeError, SystemError, SyntaxError),
    *(csv.Error, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What bytes formed by hand make the readers of archives, arrays and rows raise; zip's own refusals among them."""


def read_data(path: Path, signals: SignalSchema) -> PatientData:
    """The patients of a file, in a schema's signals.

    Raises:
        DataInvalid: it cannot be read so: which row, which column, and what to do. Values are never told.
    """
    if path.suffix not in (".npz", ".csv"):
        raise DataInvalid(f"{path.name}: data is an .npz or a .csv file")
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, and has no size
            raise DataInvalid(f"{path.name} is no file", hint="save it to one first")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataInvalid(f"{path.name} is larger than {MAX_FILE_BYTES >> 20} MiB")
        rows = _read_npz(path, signals) if path.suffix == ".npz" else read_csv(path, signals)
    except _UNREADABLE as error:
        raise DataInvalid(f"{path.name} cannot be read as {path.suffix[1:]}: {type(error).__name__}") from None
    return patients_of(path.name, rows, signals)


def _read_npz(path: Path, signals: SignalSchema) -> FileRows:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_FILE_BYTES:
            raise DataInvalid(f"{path.name} unpacks to more than {MAX_FILE_BYTES >> 20} MiB")
    with np.load(path, allow_pickle=False) as arrays:
        found = [_array(path.name, arrays, name) for name in _ARRAYS if name in arrays.files]
        extra = {
            kind: next(
                (_words(path.name, kind, _array(path.name, arrays, name)) for name in names if name in arrays.files),
                None,
            )
            for kind, names in (("patient", ("patient",)), ("label", _LABELS), ("group", ("group",)))
        }
        columns = (
            _words(path.name, "columns", _array(path.name, arrays, "columns")) if "columns" in arrays.files else None
        )
    if not found:
        raise DataInvalid(f"{path.name} has no array called stays", hint="or X, or Xa, Xb, …")
    if len({array.shape[1:] for array in found}) > 1:
        raise DataInvalid(f"{path.name}: Xa, Xb, … have different shapes")
    array = np.concatenate(found)
    if columns is not None:
        if array.ndim == 0 or array.shape[-1] != len(columns):
            raise DataInvalid(f"{path.name}: {len(columns)} columns are named, and the arrays have another number")
        array = array[..., _order(path.name, columns, signals)]
    values, notes = shaped(path.name, array, signals)
    return FileRows(values, extra["patient"], extra["label"], extra["group"], notes)


def _array(name: str, arrays: np.lib.npyio.NpzFile, member: str) -> NDArray[Any]:
    """One array; what is no array comes as it is from ``np.load``, as bytes."""
    found = arrays[member]
    if not isinstance(found, np.ndarray):
        raise DataInvalid(f"{name}: {member} is no array")
    return found


def _words(name: str, kind: str, array: NDArray[Any]) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "biufUS":
        raise DataInvalid(f"{name}: {kind} is a list of numbers or words")
    if array.dtype.kind == "f":
        if not bool(np.isfinite(array).all()):
            raise DataInvalid(f"{name}: {kind} is missing in row {int(np.flatnonzero(~np.isfinite(array))[0])}")
        return [f"{one:.17g}" for one in array]
    if array.dtype.kind in "biu":
        return [str(int(one)) for one in array]
    return [one.decode("latin-1") if isinstance(one, bytes) else str(one) for one in array.tolist()]


def _order(name: str, columns: list[str], signals: SignalSchema) -> list[int]:
    missing = [one for one in signals.names if one not in columns]
    if missing or len(set(columns)) != len(columns):
        raise DataInvalid(
            f"{name}: {'columns are named twice' if not missing else 'no column ' + ', '.join(missing)}",
            hint=f"the schema {signals.name} has {', '.join(signals.names)}",
        )
    return [columns.index(one) for one in signals.names]
