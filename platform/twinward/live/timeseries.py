"""Series read back: as they are, at a moment, or aggregated by equal steps.

Samples are in order of time; of those measured at one moment by several devices or sent twice under two numbers, all
are kept. An aggregate leaves artefacts out; a step without any other sample has no point.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from twinward.core.late_module import LateModule
from twinward.core.sentences import sentence
from twinward.live.errors import BadQuery
from twinward.live.models import QUALITIES, Quality
from twinward.live.storage.columns import Columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    np = LateModule("numpy")

MAX_SPAN_MS: Final = 400 * 86_400_000
MAX_POINTS: Final = 100_000
MIN_STEP_MS: Final = 1
_ARTEFACT: Final = QUALITIES.index(Quality.ARTEFACT)


class Aggregate(StrEnum):
    """What becomes of the samples of a step."""

    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    FIRST = "first"
    LAST = "last"
    COUNT = "count"
    MEDIAN = "median"


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for: ``from_ms`` up to, not including, ``to_ms``; aggregated by ``step_ms``, or (0) as it is."""

    from_ms: int
    to_ms: int
    step_ms: int = 0
    aggregate: Aggregate = Aggregate.MEAN

    def __post_init__(self) -> None:
        if not 0 <= self.from_ms < self.to_ms:
            raise BadQuery("from has to be before to", hint="e.g. from=2026-01-31T08:00:00Z&to=2026-01-31T09:00:00Z")
        if self.to_ms - self.from_ms > MAX_SPAN_MS:
            raise BadQuery("a span has 400 days at most", hint="ask for several")
        if self.step_ms and (self.to_ms - self.from_ms) // self.step_ms > MAX_POINTS:
            raise BadQuery(sentence("that is more than {most} points", most=MAX_POINTS), hint="give a longer step")


@dataclass(frozen=True, slots=True)
class Point:
    """One point: a sample, or a step's aggregate at the step's beginning."""

    time_ms: int
    value: float
    quality: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one signal, in order of time."""

    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    qualities: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.times)


def joined(runs: Iterable[Columns], first_ms: int, stop_ms: int) -> Samples:
    """The samples of several runs within a span, by time."""
    some = list(runs)
    if not some:
        empty = np.zeros(0, dtype=np.int64)
        return Samples(empty, empty.astype(np.float64), empty.astype(np.uint8))
    times = np.concatenate([one.times for one in some])
    values = np.concatenate([one.values for one in some])
    qualities = np.concatenate([one.qualities for one in some])
    wanted = (times >= first_ms) & (times < stop_ms)
    times, values, qualities = times[wanted], values[wanted], qualities[wanted]
    order = np.argsort(times, kind="stable")
    return Samples(times[order], values[order], qualities[order])


def points(samples: Samples, span: Span) -> list[Point]:
    """What a span shows of samples. Raises ``BadQuery`` where that is too much to show as it is."""
    if span.step_ms:
        return _aggregated(samples, span)
    if len(samples) > MAX_POINTS:
        raise BadQuery(sentence("there are more than {most} samples", most=MAX_POINTS), hint="give a step")
    columns = (samples.times.tolist(), samples.values.tolist(), samples.qualities.tolist())
    return [Point(time, value, QUALITIES[quality]) for time, value, quality in zip(*columns, strict=True)]


def _aggregated(samples: Samples, span: Span) -> list[Point]:
    good = samples.qualities != _ARTEFACT
    times, values = samples.times[good], samples.values[good]
    if not len(times):
        return []
    steps = (times - span.from_ms) // span.step_ms
    starts = np.flatnonzero(np.concatenate(([True], steps[1:] != steps[:-1])))
    stops = np.concatenate((starts[1:], [len(times)]))
    found = _of_steps(values, starts, stops, span.aggregate)
    at = span.from_ms + steps[starts] * span.step_ms
    return [Point(time, value) for time, value in zip(at.tolist(), found.tolist(), strict=True)]


def _of_steps(
    values: npt.NDArray[np.float64], starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64], how: Aggregate
) -> npt.NDArray[np.float64]:
    match how:
        case Aggregate.MEAN:
            return np.asarray(np.add.reduceat(values, starts) / (stops - starts))
        case Aggregate.MIN:
            return np.asarray(np.minimum.reduceat(values, starts))
        case Aggregate.MAX:
            return np.asarray(np.maximum.reduceat(values, starts))
        case Aggregate.FIRST:
            return values[starts]
        case Aggregate.LAST:
            return values[stops - 1]
        case Aggregate.COUNT:
            return (stops - starts).astype(np.float64)
        case Aggregate.MEDIAN:
            pairs = zip(starts.tolist(), stops.tolist(), strict=True)
            return np.array([np.median(values[start:stop]) for start, stop in pairs])
