"""``python -m tests.benchmarks.capacity``: how far one node, and one consortium, go, and what ends first.

A model, not a measurement: constants that were measured on small sizes, multiplied. Each demand is a share of what the
reference machine (or link, or chain) has; above 1 it does not fit, and the largest is the first bottleneck. Constants
are kept here with where they come from, and replaced by those of a ``bench-results.json`` where it has the row.

--results FILE   a report of `make bench`; by default the one in the repository root, where there is one

The tables are those of platform/docs/performance.md, which a test holds to the kept constants.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
_SECONDS: Final = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}
YEAR_S: Final = 365.25 * 86_400
GIB: Final = 2.0**30


@dataclass(frozen=True)
class Constant:
    """A cost a unit, in ``unit``; ``row`` is the benchmark and the start of the work that measures it, if one does."""

    value: float
    unit: str
    source: str
    row: tuple[str, str] | None = None


CONSTANTS: Final[Mapping[str, Constant]] = {
    "read": Constant(5.7e-3, "s of a core, one read over HTTP", "353 reads/s on two cores, 32 clients, 2026-11"),
    "create": Constant(1 / 66, "s of the one writer, one create", "66 creates/s, 32 clients, 2026-11"),
    "event": Constant(
        60e-6,
        "s of the one writer, an event",
        "ledger.record, 2026-11",
        ("ledger.record", "an event made durable, 1000"),
    ),
    "check": Constant(75e-6, "s of a core, an event checked again and opened", "ledger.fsck and ADR 58, 2026-11"),
    "index": Constant(150.0, "bytes of memory, an event findable", "ADR 58: 150 MB a million"),
    "log": Constant(2_160.0, "bytes on disk, an event with tags and tree", "log.db of 20,200 events, 2026-11"),
    "record": Constant(2_250.0, "bytes on disk, a record of 1 KiB in rows", "2.2 times its JSON, 2026-11"),
    "import": Constant(3e-3, "s of a core, a twin taken in", "1.9 ms of 3,000, 4.7 ms of 12,000, 2026-11"),
    "rotate": Constant(
        0.22e-6, "s of a core, a twin under a new KEK", "vault.rotate, 2026-12", ("vault.rotate", "KEK")
    ),
    "gated_memory": Constant(4.2 * GIB / 1e6, "bytes of memory, a twin of 32 features", "similarity.served, 1M, gated"),
    "gated_query": Constant(4.4e-6, "s of a core, a twin of 32 features", "similarity.served: 2.2 s on two, 1M"),
    "mask": Constant(0.39e-3, "s of a core, masks shared with one more hospital", "growth.all, 300 hospitals, busy"),
    "vector": Constant(81_600.0, "bytes, one hospital's masked numbers", "10,200 words of 8 bytes"),
    "key": Constant(300.0, "bytes, a signed round key as it is sent", "its 150 bytes, in hex"),
    "anchor": Constant(300_000.0, "gas, one anchored checkpoint", "30 gas an event at 10,000: ledger.anchor's bound"),
}


@dataclass(frozen=True)
class Load:
    """What a patient brings, and what is asked of a machine. Change it to your hospital's."""

    reads_a_year: float = 180
    creates_a_year: float = 240
    events_a_year: float = 60
    years_kept: float = 5
    peak: float = 4  # the busiest hour beside the mean
    cores: float = 16
    memory: float = 128 * GIB
    disk: float = 8e12
    check_within_s: float = 86_400
    load_within_s: float = 48 * 3600
    rotate_within_s: float = 3600
    answer_within_s: float = 60
    round_within_s: float = 60
    link: float = 125e6  # bytes a second at the coordinator
    chain: float = 2.5e6  # gas a second: 30 million each twelve seconds
    anchor_every_s: float = 600
    answers: float = 0.999  # the chance that a hospital that began a round ends it
    attempts: float = 3


Demand = Callable[[float, Mapping[str, float], Load], float]

BY_PATIENTS: Final[Mapping[str, Demand]] = {
    "reads (cores)": lambda n, c, of: n * of.reads_a_year * of.peak / YEAR_S * c["read"] / of.cores,
    "creates (one writer)": lambda n, c, of: n * of.creates_a_year * of.peak / YEAR_S * c["create"],
    "events (one writer)": lambda n, c, of: n * of.events_a_year * of.peak / YEAR_S * c["event"],
    "index of events (memory)": lambda n, c, of: n * of.events_a_year * of.years_kept * c["index"] / of.memory,
    "whole log checked in a day (one core)": lambda n, c, of: (
        n * of.events_a_year * of.years_kept * c["check"] / of.check_within_s
    ),
    "records and log (disk)": lambda n, c, of: (
        n * of.years_kept * (of.creates_a_year * c["record"] + of.events_a_year * c["log"]) / of.disk
    ),
    "first import in 48 h (one core)": lambda n, c, of: n * c["import"] / of.load_within_s,
    "keys rewrapped in an hour (one core)": lambda n, c, of: n * c["rotate"] / of.rotate_within_s,
    "gated cohort of all (memory)": lambda n, c, of: n * c["gated_memory"] / of.memory,
    "gated query in a minute (cores)": lambda n, c, of: n * c["gated_query"] / of.cores / of.answer_within_s,
}
"""Of one node with n patients."""

BY_HOSPITALS: Final[Mapping[str, Demand]] = {
    "masks of a round (one core each)": lambda n, c, of: n * c["mask"] / of.round_within_s,
    "keys and vectors of a round (coordinator's link)": lambda n, c, of: (
        (n * n * c["key"] + n * c["vector"]) / of.link / of.round_within_s
    ),
    "attempts until all of a round answer": lambda n, _, of: of.answers**-n / of.attempts,
    "anchors each ten minutes (one chain)": lambda n, c, of: n / of.anchor_every_s * c["anchor"] / of.chain,
}
"""Of one consortium with n hospitals."""

PATIENTS: Final = (10_000, 100_000, 1_000_000, 10_000_000, 50_000_000)
HOSPITALS: Final = (5, 50, 500, 5_000)


def constants(results: Mapping[str, Any] | None = None) -> dict[str, float]:
    """The kept constants, and in their place those that a report of `make bench` has measured."""
    found = {name: one.value for name, one in CONSTANTS.items()}
    for name, one in CONSTANTS.items():
        for row in (results or {}).get("results", []):
            if one.row and row["benchmark"] == one.row[0] and row["work"].startswith(one.row[1]):
                found[name] = row["measured"]["value"] * _SECONDS[row["measured"]["unit"]]
                break
    return found


def shares(demands: Mapping[str, Demand], size: float, of: Load, costs: Mapping[str, float]) -> dict[str, float]:
    """What each demand takes of what there is, the largest first."""
    found = {name: demand(size, costs, of) for name, demand in demands.items()}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def table(what: str, demands: Mapping[str, Demand], sizes: Sequence[int], costs: Mapping[str, float]) -> list[str]:
    """A table in Markdown: each demand's share at each size, and the first bottleneck of each."""
    found = {size: shares(demands, size, Load(), costs) for size in sizes}
    lines = [f"| {what} | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---|" + "--:|" * len(sizes)]
    lines += [f"| {name} | " + " | ".join(shown(found[size][name]) for size in sizes) + " |" for name in demands]
    first = [next(iter(found[size])) if next(iter(found[size].values())) > 1 else "fits" for size in sizes]
    return [*lines, "| **first bottleneck** | " + " | ".join(f"**{one.partition(' (')[0]}**" for one in first) + " |"]


def shown(share: float) -> str:
    """A share as people read it."""
    if share >= 100:
        return "> 100 ×"
    return f"{share:.1f} ×" if share >= 1 else f"{share:.0%}" if share >= 0.01 else "< 1%"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.capacity", description="What ends first.")
    parser.add_argument("--results", type=Path, default=ROOT / "bench-results.json", help="a report of `make bench`")
    options = parser.parse_args(arguments)
    results = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else None
    costs = constants(results)
    lines = [
        *table("one node, patients", BY_PATIENTS, PATIENTS, costs),
        "",
        *table("one consortium, hospitals", BY_HOSPITALS, HOSPITALS, costs),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
