"""The contracts' own tests: unit, fuzz and invariant, by forge over the same compiler and settings as the artefacts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.tools import ROOT, require

pytestmark = pytest.mark.slow

CONTRACTS = ROOT / "contracts"
FUZZ_RUNS = 1000
SNAPSHOT = CONTRACTS / ".gas-snapshot"
TOLERANCE_PERCENT = 1


def forge(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = require("forge", install="cd contracts && npm ci")
    require("node")
    environment = {**os.environ, "FOUNDRY_DISABLE_NIGHTLY_WARNING": "1", "NO_COLOR": "1"}
    command = [program, *arguments, "--root", str(CONTRACTS)]
    return subprocess.run(command, cwd=CONTRACTS, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(1200)
def test_forge() -> None:
    done = forge("test")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    summary = re.search(r"(\d+) tests passed, (\d+) failed", done.stdout)
    assert summary is not None, done.stdout[-2000:]
    assert int(summary[1]) >= 79
    assert int(summary[2]) == 0
    fuzzed = re.findall(r"\[PASS\] (testFuzz\w+)\(.*\(runs: (\d+),", done.stdout)
    assert len(fuzzed) >= 12
    assert all(int(runs) >= FUZZ_RUNS for _, runs in fuzzed), fuzzed
    assert len(re.findall(r"\[PASS\] invariant_", done.stdout)) >= 5


def compared(snapshot: Path) -> subprocess.CompletedProcess[str]:
    tolerance = ("--tolerance", str(TOLERANCE_PERCENT))
    return forge("snapshot", "--match-contract", "^GasTest$", "--check", str(snapshot), *tolerance)


@pytest.mark.timeout(600)
def test_gas_is_what_the_snapshot_says(tmp_path: Path) -> None:
    """Written by ``forge snapshot --match-contract '^GasTest$'`` in contracts/."""
    done = compared(SNAPSHOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    said = SNAPSHOT.read_text(encoding="utf-8")
    anchor = re.search(r"anchorASecondCheckpointByThree\(\) \(gas: (\d+)\)", said)
    assert anchor is not None
    for factor in (0.97, 1.03):
        other = tmp_path / "other"
        other.write_text(said.replace(anchor[1], str(int(int(anchor[1]) * factor))), encoding="utf-8")
        assert compared(other).returncode != 0


def test_solidity_is_formatted() -> None:
    done = forge("fmt", "--check")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
