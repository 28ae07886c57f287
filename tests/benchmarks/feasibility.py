"""Feasibility counts at size: the hospital's side over two processes, the vendor's, bytes; held against the truth."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from tests.benchmarks.harness import Arm, Benchmark, Figure, Row, Scale, Target, cpu_s_of, race, versus
from tests.benchmarks.similarity import require_equal
from twinward.similarity.feasibility.engine import FeasibilityEngine
from twinward_crypto.feasibility.answer import Layout, Tables
from twinward_crypto.feasibility.kernel_answer import KernelTables, tables_for
from twinward_crypto.feasibility.noise import GeometricNoise
from twinward_crypto.feasibility.query import Answer, FeasibilityKey, FeasibilityQuery
from twinward_crypto.kernels import store

NUMERIC, LEVELS, CODES, RECORDED = 16, 32, 64, 4
WORKERS = 2
Made = TypeVar("Made")
BINDING = bytes(32)
_SLOTS = 4096
_NOBODY = ("always", "never")
_SMALLER = "1,500 rows instead of 100,000"


class _Quiet(GeometricNoise):
    """Noise of nothing, so that a count can be held against the truth."""

    def draw(self, randbelow: object = None) -> int:  # type: ignore[override]
        """0."""
        del randbelow
        return 0


def counted(scale: Scale) -> list[Row]:
    """The hospital's side, once: a count takes long enough to be its own average.

    The target is held against the busier process's CPU, which is the wall time where both have a core to themselves.
    """
    count = scale.pick(100_000, 1_500)
    levels = (LEVELS + 1,) * NUMERIC + (RECORDED,) * CODES
    draw = np.random.default_rng(7)
    rows = np.stack([draw.integers(0, size, count) for size in levels], axis=1)
    costs = [[0] * size for size in levels]
    for feature in (0, 3, 20, 41):
        costs[feature] = [int(level % 2) for level in range(levels[feature])]
    truth = int((sum(np.array(costs[j])[rows[:, j]] for j in range(len(levels))) == 0).sum())
    real = GeometricNoise.of(250)
    noise = _Quiet(real.millis, real.bound, real.cumulative)
    key = FeasibilityKey()
    asked_s, query = _timed(lambda: key.query(costs, binding=BINDING).encode())
    engine = FeasibilityEngine(levels, BINDING, count, WORKERS)
    try:
        checked_s, asked = _timed(lambda: engine.check(query))
        before = {pid: cpu_s_of(pid) for pid in engine.pids}
        hospital_s, bundle = _timed(lambda: engine.count(rows, asked, noise))
        spent = [cpu_s_of(pid) - before.get(pid, 0.0) for pid in engine.pids]
    finally:
        engine.close()
    made = tables_for(FeasibilityQuery.decode(query, levels=levels, binding=BINDING), asked.layout)
    kinds = race(_kinds(made, asked.layout, rows), scale.pick(7, 3))
    answer = Answer.decode(bundle, slots=engine.slots(1, noise), binding=BINDING)
    vendor_s, found = _timed(lambda: key.matches(answer))
    require_equal(np.array(found - noise.bound), np.array(truth), "feasibility count")
    work = f"feasibility, {count:,} rows, {NUMERIC}×{LEVELS} + {CODES} codes"
    short = "" if not scale.quick else _SMALLER
    return [
        Row(f"{work}: CPU of the busier of {WORKERS} processes", Figure(max(spent), "s"), target=_in_time(short)),
        Row(f"{work}: one count, wall, load {os.getloadavg()[0]:.1f}", Figure(hospital_s, "s")),
        Row(f"{work}: the query checked, and a process started", Figure(checked_s, "s")),
        Row(f"{work}: criteria encrypted by the vendor", Figure(asked_s * 1e3, "ms")),
        Row(f"{work}: answer counted by the vendor, one core", Figure(vendor_s, "s")),
        *(
            versus(f"a slot that {name} matches", kinds, name, "rows", clock="cpu", unit="µs", scale=1e6, kind="times")
            for name in _NOBODY
        ),
        Row(f"{work}: query up", Figure(len(query) / 1e3, "kB")),
        Row(
            f"{work}: answer",
            Figure(len(bundle) / 1e6, "MB"),
            target=Target("≤ 4.5 MB", "value", "most", 4.5, short),
        ),
    ]


def _kinds(tables: Tables | KernelTables, layout: Layout, rows: np.ndarray) -> list[Arm]:
    """As many slots of each kind: of rows, and of nobody."""
    some = layout.rows(rows[:_SLOTS])
    nobody = {
        name: np.tile(np.array(layout.dummy(matches=name == "always"), np.int32), (len(some), 1)) for name in _NOBODY
    }
    return [
        Arm(name, lambda slots=slots: tables.slots(slots), len(some))
        for name, slots in {"rows": some, **nobody}.items()
    ]


def _in_time(short: str) -> Target:
    if store.unusable():
        return Target("≤ 60 s without kernels", "value", "most", 60.0, short)
    return Target("≤ 5 s with kernels", "value", "most", 5.0, short)


def _timed(do: Callable[[], Made]) -> tuple[float, Made]:
    began = time.perf_counter()
    made = do()
    return time.perf_counter() - began, made


BENCHMARKS = (
    Benchmark(
        "similarity.feasibility",
        f"one count under hidden criteria over {WORKERS} processes, by kernels where they are ready and by libsodium"
        " alone with TWINWARD_KERNELS=off; held against the truth in the clear",
        counted,
    ),
)
