"""``python -m tests.benchmarks``: every pillar beside its baselines, one table, ``bench-results.json``.

--quick          small sizes, under a minute
--only PATTERN   benchmarks whose name contains PATTERN or matches it as a glob (``vault``, ``*.bls``)
--list           names and workloads, nothing is run
--output FILE    where the results go; by default bench-results.json in the repository root
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.harness import Benchmark, Row, Scale

ROOT = Path(__file__).resolve().parents[2]
PILLARS = ("vault", "live", "things", "ledger", "similarity", "federation", "studies", "outbreak", "growth")
PACKAGES = (
    "cryptography", "fhir.resources", "sqlmodel", "SQLAlchemy", "py-ecc", "py-arkworks-bls12381", "py-evm", "tenseal",
    "numba", "numpy", "scikit-learn", "torch", "opacus", "dp-accounting",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for. A missed target is printed, not an error; a benchmark that fails is one."""
    options = _parser().parse_args(arguments)
    chosen = [one for one in benchmarks() if matches(one.name, options.only)]
    console = Console(width=None if sys.stdout.isatty() else 180)
    if not chosen:
        console.print(f"no benchmark matches {options.only!r}; --list names them all", markup=False)
        return 2
    if options.list:
        for one in chosen:
            console.print(f"{one.name:24}{one.workload}{'' if one.in_quick else '  [full runs only]'}", markup=False)
        return 0
    before, started = os.getloadavg(), time.perf_counter()
    results, failed = run_all(chosen, quick=options.quick, console=console)
    report = {
        "quick": options.quick,
        "machine": machine(before),
        "seconds": round(time.perf_counter() - started, 1),
        "failed": failed,
        "results": results,
        "not_built_or_not_measured": [{"target": what, "why": why} for what, why in not_built()],
    }
    options.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print(f"{report['seconds']} s; every repetition is in {options.output.name}", markup=False)
    return 1 if failed else 0


def benchmarks() -> list[Benchmark]:
    """Every benchmark of every pillar, in order."""
    from tests.benchmarks import (
        console,
        contacting,
        deciding,
        examining,
        feasibility,
        federation,
        flower,
        growth,
        http,
        ledger,
        ledger_audit,
        ledger_witnesses,
        live,
        live_alarms,
        live_alerting,
        live_mqtt,
        many_patients,
        outbreak,
        poisoning,
        searching,
        served,
        similarity,
        similarity_http,
        similarity_scale,
        study_quality,
        study_speed,
        things,
        vault,
        vendor_start,
    )

    return [
        *vault.BENCHMARKS,
        *deciding.BENCHMARKS,
        *http.BENCHMARKS,
        *served.BENCHMARKS,
        *searching.BENCHMARKS,
        *many_patients.BENCHMARKS,
        *live.BENCHMARKS,
        *live_alarms.BENCHMARKS,
        *live_alerting.BENCHMARKS,
        *live_mqtt.BENCHMARKS,
        *things.BENCHMARKS,
        *ledger.BENCHMARKS,
        *ledger_witnesses.BENCHMARKS,
        *ledger_audit.BENCHMARKS,
        *examining.BENCHMARKS,
        *console.BENCHMARKS,
        *similarity.BENCHMARKS,
        *similarity_scale.BENCHMARKS,
        *similarity_http.BENCHMARKS,
        *feasibility.BENCHMARKS,
        *vendor_start.BENCHMARKS,
        *contacting.BENCHMARKS,
        *federation.BENCHMARKS,
        *poisoning.BENCHMARKS,
        *flower.BENCHMARKS,
        *study_speed.BENCHMARKS,
        *study_quality.BENCHMARKS,
        *outbreak.BENCHMARKS,
        *growth.BENCHMARKS,
    ]


def not_built() -> list[tuple[str, str]]:
    """Targets of the design that nothing here measures, and why."""
    from tests.benchmarks import federation, ledger, similarity, vault

    return [*vault.NOT_BUILT, *ledger.NOT_BUILT, *similarity.NOT_BUILT, *federation.NOT_BUILT]


def matches(name: str, pattern: str) -> bool:
    """Whether ``--only PATTERN`` means this benchmark."""
    return pattern in name or fnmatch(name, pattern)


def run_all(chosen: Sequence[Benchmark], *, quick: bool, console: Console) -> tuple[list[dict[str, Any]], list[str]]:
    """Run, print the table and the list of what is missing; the results and the names of what failed."""
    table = _table(quick=quick)
    results: list[dict[str, Any]] = []
    failed: list[str] = []
    for one in chosen:
        if quick and not one.in_quick:
            console.print(f"{one.name}: left to the full run", style="dim", markup=False)
            continue
        started = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory(prefix="twinward-bench-") as folder:
                rows = one.run(Scale(quick, Path(folder)))
        except Exception:  # noqa: BLE001 - one broken benchmark must not cost the others their results
            console.print_exception()
            failed.append(one.name)
            continue
        seconds = time.perf_counter() - started
        console.print(f"{one.name}: {seconds:.1f} s", style="dim", markup=False)
        results += [result_of(one, row) for row in rows]
        for row in rows:
            _add(table, row)
        table.add_section()
    console.print(table)
    console.print("Targets of the design that this run says nothing about:", style="bold")
    for what, why in not_built():
        console.print(f"  · {what}: {why}", markup=False)
    for name in failed:
        console.print(f"FAILED: {name}", style="red", markup=False)
    return results, failed


def result_of(benchmark: Benchmark, row: Row) -> dict[str, Any]:
    """A row as it goes into the file."""
    return {
        "benchmark": benchmark.name,
        "workload": benchmark.workload,
        "work": row.work,
        "measured": asdict(row.measured),
        "baseline": asdict(row.baseline) if row.baseline else None,
        "baseline_name": row.baseline_name,
        "ratio": asdict(row.ratio) if row.ratio else None,
        "target": asdict(row.target) if row.target else None,
        "met": row.met(),
        "verdict": row.verdict(),
        "raw": dict(row.raw),
    }


def machine(load_before: tuple[float, float, float]) -> dict[str, Any]:
    """The facts without which a figure means nothing."""
    return {
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "load_average_before": load_before,
        "load_average_after": os.getloadavg(),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _table(*, quick: bool) -> Table:
    title = "Twinward against its baselines, same run" + (" (quick: small sizes)" if quick else "")
    table = Table(title=title, caption="median (lowest–highest) of interleaved repetitions")
    for heading in ("work", "measured", "baseline", "ratio", "target", "met?"):
        table.add_column(heading, overflow="fold")
    return table


def _add(table: Table, row: Row) -> None:
    met = row.met()
    style = "green" if met else "" if met is None else "red"
    baseline = f"{row.baseline_name}: {row.baseline.text()}" if row.baseline else row.baseline_name or "–"
    table.add_row(
        row.work,
        row.measured.text(),
        baseline,
        row.ratio.text() if row.ratio else "–",
        row.target.text if row.target else "–",
        f"[{style}]{row.verdict()}[/]" if style else row.verdict(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Ratios measured in one run.")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="names that contain or match this")
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and their workloads")
    parser.add_argument("--output", type=Path, default=ROOT / "bench-results.json", help="where results are written")
    return parser


if __name__ == "__main__":
    sys.exit(main())
