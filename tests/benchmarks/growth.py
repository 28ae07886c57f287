"""How cost grows: one figure each for twins, events, features and hospitals, at several sizes, drawn in one picture.

Flat lines are costs a unit that do not depend on how much there is. A size is a fresh store; the lowest of two runs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Picture
from threadpoolctl import threadpool_limits

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale
from tests.benchmarks.ledger import trail
from tests.benchmarks.similarity import LEVELS, uniform
from tests.integration.vault.conftest import build
from twinward.core.clock import FixedClock
from twinward.core.ids import new_twin_id
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity, RoundSecret, round_transcript
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.parameters import plan
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.scoring import score

PICTURE = "bench-growth.svg"
DIMENSION = 10_200
"""Numbers in an LSTM autoencoder's gradient."""

Series = dict[int, float]
"""A cost by size."""


def growth(scale: Scale) -> list[Row]:
    """The four curves, drawn, each summed up as what a unit of the largest size costs beside one of the smallest."""
    with threadpool_limits(1):
        curves = {
            ("twins", "µs a twin: keys made and rewrapped"): _twins(scale, (1_000, 4_000, 16_000)),
            ("events in one log", "µs an event: sealed, durable, checked again"): _events(
                scale, (2_000, 8_000, 32_000)
            ),
            ("features of 10,000 records", "ms a query, vendor-key"): _features((4, 8, 16, 32, 64)),
            ("hospitals in a round", "ms a hospital: masks of 10,200 numbers"): _hospitals((3, 10, 30, 100, 300)),
        }
    draw(curves, Path(PICTURE))
    return [
        Row(
            f"{cost}; of {max(series):,} {size} beside {min(series):,}",
            Figure(series[max(series)] / series[min(series)], "times as much"),
            raw={"by_size": {str(at): value for at, value in series.items()}},
        )
        for (size, cost), series in curves.items()
    ]


def _twins(scale: Scale, sizes: Sequence[int]) -> Series:
    def cost(count: int) -> float:
        folder = scale.folder / f"twins-{count}-{time.perf_counter_ns()}"
        folder.mkdir()
        clock = FixedClock()
        house = build(folder, clock)
        with closing(house.vault):
            twins = [new_twin_id(clock.now_ms()) for _ in range(count)]

            def work() -> None:
                house.keyring.reserve(twins)
                house.keyring.rotate()

            return _cpu(work) / count * 1e6

    return _lowest(cost, sizes)


def _events(scale: Scale, sizes: Sequence[int]) -> Series:
    def cost(count: int) -> float:
        folder = scale.folder / f"events-{count}-{time.perf_counter_ns()}"
        folder.mkdir()
        with trail(folder) as (_, audit, events):
            batch = [events[number % len(events)] for number in range(1000)]

            def work() -> None:
                for _ in range(count // 1000):
                    audit.record(batch)
                audit.checkpoint_and_anchor()
                audit.verify()

            return _cpu(work) / count * 1e6

    return _lowest(cost, sizes)


def _features(sizes: Sequence[int]) -> Series:
    def cost(dimension: int) -> float:
        rows = uniform(10_000, dimension)
        made = plan(dimension, LEVELS)
        asked = QueryKey.generate(made).encrypt_query(rows[3].tolist()).bundle
        database = Database.build(made, rows)
        return _cpu(lambda: score(asked, database)) * 1e3

    return _lowest(cost, sizes)


def _hospitals(sizes: Sequence[int]) -> Series:
    def cost(count: int) -> float:
        names = [f"hospital-{number:04}" for number in range(count)]
        identities = [HospitalIdentity(name, hashlib.sha256(name.encode()).digest()) for name in names]
        roster = {one.name: one.public_key for one in identities}
        secrets = [RoundSecret(one, roster, bytes(32), 1) for one in identities]
        keys = [one.signed_key for one in secrets]
        transcript = round_transcript(bytes(32), 1, 1, keys, b"")
        values = np.zeros(DIMENSION, np.int64)
        return _cpu(lambda: secrets[0].mask(values, keys, transcript, least=count)) * 1e3

    return _lowest(cost, sizes)


def _lowest(cost: Callable[[int], float], sizes: Sequence[int]) -> Series:
    return {size: min(cost(size) for _ in range(2)) for size in sizes}


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def draw(curves: dict[tuple[str, str], Series], path: Path) -> None:
    """Each curve on axes of its own, both logarithmic; the cost's name is the title."""
    mpl.rcParams["svg.hashsalt"] = "twinward"
    picture = Picture(figsize=(9.6, 5.6), layout="constrained")
    for axes, ((size, cost), series) in zip(picture.subplots(2, 2).flat, curves.items(), strict=True):
        axes.plot(list(series), list(series.values()), marker="o")
        axes.set(xscale="log", yscale="log", xlabel=size)
        axes.set_title(cost, fontsize=9)
        axes.set_ylim(min(series.values()) / 3, max(series.values()) * 3)
        axes.grid(visible=True, alpha=0.3)
        axes.set_xticks(list(series), [f"{value:,}" for value in series], fontsize=8)
        axes.minorticks_off()
    picture.savefig(path, metadata={"Date": None})


BENCHMARKS = (
    Benchmark(
        "growth.all",
        f"CPU a unit over twins, events, features and hospitals, the lowest of two, drawn to {PICTURE}",
        growth,
        in_quick=False,
    ),
)
