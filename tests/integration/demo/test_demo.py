"""The main job, as `make run` does it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinward.core.clock import SystemClock
from twinward.core.config import Settings
from twinward.core.errors import BadInput, Conflict
from twinward.demo.accounts import DemoAccounts, open_accounts
from twinward.demo.display import Silent
from twinward.demo.plaintext_search import search_files
from twinward.demo.querying import ABSTAINS_EVERY, give_consent, query_as_vendor
from twinward.demo.reading import read_as_clinician, tamper_with_copy, witness_and_anchor
from twinward.demo.run import ALL_MODES, MARKER, Plan, clear_home
from twinward.demo.sealing import Admitted, seal_patients
from twinward.node import Node, create_node, remove_node

PATIENTS = 14
SEEN: dict[str, object] = {}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = create_node(Settings.load(tmp_path_factory.mktemp("demo") / "home", modes=ALL_MODES), clock=SystemClock())
    yield made
    made.close()


@pytest.fixture(scope="module")
def accounts(node: Node) -> DemoAccounts:
    return open_accounts(node)


@pytest.fixture(scope="module")
def admitted(node: Node) -> Admitted:
    return seal_patients(node, Silent(), bundles=None, count=PATIENTS, seed=3)


def test_no_word_of_any_patient_is_in_any_file(node: Node, admitted: Admitted) -> None:
    assert len(admitted.twins) == admitted.sealing.patients == PATIENTS
    assert admitted.sealing.resources > 40 * PATIENTS
    assert admitted.sealing.needles_found == 0


def test_the_search_would_find_what_is_there(node: Node) -> None:
    planted = node.settings.home / "planted.txt"
    planted.write_bytes(b"xx Abernathy xx")
    try:
        assert search_files(node.settings.home, {b"Abernathy", b"nobody at all"}) == 1
    finally:
        planted.unlink()


def test_accesses_are_logged_co_signed_and_anchored_and_a_tampered_copy_is_named(
    node: Node, admitted: Admitted
) -> None:
    readings = read_as_clinician(node, Silent(), admitted.twins)
    assert [r.decision for r in readings] == ["permit", "permit", "permit", "deny", "permit", "deny"]
    assert [r.log_index for r in readings] == sorted({r.log_index for r in readings})
    witnessed = witness_and_anchor(node, Silent())
    assert witnessed.size > readings[-1].log_index
    assert len(witnessed.witnesses) == 3
    assert witnessed.gas > 0
    tampering = tamper_with_copy(node, Silent())
    assert tampering.reported_index == tampering.altered_index
    node.audit.verify(deep=True)  # the node's own log was not touched


def test_every_mode_agrees_with_brute_force_and_costs_budget(
    node: Node, accounts: DemoAccounts, admitted: Admitted
) -> None:
    willing = give_consent(node, admitted.twins)
    assert willing == PATIENTS - PATIENTS // ABSTAINS_EVERY
    answered = query_as_vendor(node, Silent(), accounts.vendor_token)
    assert [query.mode for query in answered.queries] == list(ALL_MODES)
    assert all(query.equals_brute_force for query in answered.queries)
    assert {query.cohort for query in answered.queries} == {willing}
    left = [query.budget_left for query in answered.queries]
    assert left == [node.settings.vendor_budget - spent for spent in (1, 2, 3)]


def test_a_home_that_is_no_node_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Conflict, match="not a node's home"):
        remove_node(tmp_path)
    with pytest.raises(Conflict, match="not empty"):
        create_node(Settings.load(tmp_path))
    assert (tmp_path / "thesis.txt").exists()


def test_force_replaces_an_earlier_demo_and_never_a_node_of_ones_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    create_node(Settings.load(home)).close()
    with pytest.raises(Conflict, match="not made by the demo"):
        clear_home(home)
    assert (home / "vault.db").exists()
    (home / MARKER).touch()
    clear_home(home)
    assert not home.exists()
    clear_home(home)  # nothing there: nothing to do


@pytest.mark.parametrize(
    "plan",
    [Plan(Path("x"), bundles=Path("nowhere")), Plan(Path("x"), stays=Path("nowhere")), Plan(Path("x"), patients=3)],
)
def test_a_plan_that_cannot_run_makes_nothing(plan: Plan) -> None:
    with pytest.raises(BadInput):
        plan.require_sound()
    assert not plan.home.exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_run_on_real_bundles(tmp_path: Path, shared_data: Path) -> None:
    """`twinward demo --bundles` on 27 Synthea patients: every claim holds and the report is written."""
    command = [sys.executable, "-m", "twinward", "demo", "--json", "--home", str(tmp_path / "home")]
    command += ["--bundles", str(shared_data / "synthea-r4")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["holds"]
    assert result["sealing"]["patients"] == 27
    assert result["sealing"]["rejected"] == []
    assert len(result["training"]["models"]) == 2
    for model in result["training"]["models"]:
        aurocs = {curve["name"]: curve["auroc"] for curve in model["curves"]}
        # The autoencoder starts from weights learnt on simulated stays, and is measured on simulated stays here.
        assert aurocs["untrained"] - 0.01 < aurocs["private"] < aurocs["without privacy"] + 0.01
    report = (tmp_path / "home" / "report.html").read_text(encoding="utf-8")
    assert report.count("<svg") == 7
    links = re.findall(r'(?:src|href|url\()="?(?!["#])[^">]*', report)
    assert links == [
        'href="similarity.html',
        'href="feasibility.html',
    ]  # nothing is fetched when it is opened; the page beside it is there
    assert (tmp_path / "home" / "similarity.html").read_text(encoding="utf-8").count("<svg") == 4
