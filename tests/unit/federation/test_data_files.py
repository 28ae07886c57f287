"""A researcher's own files: what is read, what is joined and said, and what is refused by row and column."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.features.signal_schema import ECG, ICU, SchemaSignal, SignalSchema, table_schema
from twinward.federation.errors import DataInvalid
from twinward.federation.stays.data_files import read_data
from twinward.federation.stays.patient_data import PatientData, data_of

TABLE = SignalSchema(
    name="blood",
    steps=1,
    signal=(
        SchemaSignal(name="glucose", unit="mg/dL", low=70, high=100, substance="glucose"),
        SchemaSignal(name="temp", unit="Cel", low=36, high=38),
    ),
)
HOURS = TABLE.model_copy(update={"name": "hours", "steps": 3, "step_hours": 1.0})
SECRET = "4711.25"
"""A value that no message may repeat."""


def csv_of(folder: Path, text: str) -> Path:
    path = folder / "own.csv"
    path.write_text(text, encoding="utf-8")
    return path


def npz_of(folder: Path, **arrays: Any) -> Path:
    path = folder / "own.npz"
    np.savez(path, **arrays)
    return path


def test_a_table_converts_its_units_and_keeps_labels_and_groups(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path,
        "\ufeffpatient,temp [[degF]],glucose (mmol/L),label,group,note\n"
        "a,98.6,5,0,f,x\nb,,6,1,m,y\na,99,7,1,f,z\nc,NA,nan,0,m,\n",
    )
    data = read_data(path, TABLE)
    assert len(data) == 2
    np.testing.assert_allclose(data.stays[:, 0], [[90.1, 37], [108.1, np.nan]], atol=0.1)
    assert data.labels is not None
    assert (data.labels.tolist(), data.groups) == ([False, True], ("f", "m"))
    assert [re.sub(r"\d+ ", "", note) for note in data.notes] == [
        "columns that are no signals were left out: 1",
        "further rows of a person were left out: the first counts",
        "patients without any number were left out",
    ]


def test_steps_of_a_patient_are_put_together(tmp_path: Path) -> None:
    data = read_data(csv_of(tmp_path, "patient,step,glucose,temp\nb,2,80,37\na,0,90,\n\nb,0,85,36.5\n"), HOURS)
    assert data.stays.shape == (2, 3, 2)
    np.testing.assert_allclose(data.stays[0], [[85, 36.5], [np.nan, np.nan], [80, 37]])
    wide = "glucose_0,temp_0,glucose_1,temp_1,glucose_2,temp_2\n85,36.5,,,80,37\n"
    np.testing.assert_allclose(read_data(csv_of(tmp_path, wide), HOURS).stays[0], data.stays[0])


def test_arrays_of_every_shape_that_fits(tmp_path: Path) -> None:
    stays = np.full((4, 3, 2), 37.0)
    assert read_data(npz_of(tmp_path, Xa=stays[:1], Xb=stays[1:], y=[0, 0, 1, 0]), HOURS).stays.shape == (4, 3, 2)
    swapped = read_data(npz_of(tmp_path, stays=[[37.0, 80.0]], columns=["temp", "glucose"]), TABLE)
    assert swapped.stays.tolist() == [[[80, 37]]]
    assert read_data(npz_of(tmp_path, X=np.zeros((5, 140), np.float32)), ECG).stays.shape == (5, 140, 1)
    longer = data_of(np.full((2, 60, 24), 1.0) * [one.middle for one in ICU.signal], ICU)
    assert (longer.stays.shape, longer.notes) == ((2, 48, 24), ("stays of 60 steps are cut to the end",))
    twice = data_of(np.array([[80.0, 37], [90, 37], [85, 36]]), TABLE, patient=["a", "b", "a"])
    assert twice.stays[:, 0, 0].tolist() == [80, 90]


@pytest.mark.parametrize(
    ("signals", "text", "says"),
    [
        (TABLE, "", "empty"),
        (TABLE, "glucose,temp\n", "no rows"),
        (TABLE, "glucose\n80\n", "no column temp"),
        (TABLE, "glucose,temp,temp\n80,37,37\n", "'temp' is there twice"),
        (TABLE, f"glucose,temp\n80,{SECRET}x\n", "row 2, column temp: not a number"),
        (TABLE, "glucose,temp\n80,37\ninf,37\n", "row 3, column glucose: not a number"),
        (TABLE, "glucose,temp\n1_0,37\n", "row 2, column glucose"),
        (TABLE, "glucose,temp\n80,37\n80\n", "row 3 has 1 cells, the header 2"),
        (TABLE, f"glucose,temp\n{SECRET},37\n{SECRET},37\n", "column glucose: most of it lies beyond"),
        (TABLE, "glucose [mmol/Furlong],temp\n5,37\n", "column glucose"),
        (TABLE, "glucose [mL],temp\n5,37\n", "column glucose"),
        (TABLE, "patient,glucose,temp\n,80,37\n", "row 2, column patient: missing"),
        (TABLE, "glucose,temp,label\n80,37,2\n", "neither 0 nor 1"),
        (TABLE, "glucose,temp,label\n80,37,\n", "row 2, column label: missing"),
        (TABLE, "glucose,temp\n,\n", "no patient with a number"),
        (TABLE, 'glucose,temp\n"80,37\n', "cannot be read as csv"),
        (TABLE, "glucose,temp\n1e300,37\n", "infinite"),
        (HOURS, "step,glucose,temp\n0,80,37\n", "no column patient"),
        (HOURS, "glucose,temp\n80,37\n", "glucose_0"),
        (HOURS, "patient,step,glucose,temp\na,3,80,37\n", "row 2, column step: not one of 0 to 2"),
        (HOURS, "patient,step,glucose,temp\na,-1,80,37\n", "column step"),
        (HOURS, "patient,step,glucose,temp\na,0,80,37\nb,0,80,37\na,0,80,37\n", "rows 2 and 4 are of one patient"),
        (HOURS, "patient,step,glucose,temp,group\na,0,80,37,f\na,1,80,37,m\n", "row 3: group differs from row 2's"),
    ],
)
def test_a_bad_csv_is_refused_by_row_and_column(signals: SignalSchema, text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataInvalid) as refused:
        read_data(csv_of(tmp_path, text), signals)
    said = f"{refused.value} {refused.value.hint}"
    assert says in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"other": np.zeros(3)}, "no array called stays"),
        ({"stays": np.zeros((3, 3))}, "not [3, 3]"),
        ({"stays": np.zeros((3, 4, 2))}, "not [3, 4, 2]"),
        ({"stays": np.array([["a", "b"]])}, "numbers, not <U1"),
        ({"stays": np.array([[object(), 1]], dtype=object)}, "cannot be read as npz: ValueError"),
        ({"stays": np.array([[80, np.inf]])}, "row 0, step 0, column temp: infinite"),
        ({"stays": np.array([[80, 37.0]]), "label": [0, 1]}, "label has 2 entries for 1 rows"),
        ({"stays": np.array([[80, 37.0]]), "label": [np.nan]}, "label is missing in row 0"),
        ({"stays": np.array([[80, 37.0]]), "patient": [[1]]}, "patient is a list"),
        ({"stays": np.array([[80, 37.0]]), "columns": ["temp", "sugar"]}, "no column glucose"),
        ({"Xa": np.zeros((2, 3)), "Xb": np.zeros((2, 2))}, "different shapes"),
        ({"stays": np.zeros((0, 2))}, "no patient"),
        ({"stays": np.full((40, 2), 37.0), "group": [str(n) for n in range(40)]}, "40 different words"),
    ],
)
def test_a_bad_npz_is_refused(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match=re.escape(says)):
        read_data(npz_of(tmp_path, **arrays), TABLE)


@given(st.binary(max_size=300), st.sampled_from([".npz", ".csv"]))
def test_any_bytes_are_read_or_refused(content: bytes, suffix: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"own{suffix}"
        path.write_bytes(content)
        with pytest.raises(DataInvalid):
            read_data(path, TABLE)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for name in ("own.xlsx", "absent.csv", "absent.npz"):
        with pytest.raises(DataInvalid, match=name.split(".")[0]):
            read_data(tmp_path / name, TABLE)


def test_parts_are_everybody_once() -> None:
    data = data_of(np.random.default_rng(0).normal(0, 1, (40, 3)), table_schema("t", dict.fromkeys("abc", (-1, 1))))
    first, second = data.split(0.75, 1)
    assert (len(first), len(second)) == (30, 10)
    together = np.concatenate([first.stays, second.stays])[:, 0]
    assert sorted(map(tuple, together.tolist())) == sorted(map(tuple, data.stays[:, 0].tolist()))
    with pytest.raises(DataInvalid):
        PatientData(data.signals, data.stays[:1]).split(0.75)


def member(header: str, body: bytes = b"") -> bytes:
    """An array's file whose header somebody wrote by hand."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


def flipped(content: bytes, *places: tuple[int, int]) -> bytes:
    made = bytearray(content)
    for place, value in places:
        made[place] = value
    return bytes(made)


@pytest.mark.parametrize("header", ["{'descr': ((((", "'''abc", "(" * 9000, "{'descr': '<f8'}", ""])
def test_headers_written_by_hand_are_refused(tmp_path: Path, header: str) -> None:
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("stays.npy", member(header))
    with pytest.raises(DataInvalid):
        read_data(tmp_path / "own.npz", TABLE)


def test_archives_that_are_damaged_locked_or_packed_otherwise_are_refused(tmp_path: Path) -> None:
    path = npz_of(tmp_path, stays=np.full((5, 2), 80.0))
    whole = path.read_bytes()
    entry = whole.rindex(b"PK\x01\x02")
    np.savez_compressed(path, stays=np.random.default_rng(0).random((500, 2)))
    packed = path.read_bytes()
    for content in (
        flipped(whole, (6, whole[6] | 1), (entry + 8, whole[entry + 8] | 1)),  # encrypted
        flipped(whole, (8, 99), (entry + 10, 99)),  # a method that nobody has
        packed[:200] + b"\xff" * 60 + packed[260:],
    ):
        path.write_bytes(content)
        with pytest.raises(DataInvalid, match="cannot be read as npz"):
            read_data(path, TABLE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("stays.npy", b"no array")
    with pytest.raises(DataInvalid, match="stays is no array"):
        read_data(path, TABLE)


def test_arrays_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    for arrays in (
        {"Xa": np.zeros((2, 2)), "Xb": np.zeros((2, 2), "M8[s]")},
        {"stays": np.zeros((2, 1)), "columns": ["glucose", "temp"]},
        {"stays": 3.0, "columns": ["glucose", "temp"]},
    ):
        with pytest.raises(DataInvalid):
            read_data(npz_of(tmp_path, **arrays), TABLE)


def test_a_small_file_of_no_steps_fills_no_memory(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="more than fit"):
        read_data(npz_of(tmp_path, stays=np.zeros((100_000_000, 0, 2))), HOURS)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.npz")
    with pytest.raises(DataInvalid, match="is no file"):
        read_data(tmp_path / "own.npz", TABLE)
