"""``twinward study run``: a protocol, trained over the hospitals of this home."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twinward.cli.context import node_at, typed_by
from twinward.cli.errors import errors_taught
from twinward.cli.input import confirm
from twinward.cli.output import HomeOption, JsonOption, YesOption, progress, say, show_json, show_table, table, tell
from twinward.cli.study.cost import MICROS, say_cost
from twinward.cli.study.own_data import DataOption
from twinward.cli.study.protocol import ProtocolArgument, read_protocol
from twinward.core.errors import BadInput, TwinwardError

if TYPE_CHECKING:
    from twinward.access.interfaces import Principal
    from twinward.federation.coordinator import Progress, TrainedStudy
    from twinward.federation.privacy.accountant import PrivacyPlan
    from twinward.federation.study import StudyProtocol
    from twinward.node import Node
    from twinward.node.study_run import Standing


SiteOption = Annotated[
    list[str] | None,
    typer.Option(help="HOSPITAL=SOCKET: where its `twinward site serve` answers, or a relay to it; once for each."),
]
SimulateOption = Annotated[
    int | None,
    typer.Option(min=3, max=64, help="With --data: so many hospitals, on Flower's engine (`make simulation`)."),
]
AbandonOption = Annotated[
    bool, typer.Option("--abandon", help="End a study that was begun, for good: no model, no further charge.")
]


def run(
    file: ProtocolArgument,
    account: Annotated[
        str | None, typer.Option("--as", help="In whose name: a researcher's account.", show_default=False)
    ] = None,
    data: DataOption = None,
    site: SiteOption = None,
    simulate: SimulateOption = None,
    abandon: AbandonOption = False,
    yes: YesOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a protocol's detector over the hospitals of this home, each a daemon with its own vault; register it.

    Says what it costs and asks. Then the cost is reserved from each hospital's budget, each reads the stays of its
    consenting patients under permits in its own log, and only masked, noisy sums leave it. The model is kept in the
    home's models/, measured on SYNTHETIC stays, and registered on the ledger with its card.

    A protocol is run once. Whatever interrupts that (Ctrl-C, kill -9, a hospital that drops out, a ledger that does not
    answer) leaves it charged, and says so; the same command again goes on where it was and charges nothing more. A
    hospital that refuses or does not keep to the protocol ends it for good.

    --abandon ends a study that was begun and shall not go on: every hospital signs that its reservation is spent. What
    was reserved stays charged, for sums may have left; it never costs more.

    With --data the hospitals are simulated in this process and share out your own file: no node, no account, nothing
    charged; model and card are kept beside the protocol, and figures without privacy stand beside those with.
    --simulate takes so many hospitals in the place of the protocol's, side by side on Flower's simulation engine.

    Exit codes: 0, 1 you said no, 2 not a protocol, not these hospitals, or nobody to ask and no --yes, 3 no such
    account, 4 run before, 6 no researcher's account, a budget that does not reach, noise that would drown what there is
    to learn, or a hospital that its groups make suspect (`twinward study suspects`), 7 a hospital or the chain does not
    answer, 130 Ctrl-C.

    Examples: twinward study run sepsis-1.toml --as marie
    · twinward study run sepsis-1.toml --as marie --abandon
    · twinward study run thyroid.toml --data thyroid.csv
    · .venv-simulation/bin/python -m twinward study run thyroid.toml --data thyroid.csv --simulate 50
    """
    if data is not None:
        with errors_taught(as_json=as_json):
            if abandon:
                raise BadInput("a simulation charges nothing, so there is nothing to abandon", hint="leave out --data")
            from twinward.cli.study.own_data import run_on_data

            run_on_data(read_protocol(file), file, data, simulated=simulate, as_json=as_json)
        return
    with node_at(home, as_json=as_json) as node:
        if simulate is not None:
            raise BadInput("hospitals are simulated over stays that may lie open", hint="--data FILE names them")
        study = read_protocol(file)
        if account is None:
            raise BadInput("in whose name? A study over hospitals is a researcher's", hint="--as NAME; or --data FILE")
        researcher, sockets = node.accounts.named(account), _sockets(site)
        if abandon:
            _abandon(node, study, researcher, sockets, yes=yes, as_json=as_json)
            return
        trained = _train(node, study, researcher, sockets, yes=yes, as_json=as_json)
        _show(node, trained, as_json=as_json)


def _train(
    node: Node, study: StudyProtocol, researcher: Principal, sockets: dict[str, Path], *, yes: bool, as_json: bool
) -> TrainedStudy:
    """Ask, and train over the hospitals, or go on with what was begun."""
    from twinward.federation.evaluation.benchmark import synthetic_benchmark
    from twinward.federation.privacy.accountant import plan_for
    from twinward.node.study_approvals import AT_THIS_MACHINE, approve_embedded
    from twinward.node.study_run import (
        Stage,
        require_hospitals_here,
        require_researcher,
        run_study,
        sites_of,
        standing_of,
    )

    require_researcher(researcher)
    require_hospitals_here(node, [name for name in study.hospitals if name not in sockets])
    standing, plan = standing_of(node, study, researcher), plan_for(study)
    _agreed(node, study, plan, standing, yes=yes, as_json=as_json)
    approved = approve_embedded(node, study, researcher, replace(AT_THIS_MACHINE, detail=typed_by()))
    if approved:
        tell(f"approved at this machine, which holds their keys: {', '.join(approved)}")
    asked = () if standing.stage is Stage.TRAINED else study.hospitals
    with (
        _charge_told(node, study),
        _bars(study, plan, as_json=as_json) as told,
        _interruptible(told) as told,
        sites_of(node, asked, researcher, sockets) as sites,
    ):
        return run_study(node, sites, study, synthetic_benchmark(signals=study.signals), researcher, progress=told)


def _abandon(
    node: Node, study: StudyProtocol, researcher: Principal, sockets: dict[str, Path], *, yes: bool, as_json: bool
) -> None:
    """Say what stays charged, ask, and have every hospital sign that the study is over."""
    from twinward.node.study_run import (
        Stage,
        abandon_study,
        require_hospitals_here,
        require_researcher,
        sites_of,
        standing_of,
    )

    require_researcher(researcher)
    require_hospitals_here(node, [name for name in study.hospitals if name not in sockets])
    standing = standing_of(node, study, researcher)
    if standing.stage is not Stage.NEW:
        tell(f"{study.study_id} was begun: {standing.rounds} of {study.rounds} rounds are learnt")
        tell(_charge(node, study))
    confirm(f"Abandon {study.study_id}? It stays charged, and no model is made of it.", yes=yes)
    with sites_of(node, study.hospitals, researcher, sockets, ending=True) as sites:
        paid = abandon_study(node, sites, study, researcher)
    if as_json:
        shown = {"study": study.study_id, "fingerprint": study.fingerprint().hex(), "abandoned": True}
        show_json(shown | {"reservation": paid.number, "charged_micros": paid.micros})
        return
    say(f"abandoned: {study.study_id}; {_charge(node, study)}")


def _agreed(
    node: Node, study: StudyProtocol, plan: PrivacyPlan, standing: Standing, *, yes: bool, as_json: bool
) -> None:
    """Say what is charged, and ask. Raises ``typer.Exit`` for a no."""
    from twinward.federation.privacy.outlook import require_worthwhile
    from twinward.node.study_run import Stage

    if standing.stage is Stage.NEW:
        require_worthwhile(study)
        _require_affordable(node, study, plan, as_json=as_json)
        confirm(f"Run {study.study_id}? It is charged once it begins, whatever becomes of it.", yes=yes)
        return
    learnt = f"{standing.rounds} of {study.rounds} rounds are learnt"
    tell(f"{study.study_id} was begun: {learnt}, and nothing more is charged")
    confirm(f"Go on with {study.study_id}?", yes=yes)


def _sockets(given: list[str] | None) -> dict[str, Path]:
    """Where daemons answer, by hospital. Raises ``BadInput``."""
    pairs = [one.partition("=") for one in given or ()]
    if any(not name or not path for name, _, path in pairs):
        raise BadInput("a site is given as HOSPITAL=SOCKET", hint="e.g. --site northgate=/srv/northgate/site.sock")
    return {name: Path(path) for name, _, path in pairs}


def _require_affordable(node: Node, study: StudyProtocol, plan: PrivacyPlan, *, as_json: bool) -> None:
    """Say what it costs. Raises ``BudgetExhausted`` where a hospital's budget does not reach; nothing is reserved."""
    from twinward.federation.errors import BudgetExhausted
    from twinward.overview.studies import budgets_of

    budgets = budgets_of(node, study, plan)
    if not as_json:
        say_cost(study, plan, budgets)
    short = [one for one in budgets if not one.reaches]
    if short:
        names = ", ".join(one.hospital for one in short)
        raise BudgetExhausted(
            f"the privacy budget of {names} does not pay for this; nothing was charged",
            hint="a smaller epsilon, or a higher cap: `twinward consortium propose --cap HOSPITAL=MILLIONTHS`",
        )


@contextmanager
def _charge_told(node: Node, study: StudyProtocol) -> Iterator[None]:
    """Where a study ends early, say what it was charged all the same."""
    try:
        yield
    except TwinwardError:
        tell(_charge(node, study))
        raise
    except KeyboardInterrupt:
        tell(f"interrupted; {_charge(node, study)}; the same command again goes on with it")
        raise typer.Exit(130) from None


def _charge(node: Node, study: StudyProtocol) -> str:
    from twinward.node.study_run import paid_for

    try:
        paid = paid_for(node, study)
    except TwinwardError as error:
        return f"what it was charged cannot be read now: {error}"
    if paid is None:
        return "nothing was charged"
    state = "still reserved, which counts the same" if paid.live else "settled"
    return f"charged: {paid.micros / MICROS:.6f} of each hospital's budget (reservation {paid.number}, {state})"


@contextmanager
def _interruptible(told: Callable[[Progress], None] | None) -> Iterator[Callable[[Progress], None]]:
    """Ctrl-C ends a study wherever it is.

    Where Python loses it, raised out of a destructor or a garbage collector's callback, the next step sees it.
    """
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(number, frame)

    def step(one: Progress) -> None:
        if pressed:
            raise KeyboardInterrupt
        if told is not None:
            told(one)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield step
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bars(study: StudyProtocol, plan: PrivacyPlan, *, as_json: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Rounds done, and the privacy spent so far."""
    if as_json:
        yield None
        return
    with progress() as bars:
        task = bars.add_task("hospitals read their stays", total=None)

        def tell_of(one: Progress) -> None:
            if one.stage in ("joining", "training"):
                done = one.done if one.stage == "training" else 0
                words = f"private rounds, ε {one.epsilon:.3f} of {plan.epsilon:.3f}"
                bars.update(task, description=words, completed=done, total=study.rounds)

        yield tell_of


def _show(node: Node, trained: TrainedStudy, *, as_json: bool) -> None:
    from twinward.node.study_run import card_path, model_path

    study, home = trained.model.study, node.settings.home
    files = {"model": model_path(home, study.study_id), "card": card_path(home, study.study_id)}
    if as_json:
        show_json(_json(trained) | {"files": {kind: str(path) for kind, path in files.items()}})
        return
    shown = table("detector", "AUROC", "95 % interval")
    for one in trained.comparison.all():
        shown.add_row(one.name, f"{one.auroc:.3f}", f"{one.low:.3f} to {one.high:.3f}")
    show_table(shown)
    say("measured on SYNTHETIC stays, of which some were tampered with; on no patient's")
    if trained.comparison.private.auroc <= trained.comparison.untrained.auroc:
        say("it tells no better than the same detector untrained: do not use it; it wants more patients, or a larger ε")
    say(f"registered as model {trained.model_number}: ε = {trained.plan.epsilon:.4f} at δ = {trained.plan.delta:g}")
    say(f"charged: {trained.plan.inverse_variance_micros / MICROS:.6f} of each hospital's budget")
    say(f"kept: {files['model']} and its card")
    say(f"next: twinward study report {study.study_id} --out report.html")


def _json(trained: TrainedStudy) -> dict[str, Any]:
    study, plan = trained.model.study, trained.plan
    return {
        "study": study.study_id,
        "fingerprint": study.fingerprint().hex(),
        "hospitals": list(study.hospitals),
        "rounds": study.rounds,
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "charged_micros": plan.inverse_variance_micros,
        "reservation": trained.reservation,
        "number": trained.model_number,
        "model_sha256": trained.model.hash().hex(),
        "card_sha256": trained.card.hash().hex(),
        "auroc": json.loads(trained.card.content)["evaluation"]["auroc"],
    }
