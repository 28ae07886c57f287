"""``twinward demo``: the main job end to end on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinward.cli.errors import errors_taught
from twinward.cli.output import HomeOption, JsonOption, err, out, progress, show_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from twinward.demo.display import Display


class LiveDisplay:
    """The demo's steps as progress bars; each ends as a line with a tick."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, title: str, total: int) -> None:
        """A new bar."""
        self._task = self._bars.add_task(title, total=total)

    def advance(self, steps: int = 1) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bars.advance(self._task, steps)

    def finish(self, result: str) -> None:
        """Replace the bar by what came of it."""
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None
        self._bars.console.print(f"[green]✓[/] {result}")


def demo(
    bundles: Annotated[
        Path | None,
        typer.Option(help="Your own FHIR R4 bundles (.json, .json.gz) or a folder of them.", show_default="made up"),
    ] = None,
    stays: Annotated[
        Path | None,
        typer.Option(help="Monitored stays (.npz with Xa, Xb) to train on.", show_default="simulated"),
    ] = None,
    patients: Annotated[int, typer.Option(help="How many patients to make up.")] = 60,
    seed: Annotated[int, typer.Option(help="Of everything that is made up.")] = 7,
    epsilon: Annotated[float, typer.Option(help="Privacy of the training, per patient.")] = 3.0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what an earlier demo left in the home; never a node of your own.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run everything on this machine: seal and read patients, anchor, query encrypted, train privately.

    Takes about a minute on two cores and leaves a node ready for `twinward node serve`.

    Examples: twinward demo --patients 30
    · twinward demo --bundles ./my-bundles --home ./my-node
    """
    with errors_taught(as_json=as_json):
        from twinward.core.config import DEFAULT_HOME
        from twinward.demo.display import summary
        from twinward.demo.run import REPORT_NAME, Plan, clear_home, run_demo

        plan = Plan(home or DEFAULT_HOME, bundles, stays, patients, seed, epsilon)
        plan.require_sound()
        if force:
            clear_home(plan.home)
        with _display(as_json=as_json) as display:
            result, accounts = run_demo(plan, display)
        if as_json:
            show_json(asdict(result) | {"holds": result.holds()})
        else:
            out.print(summary(result, accounts, plan.home / REPORT_NAME))
        if not result.holds():
            err.print("[bold red]error[/]: something did not hold; see the rows marked ✗")
            raise typer.Exit(1)


@contextmanager
def _display(*, as_json: bool) -> Iterator[Display]:
    from twinward.demo.display import Silent

    if as_json:
        yield Silent()
        return
    with progress() as bars:
        yield LiveDisplay(bars)
