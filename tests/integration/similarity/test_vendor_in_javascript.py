"""The vendor protocol is not Python's alone: one file on Node's own libraries asks a served node, and counts right."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.tools import require
from twinward.client import Criteria
from twinward.core.config import Settings
from twinward.demo.accounts import VENDOR, open_accounts
from twinward.demo.display import Silent
from twinward.demo.querying import give_consent
from twinward.demo.sealing import seal_patients
from twinward.demo.serving import served
from twinward.node import create_node
from twinward.protocol.criteria_costs import costs_of, matches
from twinward_crypto.feasibility.noise import GeometricNoise

WALK = Path(__file__).resolve().parents[2] / "clients" / "javascript" / "vendor.mjs"
STEPS = ["terms", "what-may-be-counted", "encrypt", "count", "again", "budget"]


@pytest.mark.slow
def test_a_vendor_without_twinward_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node_js = require("node", install="apt-get install nodejs")
    monkeypatch.setattr(GeometricNoise, "draw", lambda *_: 0)  # noise of nothing: the count is exact then
    settings = Settings.load(tmp_path / "home", scoring="processes:2")
    node = create_node(settings)
    try:
        accounts = open_accounts(node)
        admitted = seal_patients(node, Silent(), bundles=None, count=8, seed=1)
        give_consent(node, admitted.twins)
        node.consortium.grant_epsilon(settings.tenant, VENDOR.id, own_millis=5_000, whole_millis=5_000)
        cohort = node.similarity().cohort
        costs = costs_of(Criteria.of({"include": [{"feature": "age", "from": 62}]}), cohort.schema, cohort.schema.codes)
        truth = matches(costs, cohort.eligibility.tolist())
        assert 0 < truth < len(cohort)
        with served(node) as url:
            told = os.environ | {"BASE": url, "TOKEN": accounts.vendor_token, "FROM": "62"}
            done = subprocess.run(
                [node_js, str(WALK)], env=told, capture_output=True, text=True, timeout=200, check=False
            )
    finally:
        node.close()
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [*STEPS, f"count {truth}"]
