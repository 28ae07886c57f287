"""``twinward study run --data``: the same study over one's own file, in this process, with no hospital."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.output import progress, say, show_json, show_table, table
from twinward.cli.study.cost import cost_json, say_cost
from twinward.core.errors import Conflict

if TYPE_CHECKING:
    from twinward.federation.coordinator import Progress, TrainedStudy
    from twinward.federation.privacy.accountant import PrivacyPlan
    from twinward.federation.stays.patient_data import PatientData
    from twinward.federation.study import StudyProtocol

DataOption = Annotated[
    Path | None, typer.Option(help="Your own .npz or .csv instead of hospitals: a simulation, nothing is charged.")
]


def run_on_data(study: StudyProtocol, file: Path, data: Path, *, simulated: int | None = None, as_json: bool) -> None:
    """Train over simulated hospitals on a file, keep model and card beside the protocol. Nothing is registered.

    Args:
        study, file: the protocol, and where it is.
        data: the file of stays.
        simulated: so many hospitals on Flower's simulation engine, instead of the protocol's in this process.
        as_json: for programs.

    Raises:
        DataInvalid: the file is not the study's.
        Conflict: model or card exist there.
    """
    from twinward.federation import api

    study = study if simulated is None else api.with_hospitals(study, simulated)
    folder = file.parent.resolve()
    kept = folder / f"{study.study_id}.model"
    for path in (kept, api.card_beside(kept)):  # looked at before minutes are spent
        if path.exists():
            raise Conflict(f"{path} exists", hint="a new run is a new study: give it a study_id of its own")
    own = api.read_data(data, study)
    if not as_json:
        say_data(own, data)
    with _bars(study, as_json=as_json) as told:
        done = api.run_simulation(study, own, progress=told, on_flower=simulated is not None)
    path = api.save_model(done, folder)
    _show(done, path, own, as_json=as_json)


def check_data(study: StudyProtocol, plan: PrivacyPlan, data: Path, *, as_json: bool) -> None:
    """What a study would cost, and how much of each signal a file carries. Raises ``DataInvalid``."""
    from twinward.federation.api import read_data

    own = read_data(data, study)
    carried = dict(zip(own.signals.names, own.coverage(), strict=True))
    if as_json:
        coverage = {name: round(share, 4) for name, share in carried.items()}
        show_json(cost_json(study, plan, None) | {"patients": len(own), "notes": list(own.notes), "coverage": coverage})
        return
    say_cost(study, plan, None)
    say_data(own, data)
    made = table("signal", "patients with it")
    for name, share in carried.items():
        made.add_row(name, f"{share:.1%}")
    show_table(made)
    bare = sum(share == 0 for share in carried.values())
    say(f"{len(carried) - bare} of {len(carried)} signals are carried" + ("" if bare else ", every one"))


def say_data(own: PatientData, path: Path) -> None:
    """What was read of a file."""
    say(f"{path.name}: {len(own)} patients, {own.signals.steps} steps of {len(own.signals.signal)} signals")
    for note in own.notes:
        say(f"  {note}")


@contextmanager
def _bars(study: StudyProtocol, *, as_json: bool) -> Iterator[Callable[[Progress], None] | None]:
    if as_json:
        yield None
        return
    with progress() as bars:
        task = bars.add_task("simulated hospitals join", total=study.rounds)

        def tell_of(one: Progress) -> None:
            words = f"{one.stage}, ε {one.epsilon:.3f} of {study.epsilon:g}"
            bars.update(task, description=words, completed=one.done, total=one.total)

        yield tell_of


def _show(done: TrainedStudy, path: Path, own: PatientData, *, as_json: bool) -> None:
    measured = {
        one.name: {"auroc": round(one.auroc, 4), "low_95": round(one.low, 4), "high_95": round(one.high, 4)}
        for one in done.comparison.all()
    }
    if as_json:
        shown: dict[str, Any] = {"study": done.model.study.study_id, "patients": len(own), "notes": list(own.notes)}
        shown |= {"epsilon": done.plan.epsilon, "model_sha256": done.model.hash().hex(), "auroc": measured}
        show_json(shown | {"registered": False, "files": {"model": str(path)}})
        return
    made = table("detector", "AUROC", "95 % interval")
    for name, one in measured.items():
        made.add_row(name, f"{one['auroc']:.3f}", f"{one['low_95']:.3f} to {one['high_95']:.3f}")
    show_table(made)
    say("measured on a quarter of your patients, on whom it was not trained")
    if done.comparison.private.auroc <= done.comparison.untrained.auroc:
        say("it tells no better than the same detector untrained: it wants more patients, or a larger ε")
    say(f"kept: {path} and its card; a simulation: nothing was charged, nothing registered")
    say(f"next: twinward study report {path} --out report.html")
