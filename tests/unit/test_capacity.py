"""The capacity model: its tables are the page's, measured constants replace kept ones, and it says what ends first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import capacity

PAGE = capacity.ROOT / "platform" / "docs" / "performance.md"


def test_the_page_has_the_tables_of_the_kept_constants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert capacity.main(["--results", str(tmp_path / "none.json")]) == 0
    page = PAGE.read_text(encoding="utf-8")
    for printed in capsys.readouterr().out.strip().split("\n\n"):
        assert printed in page


def test_what_was_measured_replaces_what_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = {"value": 3000.0, "unit": "µs"}
    row = {"benchmark": "vault.rotate", "work": "KEK rotation, per twin key", "measured": measured}
    costs = capacity.constants({"results": [row]})
    assert costs.pop("rotate") == pytest.approx(3e-3)
    assert costs == {name: one for name, one in capacity.constants().items() if name != "rotate"}
    report = tmp_path / "bench-results.json"
    report.write_text(json.dumps({"results": [row]}), encoding="utf-8")
    assert capacity.main(["--results", str(report)]) == 0
    assert "keys rewrapped" in capsys.readouterr().out


@pytest.mark.parametrize("demands", [capacity.BY_PATIENTS, capacity.BY_HOSPITALS])
def test_more_of_anything_never_takes_less(demands: dict[str, capacity.Demand]) -> None:
    costs = capacity.constants()
    for name, demand in demands.items():
        taken = [demand(size, costs, capacity.Load()) for size in (5, 50, 500, 5000, 50_000)]
        assert taken == sorted(taken), name
        assert taken[0] > 0, name


def test_the_first_bottleneck_is_the_largest_share_above_one() -> None:
    demands = {"disk (x)": lambda n, c, of: n / 10, "memory (y)": lambda n, c, of: n / 5}
    (*_, last) = capacity.table("patients", demands, (4, 6), {})
    assert last == "| **first bottleneck** | **fits** | **memory** |"
    assert [capacity.shown(share) for share in (0.001, 0.4, 1.3, 250.0)] == ["< 1%", "40%", "1.3 ×", "> 100 ×"]
