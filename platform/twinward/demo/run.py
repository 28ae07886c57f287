"""The run from patients to report, top to bottom."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from twinward.core.config import Settings
from twinward.core.errors import BadInput, Conflict
from twinward.demo.accounts import DemoAccounts, open_accounts
from twinward.demo.display import Display
from twinward.demo.querying import give_consent, query_as_vendor
from twinward.demo.reading import read_as_clinician, tamper_with_copy, witness_and_anchor
from twinward.demo.report import write_report
from twinward.demo.result import DemoResult
from twinward.demo.sealing import seal_patients
from twinward.demo.training import train_across_hospitals
from twinward.demo.ward import hour_of_a_ward
from twinward.demo.witnessing import witnesses_started
from twinward.node import create_node, remove_node
from twinward.similarity.explainer import write_count_page, write_explainer

REPORT_NAME = "report.html"
EXPLAINED_NAME, COUNT_NAME = "similarity.html", "feasibility.html"
MARKER = "made-by-demo"
"""A file that says a home is the demo's own, so that the next demo may replace it."""
ALL_MODES = ("gated", "vendor-key", "matrix")


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        home: where the node is made.
        bundles: a folder or file of FHIR R4 bundles; None makes patients up.
        stays: an .npz of monitored stays; None simulates them.
        patients: how many patients to make up.
        seed: of everything made up.
        epsilon: the training's privacy.
    """

    home: Path
    bundles: Path | None = None
    stays: Path | None = None
    patients: int = 60
    seed: int = 7
    epsilon: float = 3.0

    def require_sound(self) -> None:
        """Raise ``BadInput`` for a plan that cannot run, before anything is made or deleted."""
        for path in (self.bundles, self.stays):
            if path is not None and not path.exists():
                raise BadInput(f"{path} does not exist")
        if self.bundles is None and not 12 <= self.patients <= 5000:
            raise BadInput("make up 12 to 5000 patients", hint="fewer show no cohort, more take long")


def clear_home(home: Path) -> None:
    """Delete what an earlier demo left in a home. Raises ``Conflict`` for anything that the demo did not make."""
    if home.exists() and any(home.iterdir()) and not (home / MARKER).is_file():
        raise Conflict(f"{home} was not made by the demo and is not touched", hint="give another --home")
    remove_node(home)


def run_demo(plan: Plan, display: Display) -> tuple[DemoResult, DemoAccounts]:
    """The whole main job on a new node. What it leaves behind is ready to be served."""
    plan.require_sound()
    started = time.perf_counter()
    # The demo's hospital has decided in writing to offer the modes that leak more; a new node offers `gated` alone.
    embedded = {
        "records": "",
        "keyring": "",
        "log": "",
        "state": "",
    }  # the story searches these files, and tampers with a copy
    node = create_node(Settings.load(plan.home, modes=ALL_MODES, **embedded))
    (plan.home / MARKER).touch()
    running = ExitStack()
    try:
        witnesses = running.enter_context(witnesses_started(node))
        accounts = open_accounts(node)
        admitted = seal_patients(node, display, bundles=plan.bundles, count=plan.patients, seed=plan.seed)
        readings = read_as_clinician(node, display, admitted.twins)
        with witnesses.asked():
            witnessed = witness_and_anchor(node, display)
        tampering = tamper_with_copy(node, display)
        give_consent(node, admitted.twins)
        answered = query_as_vendor(node, display, accounts.vendor_token)
        training = train_across_hospitals(node, display, admitted.twins, stays_file=plan.stays, epsilon=plan.epsilon)
        ward = hour_of_a_ward(node, display, admitted.twins, plan.seed)
        node.audit.checkpoint_and_anchor()
        result = DemoResult(
            hospital=node.settings.hospital,
            home=str(plan.home),
            sealing=admitted.sealing,
            readings=readings,
            witnessed=witnessed,
            tampering=tampering,
            queries=answered.queries,
            distances=answered.distances,
            count=answered.count,
            training=training,
            ward=ward,
            seconds=time.perf_counter() - started,
        )
    finally:
        running.close()
        node.close()
    write_report(result, plan.home / REPORT_NAME, explained=EXPLAINED_NAME, counted=COUNT_NAME)
    write_count_page(answered.count, plan.home / COUNT_NAME, title="A feasibility count, explained")
    write_explainer(answered.observation, plan.home / EXPLAINED_NAME, title="A matrix-mode query, explained")
    return result, accounts
