"""The contracts' own tests: unit, fuzz and invariant, by forge over the same compiler and settings as the artefacts."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.tools import ROOT, require

CONTRACTS = ROOT / "contracts"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_forge() -> None:
    forge = require("forge", install="cd contracts && npm ci")
    require("node")
    environment = {**os.environ, "FOUNDRY_DISABLE_NIGHTLY_WARNING": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        [forge, "test", "--root", str(CONTRACTS)],
        cwd=CONTRACTS,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    summary = re.search(r"(\d+) tests passed, (\d+) failed", done.stdout)
    assert summary is not None, done.stdout[-2000:]
    assert int(summary[1]) >= 60
    assert int(summary[2]) == 0


@pytest.mark.slow
def test_solidity_is_formatted() -> None:
    forge = require("forge", install="cd contracts && npm ci")
    done = subprocess.run(
        [forge, "fmt", "--check", "--root", str(CONTRACTS)], cwd=CONTRACTS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
