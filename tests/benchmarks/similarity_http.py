"""A gated query over HTTP: what a vendor waits for, and what the hospital's processes spend and hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.harness import Benchmark, Figure, Row, Scale, Target, cpu_s_of, memory_gib_of
from tests.benchmarks.served_cohort import WORKERS, rows
from tests.benchmarks.similarity import require_equal, squared_distances
from twinward.client import VendorClient

DIMENSION, NEAREST = 32, 20
_PATIENCE_S = 540.0


def asked(scale: Scale) -> list[Row]:
    """The first query has the cohort's patients compared and logged; those after it are what is measured."""
    count = scale.pick(1_000_000, 20_000)
    levels = rows(count, DIMENSION)
    query = levels[7]
    values = {f"f{k}": float(value) for k, value in enumerate(query)}
    distances = squared_distances(levels, query)
    radius = np.partition(distances, NEAREST - 1)[NEAREST - 1]
    truth = int((distances <= radius).sum())
    del levels, distances
    command = [sys.executable, "-m", "tests.benchmarks.served_cohort", str(count), str(DIMENSION), str(scale.folder)]
    with subprocess.Popen(command, start_new_session=True) as server:
        try:
            ready = _ready(server, scale.folder)
            url = f"http://127.0.0.1:{ready['port']}"
            with VendorClient(url, "token", hospital_key=str(ready["key"]), timeout_s=300.0) as vendor:
                walls, spent = [], []
                for repetition in range(scale.pick(6, 3)):
                    before, began = _cpu_s(server.pid), time.perf_counter()
                    found = vendor.query_gated(values, nearest=NEAREST)
                    walls.append(time.perf_counter() - began)
                    spent.append(_cpu_s(server.pid) - before)
                    require_equal(np.array(found.count), np.array(truth), f"query {repetition}")
            memory = sum(memory_gib_of(pid) for pid in _session(server.pid))
        finally:
            os.killpg(server.pid, signal.SIGKILL)
    smaller = "20,000 records" if scale.quick else ""
    work = f"gated over HTTP, {count:,}×{DIMENSION}, {WORKERS} processes"
    load = f"load {os.getloadavg()[0]:.1f}"
    return [
        Row(
            f"{work}: one query, wall, {load}",
            Figure.of(walls[1:], "s"),
            target=Target("≤ 3 s", "value", "most", 3, smaller),
        ),
        Row(f"{work}: CPU of all its processes", Figure.of(spent[1:], "s")),
        Row(f"{work}: the first query of a vendor, wall", Figure(walls[0], "s")),
        Row(
            f"{work}: memory of all its processes",
            Figure(memory, "GiB"),
            target=Target("≤ 2.5 GiB", "value", "most", 2.5, smaller),
        ),
        Row(
            f"{work}: prepared once, CPU (one core)",
            Figure(float(ready["prepared_cpu_s"]), "s"),
            target=Target("≤ 60 s", "value", "most", 60, smaller),
        ),
        Row(f"{work}: prepared once, wall", Figure(float(ready["prepared_s"]), "s")),
    ]


def _ready(server: subprocess.Popen[bytes], folder: Path) -> dict[str, float | str]:
    until = time.monotonic() + _PATIENCE_S
    while not (folder / "ready.json").exists():
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the cohort is not served")
        time.sleep(0.2)
    told: dict[str, float | str] = json.loads((folder / "ready.json").read_text())
    return told


def _session(leader: int) -> list[int]:
    """The server and all that it started."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            found.append(int(place.parent.name))
    return found


def _cpu_s(leader: int) -> float:
    return sum(cpu_s_of(pid) for pid in _session(leader))


BENCHMARKS = (
    Benchmark(
        "similarity.http",
        f"the {NEAREST} nearest asked of a served cohort without weights (with them the index is twice as large"
        " and scored in twice the time), held against brute force; access is permitted and not logged",
        asked,
        in_quick=False,
    ),
)
