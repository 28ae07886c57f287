"""Measuring side by side: arms of one race run in turn, so that a busy minute hurts all of them alike.

A ratio is the median over repetitions of (baseline / measured) *within the same repetition*, never of two figures
from different moments. CPU time is the process's own (all its threads); wall time is for what waits on the disk.
Nothing here asserts: a missed target is a row that says so.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Clock = Literal["cpu", "wall"]


@dataclass(frozen=True)
class Scale:
    """How large a run is, and a folder of its own to work in."""

    quick: bool
    folder: Path

    def pick(self, full: int, quick: int) -> int:
        """The size for this run."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Arm:
    """One contestant: ``run`` does ``items`` units of work; ``prepare`` is not timed."""

    name: str
    run: Callable[[], object]
    items: int = 1
    prepare: Callable[[], object] = lambda: None


@dataclass
class Samples:
    """Every repetition of one arm, in seconds a call."""

    name: str
    items: int
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def per_item(self, clock: Clock) -> list[float]:
        """Seconds an item, each repetition."""
        return [seconds / self.items for seconds in (self.cpu_s if clock == "cpu" else self.wall_s)]


def race(arms: Sequence[Arm], repetitions: int, *, warm_up: bool = True, collect: bool = True) -> dict[str, Samples]:
    """Run the arms in turn, the order reversed every other repetition; a first, warming one is not counted.

    ``collect`` empties the garbage collector before every call; without it a call may pay for an earlier one's, which
    is what latencies of many small calls want.
    """
    results = {arm.name: Samples(arm.name, arm.items) for arm in arms}
    for repetition in range(-1 if warm_up else 0, repetitions):
        for arm in arms if repetition % 2 == 0 else reversed(arms):
            wall, cpu = timed(arm, collect=collect)
            if repetition >= 0:
                results[arm.name].wall_s.append(wall)
                results[arm.name].cpu_s.append(cpu)
    return results


def timed(arm: Arm, *, collect: bool = True) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    arm.prepare()
    if collect:
        gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    arm.run()
    return time.perf_counter() - wall, time.process_time() - cpu


@dataclass(frozen=True)
class Figure:
    """A number with its spread over the repetitions (lowest and highest)."""

    value: float
    unit: str
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Sequence[float], unit: str, scale: float = 1.0) -> Figure:
        """The median and the spread of some repetitions, times ``scale``."""
        scaled = [value * scale for value in values]
        return cls(statistics.median(scaled), unit, min(scaled), max(scaled))

    def text(self) -> str:
        """For the table."""
        spread = f" ({_short(self.low)}–{_short(self.high)})" if self.low is not None and self.high is not None else ""
        return f"{_short(self.value)} {self.unit}{spread}".strip()


RatioKind = Literal["faster", "fewer", "times", "of"]


@dataclass(frozen=True)
class Ratio:
    """Measured against baseline.

    Attributes:
        value, low, high: median and spread over the repetitions.
        kind: ``faster`` and ``fewer`` = baseline / measured, ``times`` and ``of`` = measured / baseline.
    """

    value: float
    kind: RatioKind
    low: float | None = None
    high: float | None = None

    @classmethod
    def between(cls, measured: Sequence[float], baseline: Sequence[float], kind: RatioKind) -> Ratio:
        """Paired by repetition. ``ValueError`` where they cannot be paired."""
        pairs = zip(measured, baseline, strict=True)
        values = [base / ours if kind in ("faster", "fewer") else ours / base for ours, base in pairs]
        return cls(statistics.median(values), kind, min(values), max(values))

    def text(self) -> str:
        """For the table."""
        words = {"faster": "× as fast", "fewer": "× fewer", "times": "× its cost", "of": " of it"}
        return f"{_short(self.value)}{words[self.kind]}"


@dataclass(frozen=True)
class Target:
    """What the design says must be reached.

    Attributes:
        text: as printed.
        judges: ``ratio`` or ``value`` of the row; None where its baseline or workload is absent here.
        at: whether the bound is a floor or a ceiling.
        bound: in the row's own unit.
        short_of: how this run is smaller than what the target asks for; empty if it is the target's own workload.
    """

    text: str
    judges: Literal["ratio", "value"] | None = None
    at: Literal["least", "most"] = "least"
    bound: float = 0.0
    short_of: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    work: str
    measured: Figure
    baseline: Figure | None = None
    baseline_name: str = ""
    ratio: Ratio | None = None
    target: Target | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    def met(self) -> bool | None:
        """Whether the target is reached; None where nothing can be judged."""
        target = self.target
        judged = None if target is None or target.judges is None else self.ratio if target.judges == "ratio" else self
        if target is None or judged is None:
            return None
        value = judged.measured.value if isinstance(judged, Row) else judged.value
        return value >= target.bound if target.at == "least" else value <= target.bound

    def verdict(self) -> str:
        """For the table's last column."""
        met = self.met()
        if met is None:
            return "–" if self.target is None else f"not judged: {self.target.short_of or 'no baseline'}"
        said = "yes" if met else "MISSED"
        return f"{said} ({self.target.short_of})" if self.target and self.target.short_of else said


def versus(
    work: str,
    races: Mapping[str, Samples],
    ours: str,
    theirs: str,
    *,
    clock: Clock,
    unit: str,
    scale: float,
    kind: RatioKind = "faster",
    target: Target | None = None,
) -> Row:
    """The row of two arms: seconds an item times ``scale``, in ``unit``."""
    measured, baseline = races[ours].per_item(clock), races[theirs].per_item(clock)
    return Row(
        work,
        Figure.of(measured, unit, scale),
        Figure.of(baseline, unit, scale),
        theirs,
        Ratio.between(measured, baseline, kind),
        target,
        raw_of(races[ours], races[theirs]),
    )


def raw_of(*samples: Samples) -> dict[str, Any]:
    """Every repetition, for the result file."""
    return {one.name: {"items": one.items, "wall_s": one.wall_s, "cpu_s": one.cpu_s} for one in samples}


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its name, its workload in words, and what measures it."""

    name: str
    workload: str
    run: Callable[[Scale], list[Row]]
    in_quick: bool = True


def cpu_s_of(pid: int) -> float:
    """CPU seconds that a process has spent so far (proc(5), stat: utime and stime); 0 where the system cannot tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_gib_of(pid: int) -> float:
    """What a process has to itself, with its share of what is shared (PSS), in GiB; 0 where the system cannot tell."""
    summary = Path(f"/proc/{pid}/smaps_rollup")
    if not summary.exists():
        return 0.0
    line = next(line for line in summary.read_text().splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) / (1 << 20)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, -int(-share * len(ranked) // 1) - 1)]


def _short(value: float | None) -> str:
    if value is None:
        return ""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"
