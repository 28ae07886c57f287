"""What the demo tells whoever is watching: steps while it runs, one terminal page at its end."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from twinward.demo.accounts import OFFICER, DemoAccounts
from twinward.demo.result import DemoResult, Query, Ward


class Display(Protocol):
    """A live display of one run."""

    def begin(self, title: str, total: int) -> None:
        """A new piece of work of ``total`` steps."""
        ...

    def advance(self, steps: int = 1) -> None:
        """Steps of the running piece that are done."""
        ...

    def finish(self, result: str) -> None:
        """The running piece is done; one line on what came of it."""
        ...


class Silent:
    """A display nobody watches."""

    def begin(self, title: str, total: int) -> None:
        """Say nothing."""

    def advance(self, steps: int = 1) -> None:
        """Say nothing."""

    def finish(self, result: str) -> None:
        """Say nothing."""


def summary(result: DemoResult, accounts: DemoAccounts, report: Path) -> RenderableType:
    """What was shown, what holds, and what to do next."""
    table = Table(show_header=False, box=None, padding=(0, 1), expand=True)
    table.add_column(width=2)
    table.add_column(width=20, style="bold")
    table.add_column(ratio=1)
    for right, name, words in _rows(result):
        table.add_row(Text("✓", style="bold green") if right else Text("✗", style="bold red"), name, words)
    next_steps = Text.assemble(
        ("report     ", "dim"), f"{report}\n",
        ("next       ", "dim"), (f"{_command()} node serve --home {result.home}", "bold"), "\n",
        "           then open http://127.0.0.1:8040\n",
        ("sign in    ", "dim"), OFFICER.id, "  ", (accounts.officer_password, "bold"), "   (shown this once)\n",
        ("tokens     ", "dim"), "clinician ", accounts.clinician_token,
        "\n           vendor    ", accounts.vendor_token,
    )  # fmt: skip
    title = f"{result.hospital}, end to end in {result.seconds:.0f} s"
    return Panel(Group(table, Text(), next_steps), title=title, border_style="green" if result.holds() else "red")


def _rows(result: DemoResult) -> list[tuple[bool, str, str]]:
    sealing, witnessed, training = result.sealing, result.witnessed, result.training
    rows = [
        (
            sealing.needles_found == 0,
            "sealed at rest",
            f"{sealing.resources} resources of {sealing.patients} patients in {sealing.seconds:.1f} s; "
            f"{sealing.needles_found} of {', '.join(sealing.needles)} found in any file",
        ),
        (
            True,
            "logged first",
            f"{sum(r.decision == 'permit' for r in result.readings)} reads permitted, "
            f"{sum(r.decision == 'deny' for r in result.readings)} refused; {witnessed.size} events under one root",
        ),
        (
            len(witnessed.witnesses) >= witnessed.quorum,
            "co-signed, anchored",
            f"{', '.join(witnessed.witnesses)} signed; block {witnessed.block}, {witnessed.gas:,} gas "
            f"({witnessed.gas_per_event:.0f} an event)",
        ),
        (
            result.tampering.altered_index == result.tampering.reported_index,
            "tampering caught",
            f"leaf {result.tampering.altered_index} of a copy altered, leaf {result.tampering.reported_index} named",
        ),
    ]
    rows += [
        (
            query.equals_brute_force,
            f"query, {query.mode}",
            f"{query.released} of {query.cohort} released in {query.seconds:.2f} s, {_agrees(query)}; "
            f"{query.budget_left} queries left on the ledger",
        )
        for query in result.queries
    ]
    rows.append(
        (
            result.count.is_possible,
            "feasibility count",
            f"{result.count.noisy} ± {result.count.half_width} of {result.count.patients} patients eligible (true: "
            f"{result.count.truth}), criteria hidden, ε = {result.count.epsilon:g}, {result.count.seconds:.1f} s",
        )
    )
    rows += [
        (
            True,
            "private training",
            f"{model.detector}: {training.patients} patients at {len(training.hospitals)} hospitals, "
            f"ε = {model.epsilon:.2f}, δ = {training.delta:g}: AUROC {model.curves[0].auroc:.3f} "
            f"({', '.join(f'{curve.name} {curve.auroc:.3f}' for curve in model.curves[1:])}); "
            f"model {model.model_number} on the ledger",
        )
        for model in training.models
    ]
    rows.append(_of_ward(result.ward))
    return rows


def _of_ward(ward: Ward) -> tuple[bool, str, str]:
    return (
        ward.stored == ward.again and bool(ward.raised),
        "an hour of a ward",
        f"{ward.stored} readings of {ward.beds} beds, each sent twice, stored once; {', '.join(ward.raised)}; "
        f"{ward.elsewhere} alerts of the others; a ventilator "
        f"was given and started; {ward.windows} hours told to the log, {ward.seconds:.1f} s",
    )


def _agrees(query: Query) -> str:
    if not query.equals_brute_force:
        return "NOT what brute force says"
    return "distances right within the agreed noise" if query.note else "exactly as brute force says"


def _command() -> str:
    """How this very command line is called again: by name, or by path where it is not on PATH."""
    return "twinward" if shutil.which("twinward") else os.path.relpath(sys.argv[0])
