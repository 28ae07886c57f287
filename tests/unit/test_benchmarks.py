"""The benchmark harness: what it computes and prints, never how fast anything is."""

from __future__ import annotations

import gc
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks import __main__ as command
from tests.benchmarks import capacity
from tests.benchmarks.harness import (
    Arm,
    Benchmark,
    Figure,
    Ratio,
    Row,
    Samples,
    Scale,
    Target,
    percentile,
    race,
    raw_of,
    versus,
)


def samples(name: str, *seconds: float, items: int = 1) -> Samples:
    return Samples(name, items, wall_s=list(seconds), cpu_s=[2 * one for one in seconds])


def test_ratios_are_paired_by_repetition() -> None:
    # The medians (2 and 12) would say 6; each repetition by itself says 10, 6 and 3.
    ratio = Ratio.between([1, 2, 4], [10, 12, 12], "faster")
    assert (ratio.value, ratio.low, ratio.high) == (6, 3, 10)
    ratio = Ratio.between([1, 2, 30], [10, 12, 12], "faster")
    assert (ratio.value, ratio.low, ratio.high) == (6, 0.4, 10)
    assert Ratio.between([1, 2, 4], [10, 16, 10], "times").value == 0.125
    assert Ratio.between([0.9], [0.6], "of").value == pytest.approx(1.5)
    with pytest.raises(ValueError, match="zip"):
        Ratio.between([1, 2], [1], "faster")


def test_a_row_is_per_item_in_its_unit_and_on_its_clock() -> None:
    timed = {
        "ours": samples("ours", 0.002, 0.004, 0.003, items=1000),
        "theirs": samples("theirs", 0.4, 0.2, 0.3, items=10),
    }
    wall = versus("w", timed, "ours", "theirs", clock="wall", unit="µs", scale=1e6)
    assert wall.measured == Figure(pytest.approx(3), "µs", pytest.approx(2), pytest.approx(4))
    assert wall.baseline == Figure(pytest.approx(30_000), "µs", pytest.approx(20_000), pytest.approx(40_000))
    assert wall.ratio is not None
    assert wall.ratio.value == pytest.approx(10_000)
    cpu = versus("w", timed, "ours", "theirs", clock="cpu", unit="µs", scale=1e6, kind="times")
    assert cpu.measured.value == pytest.approx(6)
    assert cpu.ratio is not None
    assert cpu.ratio.value == pytest.approx(1e-4)
    assert cpu.raw == raw_of(*timed.values())
    assert cpu.raw["theirs"] == {"items": 10, "wall_s": [0.4, 0.2, 0.3], "cpu_s": [0.8, 0.4, 0.6]}


def test_arms_take_turns_and_the_first_round_is_not_counted() -> None:
    gc.freeze()  # a race collects garbage before each arm: not through what other tests left
    seen: list[str] = []

    def arm(name: str) -> Arm:
        return Arm(name, lambda: seen.append(name), prepare=lambda: seen.append(name.upper()))

    timed = race([arm("a"), arm("b")], 3)
    assert "".join(seen) == "BbAa" + "AaBb" + "BbAa" + "AaBb"
    assert [len(one.wall_s) for one in timed.values()] == [3, 3]
    assert [len(one.cpu_s) for one in timed.values()] == [3, 3]
    seen.clear()
    assert len(race([arm("a")], 2, warm_up=False)["a"].wall_s) == 2
    assert "".join(seen) == "AaAa"


@pytest.mark.parametrize(
    ("target", "met", "verdict"),
    [
        (None, None, "–"),
        (Target("t", "ratio", "least", 5), True, "yes"),
        (Target("t", "ratio", "least", 5.1), False, "MISSED"),
        (Target("t", "ratio", "most", 5), True, "yes"),
        (Target("t", "value", "most", 1.9), False, "MISSED"),
        (Target("t", "value", "least", 2), True, "yes"),
        (Target("t", "value", "most", 3, "small"), True, "yes (small)"),
        (Target("t", "value", "most", 1, "small"), False, "MISSED (small)"),
        (Target("t", short_of="no rival"), None, "not judged: no rival"),
    ],
)
def test_targets_are_judged_as_written(target: Target | None, met: bool | None, verdict: str) -> None:
    row = Row("work", Figure(2, "s"), Figure(10, "s"), "base", Ratio(5, "faster"), target)
    assert row.met() is met
    assert row.verdict() == verdict


def test_a_ratio_target_without_a_ratio_is_not_judged() -> None:
    assert Row("work", Figure(2, "s"), target=Target("t", "ratio", "least", 5)).met() is None


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1), (0.995, 100)])
def test_percentiles_are_nearest_rank(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_every_benchmark_is_listed_once_and_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks = command.benchmarks()
    names = [one.name for one in benchmarks]
    assert len(set(names)) == len(names) > 15
    assert {name.partition(".")[0] for name in names} == set(command.PILLARS)
    assert all(callable(one.run) and len(one.workload) > 40 for one in benchmarks)
    assert command.main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
    assert all(len(what) > 10 and len(why) > 10 for what, why in command.not_built())


def test_the_capacity_model_names_rows_that_there_are() -> None:
    names = {one.name for one in command.benchmarks()}
    assert all(one.row is None or one.row[0] in names for one in capacity.CONSTANTS.values())


def test_a_pattern_that_matches_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "nothing-like-it"]) == 2
    assert "--list" in capsys.readouterr().out
    assert command.matches("ledger.bls", "bls")
    assert command.matches("ledger.bls", "*.bls")
    assert not command.matches("ledger.bls", "vault")


def fake(name: str, run: Callable[[Scale], list[Row]], *, in_quick: bool = True) -> Benchmark:
    return Benchmark(name, "a workload in words", run, in_quick)


def test_a_run_writes_what_it_measured_and_prints_what_it_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def works(scale: Scale) -> list[Row]:
        assert scale.quick
        assert scale.folder.is_dir()
        return [
            Row(
                "sealing", Figure(2, "µs"), Figure(10, "µs"), "rival", Ratio(5, "faster"),
                Target("≥9×", "ratio", "least", 9), {"rival": {"wall_s": [1.0]}},
            )
        ]  # fmt: skip

    def breaks(scale: Scale) -> list[Row]:
        raise RuntimeError("not what brute force gives")

    def never(scale: Scale) -> list[Row]:
        raise AssertionError("left to the full run")

    chosen = [fake("x.breaks", breaks), fake("x.works", works), fake("x.long", never, in_quick=False)]
    monkeypatch.setattr(command, "benchmarks", lambda: chosen)
    output = tmp_path / "results.json"
    assert command.main(["--quick", "--output", str(output)]) == 1
    printed = capsys.readouterr().out
    assert "MISSED" in printed
    assert "FAILED: x.breaks" in printed
    assert "x.long: left to the full run" in printed
    report = json.loads(output.read_text(encoding="utf-8"))
    assert report["failed"] == ["x.breaks"]
    [result] = report["results"]
    assert result["benchmark"] == "x.works"
    assert result["met"] is False
    assert result["ratio"]["value"] == 5
    assert result["raw"] == {"rival": {"wall_s": [1.0]}}
    assert report["machine"]["cores"] >= 1
    assert len(report["machine"]["load_average_before"]) == len(report["machine"]["load_average_after"]) == 3
    assert report["machine"]["packages"]["tenseal"]


def test_one_small_benchmark_really_runs(tmp_path: Path) -> None:
    [charge] = [one for one in command.benchmarks() if one.name == "federation.charge"]
    results, failed = command.run_all([charge], quick=True, console=Console(file=io.StringIO()))
    assert failed == []
    assert [result["met"] for result in results] == [True] * 4  # not a timing: charged ε over exact ε
