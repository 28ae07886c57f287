"""A run of samples as four columns of small numbers, so that compression finds what repeats.

    run      = exponent u8 ‖ 4 × (length u32 BE ‖ column)
    columns  = times, sequence numbers, values, qualities
    number   = ZigZag, then LEB128 (as Protocol Buffers' sint64)

Times are written as differences of differences (a device that measures every second is a row of zeros), sequence
numbers likewise, values as differences of integers: the least power of ten that makes every value of the run one, 0 to
``_MOST_DECIMALS``; where none does, 255 and the values as IEEE 754 doubles. Qualities are one byte where they are all
the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from twinward.core.late_module import LateModule
from twinward.live.models import Sample

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    np = LateModule("numpy")

Times: TypeAlias = "npt.NDArray[np.int64]"
Values: TypeAlias = "npt.NDArray[np.float64]"
_MOST_DECIMALS: Final = 4
_DOUBLES: Final = 255
_EXACT: Final = 2**53


class Columns:
    """A run, opened: arrays of one length, in the order they were written in."""

    __slots__ = ("qualities", "seqs", "times", "values")

    def __init__(self, times: Times, seqs: Times, values: Values, qualities: npt.NDArray[np.uint8]) -> None:
        self.times = times
        self.seqs = seqs
        self.values = values
        self.qualities = qualities

    def __len__(self) -> int:
        return len(self.times)

    def samples(self) -> list[Sample]:
        """One by one."""
        columns = (self.times.tolist(), self.seqs.tolist(), self.values.tolist(), self.qualities.tolist())
        return [Sample(*one) for one in zip(*columns, strict=True)]


def encode(samples: Sequence[Sample]) -> bytes:
    """Samples in their order, which is kept."""
    exponent, scaled = _scaled([one.value for one in samples])
    values = (
        np.array([one.value for one in samples], dtype="<f8").tobytes()
        if scaled is None
        else _varints(_differences(scaled))
    )
    qualities = bytes(one.quality for one in samples)
    columns = (
        _varints(_differences(_differences([one.time_ms for one in samples]))),
        _varints(_differences(_differences([one.seq for one in samples]))),
        values,
        qualities[:1] if len(set(qualities)) == 1 else qualities,
    )
    return bytes([exponent]) + b"".join(len(one).to_bytes(4, "big") + one for one in columns)


def decode(run: bytes) -> Columns:
    """What ``encode`` wrote. Raises ``ValueError`` for anything else."""
    exponent, at, columns = run[0], 1, []
    for _ in range(4):
        end = at + 4 + int.from_bytes(run[at : at + 4], "big")
        columns.append(run[at + 4 : end])
        at = end
    if at != len(run):
        raise ValueError("bytes behind the last column")
    times = np.cumsum(np.cumsum(_numbers(columns[0])))
    seqs = np.cumsum(np.cumsum(_numbers(columns[1])))
    if exponent == _DOUBLES:
        values = np.frombuffer(columns[2], dtype="<f8").astype(np.float64)
    else:
        values = np.cumsum(_numbers(columns[2])) / 10.0**exponent
    qualities = np.frombuffer(columns[3], dtype=np.uint8)
    if len(qualities) == 1:
        qualities = np.repeat(qualities, len(times))
    if not len(times) == len(seqs) == len(values) == len(qualities):
        raise ValueError("columns of several lengths")
    return Columns(times, seqs, values, qualities)


def _scaled(values: Sequence[float]) -> tuple[int, list[int] | None]:
    for exponent in range(_MOST_DECIMALS + 1):
        power = 10.0**exponent
        scaled = [round(value * power) for value in values]
        if all(abs(whole) < _EXACT and whole / power == value for whole, value in zip(scaled, values, strict=True)):
            return exponent, scaled
    return _DOUBLES, None


def _differences(numbers: Sequence[int]) -> list[int]:
    return [*numbers[:1], *(after - before for before, after in pairwise(numbers))]


def _varints(numbers: Sequence[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        rest = number << 1 if number >= 0 else (-number << 1) - 1
        while rest > 0x7F:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def _numbers(column: bytes) -> Times:
    """All at once: each byte's seven bits at its place, summed from one last byte to the next."""
    if not column:
        return np.zeros(0, dtype=np.int64)
    raw = np.frombuffer(column, dtype=np.uint8)
    lasts = np.flatnonzero(raw < 0x80)
    if not len(lasts) or lasts[-1] != len(raw) - 1:
        raise ValueError("a number has no end")
    starts = np.concatenate(([0], lasts[:-1] + 1))
    if int((lasts - starts).max()) > 9:
        raise ValueError("a number is too long")
    shifts = 7 * (np.arange(len(raw)) - np.repeat(starts, lasts - starts + 1))
    unsigned = np.add.reduceat((raw & 0x7F).astype(np.uint64) << shifts.astype(np.uint64), starts)
    return ((unsigned >> np.uint64(1)).astype(np.int64)) ^ -((unsigned & np.uint64(1)).astype(np.int64))
