"""Patients of a researcher's own data: one row for each person, checked before anything is learnt from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twinward.features.monitored_stays import Stays
from twinward.features.signal_schema import SchemaSignal, SignalSchema
from twinward.federation.detectors.detector import CLIP
from twinward.federation.errors import DataInvalid

MAX_GROUPS: Final = 32
_MAX_CELLS: Final = 1 << 28
"""Of all stays together, where shorter ones are filled up: 2 GiB."""


@dataclass(frozen=True)
class PatientData:
    """Patients of a file, one row for each.

    Attributes:
        signals: the schema it was read with.
        stays: float32 ``[patients, steps, signals]`` in the schema's units, NaN where missing.
        labels: which are anomalies, where the file says so.
        groups: the subgroup of each, where the file says so.
        notes: what was joined, cut or left out, in words.
    """

    signals: SignalSchema
    stays: Stays = field(repr=False)
    labels: NDArray[np.bool_] | None = field(default=None, repr=False)
    groups: tuple[str, ...] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stays)

    def coverage(self) -> list[float]:
        """Of how many patients each signal was measured at all, as shares."""
        measured = ~np.isnan(self.stays).all(axis=1)
        return [float(share) for share in measured.mean(axis=0)]

    def take(self, rows: NDArray[Any]) -> PatientData:
        """Some of its patients."""
        chosen = np.arange(len(self))[rows]
        labels = None if self.labels is None else self.labels[chosen]
        groups = None if self.groups is None else tuple(self.groups[row] for row in chosen.tolist())
        return PatientData(self.signals, self.stays[chosen], labels, groups, self.notes)

    def split(self, share: float, seed: int = 0) -> tuple[PatientData, PatientData]:
        """Two parts at random, the first of about this share. Raises ``DataInvalid``: a part would be empty."""
        first = round(len(self) * share)
        if not 0 < first < len(self):
            raise DataInvalid(f"{len(self)} patients cannot be split at {share:g}")
        order = np.random.default_rng(seed).permutation(len(self))
        return self.take(order[:first]), self.take(order[first:])


@dataclass
class FileRows:
    """What a file holds before patients are joined; ``values`` are ``[rows, steps, signals]``."""

    values: NDArray[np.float64]
    patients: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    notes: list[str] = field(default_factory=list)


def data_of(stays: NDArray[Any], signals: SignalSchema, **further: Sequence[Any] | None) -> PatientData:
    """The same of an array in memory: ``patient``, ``label``, ``group`` as in a file. Raises ``DataInvalid``."""
    extra = {name: None if found is None else [str(one) for one in found] for name, found in further.items()}
    if not set(extra) <= {"patient", "label", "group"}:
        raise DataInvalid("beside the stays there may be patient, label and group")
    values, notes = shaped("the array", np.asarray(stays), signals)
    rows = FileRows(values, extra.get("patient"), extra.get("label"), extra.get("group"), notes)
    return patients_of("the array", rows, signals)


def shaped(name: str, array: NDArray[Any], signals: SignalSchema) -> tuple[NDArray[np.float64], list[str]]:
    """``[rows, steps, signals]``, and what had to be done for it."""
    steps, width = signals.steps, len(signals.signal)
    if array.dtype.kind not in "fiu":
        raise DataInvalid(f"{name}: stays are numbers, not {array.dtype}", hint="NaN where nothing was measured")
    flat = width if signals.is_table else steps if width == 1 else None
    if array.ndim == 2 and array.shape[1] == flat:
        array = array.reshape(len(array), steps, width)
    notes: list[str] = []
    if array.ndim == 3 and array.shape[2] == width and signals.step_hours is not None and array.shape[1] != steps:
        if len(array) * steps * width > _MAX_CELLS:  # an array of no steps takes no room in a file
            raise DataInvalid(f"{name}: {len(array)} stays of {steps} steps are more than fit")
        notes.append(f"stays of {array.shape[1]} steps are {'cut' if array.shape[1] > steps else 'missing'} to the end")
        fitted = np.full((len(array), steps, width), np.nan)
        fitted[:, : array.shape[1]] = array[:, :steps]
        array = fitted
    if array.ndim != 3 or array.shape[1:] != (steps, width):
        raise DataInvalid(
            f"{name}: stays are [patients, {steps}, {width}] in the signals {signals.name}, not {list(array.shape)}"
        )
    values: NDArray[np.float64] = array.astype(np.float64)
    return values, notes


def patients_of(file: str, rows: FileRows, signals: SignalSchema) -> PatientData:
    """One row for each person, of what can be learnt from. Raises ``DataInvalid``."""
    values, notes = rows.values, rows.notes
    for name, found in (("patient", rows.patients), ("label", rows.labels), ("group", rows.groups)):
        if found is not None and len(found) != len(values):
            raise DataInvalid(f"{file}: {name} has {len(found)} entries for {len(values)} rows")
    if bool(np.isinf(values).any()) or bool((np.abs(values) > np.finfo(np.float32).max).any()):
        row, step, column = np.argwhere(~(np.abs(np.nan_to_num(values, posinf=np.inf)) <= np.finfo(np.float32).max))[0]
        raise DataInvalid(f"{file}: row {row}, step {step}, column {signals.names[column]}: infinite")
    kept: NDArray[np.intp] = np.arange(len(values))
    if rows.patients is not None:
        kept = np.unique(rows.patients, return_index=True)[1]
        if len(kept) < len(values):
            notes = [*notes, f"{len(values) - len(kept)} further rows of a person were left out: the first counts"]
        kept = np.sort(kept)
    bare = np.isnan(values[kept]).all((1, 2))
    if bare.any():
        notes = [*notes, f"{int(bare.sum())} patients without any number were left out"]
        kept = kept[~bare]
    if not len(kept):
        raise DataInvalid(f"{file} has no patient with a number in it")
    values = values[kept]
    for column, signal in enumerate(signals.signal):
        _require_range(file, values[:, :, column], signal)
    labels = None if rows.labels is None else np.array([_label(file, row, rows.labels[row]) for row in kept.tolist()])
    groups = None if rows.groups is None else tuple(rows.groups[row][:64] for row in kept.tolist())
    if groups is not None and len(set(groups)) > MAX_GROUPS:
        raise DataInvalid(f"{file}: group has {len(set(groups))} different words", hint=f"at most {MAX_GROUPS}")
    return PatientData(signals, values.astype(np.float32), labels, groups, tuple(notes))


def _require_range(file: str, values: NDArray[np.float64], signal: SchemaSignal) -> None:
    """Refuse a column of which most lies where it is clipped: it would teach nothing; its unit is the likely cause."""
    found = values[~np.isnan(values)]
    beyond = np.abs(found - signal.middle) > CLIP * signal.half_range
    if len(found) and beyond.mean() > 0.5:
        raise DataInvalid(
            f"{file}: column {signal.name}: most of it lies beyond four times its limits, "
            f"{signal.low:g} to {signal.high:g} {signal.unit}",
            hint=f"another unit? A header may say which: {signal.name} [UNIT]; else mend the schema's limits",
        )


def _label(file: str, row: int, word: str) -> bool:
    found = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}.get(word.strip().lower())
    if found is None:
        raise DataInvalid(f"{file}: label {row}: neither 0 nor 1", hint="1 is an anomaly")
    return found
