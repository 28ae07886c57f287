"""Similarity at size: a million records over two processes, bytes, memory, and how cost grows with n and d."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Picture
from threadpoolctl import threadpool_limits

from tests.benchmarks.harness import Arm, Benchmark, Figure, Row, Scale, Target, cpu_s_of, memory_gib_of, race, versus
from tests.benchmarks.similarity import LEVELS, PlainScan, clustered, require_equal, squared_distances, uniform
from twinward.similarity.scoring.placement import Engine, Scoring
from twinward.similarity.scoring.shards import ProcessScorer, Scorer
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query, score_gated
from twinward_crypto.homomorphic.parameters import FAST, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.scoring import score
from twinward_crypto.homomorphic.wire import Bundle
from twinward_crypto.matrix.index import build_index, key_for
from twinward_crypto.matrix.token import make_token

PICTURE = "bench-similarity-growth.svg"
WORKERS = 2
BINDING = bytes(32)
_SCORING = Scoring(Engine.PROCESSES, WORKERS)
_TIMES = 5


def served(scale: Scale) -> list[Row]:
    """Wall time at the hospital's side, and the busier process's CPU, which that is where cores are free."""
    count = scale.pick(1_000_000, 20_000)
    smaller = "20,000 records" if scale.quick else ""
    shown = []
    for dimension, target in ((32, None), (64, Target("≤ 0.16 s", "value", "most", 0.16, smaller))):
        rows = uniform(count, dimension).astype(np.int16)
        made = plan(dimension, LEVELS, profile=FAST)
        key = QueryKey.generate(made)
        asked = key.encrypt_query(rows[7].tolist(), binding=BINDING)
        shown += _served(
            f"vendor-key fast, {count:,}×{dimension}",
            asked.bundle,
            lambda made=made, rows=rows: _SCORING.vendor_key(made, rows, binding=BINDING),
            lambda answer, key=key, asked=asked: key.decrypt_distances(asked, answer),
            rows,
            target,
        )
    rows = uniform(count, 32).astype(np.int16)
    gated = plan_gated(32, LEVELS)
    gate = GateKey.generate(gated)
    sealed = encrypt_gated_query(gate.public_bundle(binding=BINDING), rows[7].tolist())
    return shown + _served(
        f"gated ({gated.profile.name}), {count:,}×32",
        sealed,
        lambda: _SCORING.gated(gate, rows, binding=BINDING),
        gate.open_distances,
        rows,
    )


def _served(
    work: str,
    question: Bundle,
    prepare: Callable[[], Scorer],
    opened: Callable[[Bundle], Any],
    rows: Any,
    target: Target | None = None,
) -> list[Row]:
    scan, expected = PlainScan(rows), squared_distances(rows, rows[7].astype(np.int64))
    began = time.perf_counter()
    scorer = prepare()
    ready = time.perf_counter() - began
    try:
        answer = scorer.score(question)
        require_equal(opened(answer), expected, work)
        pids = scorer.pids if isinstance(scorer, ProcessScorer) else []
        before = [cpu_s_of(pid) for pid in pids]
        arms = [Arm("served", lambda: scorer.score(question)), Arm("numpy scan", lambda: scan.distances(rows[7]))]
        samples = race(arms, _TIMES)
        busier = max(cpu_s_of(pid) - once for pid, once in zip(pids, before, strict=True)) / (_TIMES + 1)
        memory = sum(memory_gib_of(pid) for pid in pids)
    finally:
        scorer.close()
    common: dict[str, Any] = {"clock": "wall", "unit": "s", "scale": 1, "kind": "times"}
    return [
        versus(
            f"{work}: one query, {WORKERS} processes, load {os.getloadavg()[0]:.1f}",
            samples,
            "served",
            "numpy scan",
            **common,
        ),
        Row(f"{work}: CPU of the busier process, a query", Figure(busier, "s"), target=target),
        Row(f"{work}: prepared once", Figure(ready, "s")),
        Row(f"{work}: memory of its processes", Figure(memory, "GiB")),
        Row(f"{work}: query up", Figure(len(question.encode()) / 1e3, "kB")),
        Row(f"{work}: answer", Figure(len(answer.encode()) / 1e6, "MB")),
    ]


def growth(scale: Scale) -> list[Row]:
    """Each way of asking, over n at one d, and over d at one n; drawn, and summed up as cost per record."""
    counts, dimensions = (5_000, 20_000, 50_000, 100_000, 200_000), (4, 8, 16, 32, 64)
    at_n, at_d = 50_000, 16
    with threadpool_limits(1):
        by_n = {n: _each_way(n, at_d) for n in counts}
        by_d = {d: _each_way(at_n, d) for d in dimensions}
    _draw(by_n, by_d, at_d, at_n, Path(PICTURE))
    first, last = counts[0], counts[-1]
    return [
        Row(
            f"{name}, d = {at_d}: {last // first}× the records cost",
            Figure(by_n[last][name] / by_n[first][name], "times as much"),
            Figure(by_n[last]["numpy scan"] / by_n[first]["numpy scan"], "times as much"),
            "numpy scan",
            raw={
                "seconds_by_n": {str(n): at[name] for n, at in by_n.items()},
                "seconds_by_d": {str(d): at[name] for d, at in by_d.items()},
            },
        )
        for name in by_n[first]
        if name != "numpy scan"
    ]


def _each_way(count: int, dimension: int) -> dict[str, float]:
    """CPU seconds of one query in each mode, over clustered records; the lowest of three."""
    rows = clustered(count, dimension)
    query = rows[3].tolist()
    radius = int(np.partition(squared_distances(rows, rows[3]), count // 1000)[count // 1000])
    made, gated = plan(dimension, LEVELS), plan_gated(dimension, LEVELS)
    key, gate, secret = QueryKey.generate(made), GateKey.generate(gated), key_for(dimension, LEVELS - 1)
    database, index = Database.build(made, rows), gate.encrypt_index(rows)
    tree = build_index(secret, rows, top=LEVELS - 1).tree
    asked = key.encrypt_query(query).bundle
    sealed = encrypt_gated_query(gate.public_bundle(), query)
    token = make_token(secret, query, radius, top=LEVELS - 1)
    scan = PlainScan(rows)
    arms = [
        Arm("vendor-key", lambda: score(asked, database)),
        Arm("gated", lambda: score_gated(sealed, index)),
        Arm("matrix", lambda: tree.search(token)),
        Arm("numpy scan", lambda: scan.distances(query)),
    ]
    return {name: min(samples.cpu_s) for name, samples in race(arms, 3).items()}


def _draw(
    by_n: dict[int, dict[str, float]], by_d: dict[int, dict[str, float]], at_d: int, at_n: int, path: Path
) -> None:
    mpl.rcParams["svg.hashsalt"] = "twinward"
    picture = Picture(figsize=(9.6, 3.6), layout="constrained")
    left, right = picture.subplots(1, 2, sharey=True)
    for axes, series, label in ((left, by_n, f"records, d = {at_d}"), (right, by_d, f"features, n = {at_n:,}")):
        for name in next(iter(series.values())):
            axes.plot(list(series), [at[name] * 1e3 for at in series.values()], marker="o", label=name)
        axes.set(xscale="log", yscale="log", xlabel=label)
        axes.grid(visible=True, alpha=0.3)
        axes.set_xticks(list(series), [f"{value:,}" for value in series], fontsize=8)
        axes.minorticks_off()
    left.set_ylabel("ms of one core, one query")
    left.legend(frameon=False, loc="upper left", fontsize=8)
    picture.savefig(path, metadata={"Date": None})


BENCHMARKS = (
    Benchmark(
        "similarity.served",
        f"one encrypted query against a cohort held by {WORKERS} processes, wall time; answers checked against brute"
        " force",
        served,
        in_quick=False,
    ),
    Benchmark(
        "similarity.growth",
        f"one query in each mode over clustered records, the lowest of three, drawn to {PICTURE}; matrix mode finds one"
        " in a thousand",
        growth,
        in_quick=False,
    ),
)
