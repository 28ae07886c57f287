"""Rows of a CSV file: which column is what, in which unit, and the steps of one patient put together."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from twinward.features import units
from twinward.features.signal_schema import RESERVED, SignalSchema
from twinward.federation.errors import DataInvalid
from twinward.federation.stays.patient_data import FileRows

_MISSING: Final = frozenset({"", "na", "nan", "null", "none", "."})
_HEADER: Final = re.compile(r"^\s*(?P<name>[^\[(]*?)\s*(?:\[(?P<unit>.*)\]|\((?P<round>.*)\))?\s*$", re.DOTALL)


def read_csv(path: Path, signals: SignalSchema) -> FileRows:
    """The rows of a file. Raises ``DataInvalid``; and what the file system and ``csv`` raise."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        header = next(lines, None)
        if not header:
            raise DataInvalid(f"{path.name} is empty", hint="the first row names the columns")
        columns = _Columns(path.name, header, signals)
        found = list(columns.rows(lines))
    if not found:
        raise DataInvalid(f"{path.name} has a header and no rows")
    return columns.joined(found)


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of a CSV file: its number, its cells by column, and its signals' numbers."""

    number: int
    cells: Mapping[str, str]
    numbers: tuple[float, ...]


class _Columns:
    """The columns of a CSV file: which is what, and in which unit."""

    def __init__(self, file: str, header: Sequence[str], signals: SignalSchema) -> None:
        self._file, self._signals = file, signals
        parsed = [_HEADER.match(cell) for cell in header]
        names = [found["name"].strip() if found else cell.strip() for found, cell in zip(parsed, header, strict=True)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataInvalid(f"{file}: the column {twice[0][:64]!r} is there twice")
        self._width = len(names)
        self._at = {name: index for index, name in enumerate(names)}
        self._units = {
            name: found["unit"] or found["round"]
            for name, found in zip(names, parsed, strict=True)
            if found and (found["unit"] or found["round"])
        }
        self.long = "step" in self._at and not signals.is_table
        wanted = signals.names
        if not self.long and not signals.is_table:
            wanted = tuple(f"{name}_{step}" for step in range(signals.steps) for name in signals.names)
        missing = [name for name in wanted if name not in self._at]
        if missing or (self.long and "patient" not in self._at):
            listed = ", ".join(missing[:5]) or "patient"
            raise DataInvalid(f"{file}: no column {listed}{' …' if len(missing) > 5 else ''}", hint=_form(signals))
        self._wanted = wanted
        self._rules = [self._rule(name) for name in wanted]
        ignored = [name for name in names if name not in wanted and name not in RESERVED]
        self._notes = [f"columns that are no signals were left out: {len(ignored)}"] if ignored else []

    def rows(self, lines: Iterator[list[str]]) -> Iterator[_Line]:
        """Each row, its numbers in the schema's units."""
        for number, cells in enumerate(lines, 2):
            if not cells:
                continue
            if len(cells) != self._width:
                raise DataInvalid(f"{self._file}: row {number} has {len(cells)} cells, the header {self._width}")
            numbers = tuple(
                factor * _number(self._file, number, name, cells[self._at[name]]) + offset
                for name, (factor, offset) in zip(self._wanted, self._rules, strict=True)
            )
            yield _Line(number, {name: cells[self._at[name]].strip() for name in RESERVED & self._at.keys()}, numbers)

    def joined(self, lines: Sequence[_Line]) -> FileRows:
        """Rows of patients; those of one patient's steps put together."""
        steps, width = self._signals.steps, len(self._signals.signal)
        if not self.long:
            values = np.array([line.numbers for line in lines]).reshape(len(lines), steps, width)
            patients, labels, groups = (self._cells(lines, name) for name in ("patient", "label", "group"))
            return FileRows(values, patients, labels, groups, self._notes)
        firsts: dict[str, _Line] = {}
        seen: dict[tuple[str, int], int] = {}
        for line in lines:
            patient, step = self._whose(line), self._step(line)
            if (patient, step) in seen:
                raise DataInvalid(
                    f"{self._file}: rows {seen[patient, step]} and {line.number} are of one patient and step"
                )
            seen[patient, step] = line.number
            first = firsts.setdefault(patient, line)
            for name in ("label", "group"):
                if first.cells.get(name) != line.cells.get(name):
                    raise DataInvalid(f"{self._file}: row {line.number}: {name} differs from row {first.number}'s")
        values = np.full((len(firsts), steps, width), np.nan)
        places = {patient: index for index, patient in enumerate(firsts)}
        for line in lines:
            values[places[self._whose(line)], self._step(line)] = line.numbers
        chosen = list(firsts.values())
        return FileRows(values, None, self._cells(chosen, "label"), self._cells(chosen, "group"), self._notes)

    def _cells(self, lines: Sequence[_Line], name: str) -> list[str] | None:
        if name not in self._at:
            return None
        for line in lines:
            if line.cells[name].lower() in _MISSING:
                raise DataInvalid(f"{self._file}: row {line.number}, column {name}: missing")
        return [line.cells[name] for line in lines]

    def _whose(self, line: _Line) -> str:
        if line.cells["patient"].lower() in _MISSING:
            raise DataInvalid(f"{self._file}: row {line.number}, column patient: missing")
        return line.cells["patient"]

    def _step(self, line: _Line) -> int:
        text = line.cells["step"]
        if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < self._signals.steps):
            raise DataInvalid(
                f"{self._file}: row {line.number}, column step: not one of 0 to {self._signals.steps - 1}",
                hint="steps outside the schema's are left out of the file",
            )
        return int(text)

    def _rule(self, name: str) -> tuple[float, float]:
        """(factor, offset) into the schema's unit."""
        signal = self._signals.signal[self._wanted.index(name) % len(self._signals.signal)]
        unit = self._units.get(name)
        if unit is None:
            return 1.0, 0.0
        try:
            zero, one = (units.convert(at, unit, signal.unit, substance=signal.substance) for at in (0.0, 1.0))
        except units.UnitUnknown as error:
            raise DataInvalid(f"{self._file}: column {name}: {error}", hint=error.hint) from None
        return one - zero, zero


def _form(signals: SignalSchema) -> str:
    own = ", ".join(signals.names[:3]) + (", …" if len(signals.names) > 3 else "")
    if signals.is_table:
        return f"columns are {own}; and patient, label, group where there are such"
    return f"columns are patient, step, {own}; or {signals.names[0]}_0, {signals.names[0]}_1, …"


def _number(file: str, row: int, column: str, cell: str) -> float:
    text = cell.strip()
    if text.lower() in _MISSING:
        return float("nan")
    try:
        value = float(text) if len(text) < 64 and "_" not in text else float("inf")
    except ValueError:
        value = float("inf")
    if not np.isfinite(value):
        raise DataInvalid(
            f"{file}: row {row}, column {column}: not a number", hint="leave it empty where it is missing"
        )
    return value
