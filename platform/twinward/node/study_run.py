"""A study, run from the home of the hospital that coordinates it, over each hospital's daemon (``site_daemon``): over
its own vault, its own study key and its own view of the ledger. What the demo runs, and ``twinward study run``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from twinward.access.interfaces import Principal
from twinward.core.errors import BadInput, Busy, Conflict, NotAtWork, Refused
from twinward.core.private_files import write_private
from twinward.core.turns import process_lock
from twinward.core.vocabulary import Role
from twinward.federation.approval import EvenWithdrawn
from twinward.federation.consented_budget import ConsentedBudget
from twinward.federation.coordinator import Coordinator, Progress, Trained, TrainedStudy
from twinward.federation.daemon_site import DaemonSite
from twinward.federation.detectors.model_file import Model, read_model
from twinward.federation.errors import ModelFileInvalid
from twinward.federation.evaluation.benchmark import Benchmark
from twinward.federation.evaluation.model_card import ModelCard
from twinward.federation.ledger_adapters import LedgerModelRegistry
from twinward.federation.models import ReservedPrivacy
from twinward.federation.privacy.accountant import plan_for
from twinward.federation.site import Site
from twinward.federation.site_socket import SocketChannel, is_answering
from twinward.federation.study import StudyProtocol
from twinward.federation.study_journal import StudyJournal
from twinward.node.node import Node
from twinward.node.site_daemon import DaemonProcess, socket_of, study_identity
from twinward.node.study_approvals import member, names_here

REPLY_TIMEOUT_S: Final = 120.0
"""How long a round may take before a hospital counts as dropped out."""

PATIENCE_S: Final = 60.0
"""How long a daemon, or a relay to it, may be away while somebody starts it again. What this process started is not."""

JOURNAL_FILE: Final = "study-journal.db"
"""In the home of whoever coordinates: where its studies stand."""


def model_path(home: Path, study_id: str) -> Path:
    """Where a home keeps a study's model."""
    return home / "models" / f"{study_id}.model"


def card_path(home: Path, study_id: str) -> Path:
    """Where a home keeps the card of a study's model."""
    return home / "models" / f"{study_id}.card.json"


@contextmanager
def sites_of(
    node: Node,
    hospitals: Sequence[str],
    researcher: Principal,
    sockets: Mapping[str, Path] | None = None,
    *,
    ending: bool = False,
) -> Iterator[list[DaemonSite]]:
    """The sites of some hospitals: daemons that run already, else started for as long as this lasts.

    Args:
        node: of the hospital that coordinates.
        hospitals: whose sites.
        researcher: in whose name studies will be run.
        sockets: where daemons answer that are elsewhere than in their hospital's home.
        ending: they are asked to end a study, whose approval this hospital may have taken back.

    Raises:
        Refused: that is no researcher.
        SiteUnreachable: one did not start.

    And as ``require_hospitals_here``.
    """
    require_researcher(researcher)
    named = sockets or {}
    require_hospitals_here(node, [name for name in hospitals if name not in named])
    home = node.settings.home.resolve()
    with member(node, node.settings.tenant) as own:
        coordinator, approvals = own.identity(), own.approvals()
    invitations = EvenWithdrawn(approvals) if ending else approvals
    with ExitStack() as stack:
        started = {}
        places = {}
        for name in hospitals:
            place = named.get(name, socket_of(node.settings, name))
            if name not in named and not is_answering(place):
                started[name] = DaemonProcess(home, name)
                stack.callback(started[name].close)
                place = started[name].socket
            places[name] = place
        for process in started.values():
            process.await_started()
        sites = []
        for name, place in places.items():
            patience_s = 0.0 if name in started else PATIENCE_S
            channel = SocketChannel(place, REPLY_TIMEOUT_S, patience_s)
            sites.append(DaemonSite(name, channel, coordinator, invitations))
            stack.callback(sites[-1].close)
        yield sites


def require_researcher(account: Principal) -> None:
    """Raise ``Refused`` unless a study may be run in this account's name."""
    if account.role is not Role.RESEARCHER:
        raise Refused(
            f"{account.id} is no researcher's account but of the role {account.role.value}",
            hint="`twinward node add-person NAME --role researcher` makes one",
        )


def require_hospitals_here(node: Node, hospitals: Sequence[str]) -> None:
    """Raise unless the vaults and keys of all these hospitals are in this home.

    Raises:
        NotAtWork: the home was restored and is not at work.
        BadInput: one of them is none of this home's.
    """
    if node.restored is not None:
        raise NotAtWork("it runs no study")
    here = names_here(node)
    strangers = [name for name in hospitals if name not in here]
    if strangers:
        raise BadInput(
            f"{', '.join(strangers)}: no such hospital in this home",
            hint=f"its hospitals are {', '.join(here)}; of others give --site HOSPITAL=SOCKET",
        )


class Stage(Enum):
    """How far a study has come."""

    NEW = "new"
    BEGUN = "begun"
    """Reserved; rounds may be learnt."""
    TRAINED = "trained"
    """Its model is kept and paid for, and not registered yet."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a study stands in this home.

    Attributes:
        stage: how far it has come.
        rounds: learnt so far.
        reservation: what pays for it; 0 where nothing was reserved.
    """

    stage: Stage
    rounds: int = 0
    reservation: int = 0


def standing_of(node: Node, study: StudyProtocol, researcher: Principal) -> Standing:
    """Where a study stands: new, or to go on under the reservation that it has.

    Raises:
        Conflict: it is over: registered, or settled without a model; or an earlier study bore its name.
        Refused: it was begun in another researcher's name.
        Unavailable: the ledger or the journal does not answer.
    """
    home, paid = node.settings.home, paid_for(node, study)
    kept = _kept_model(home, study)
    if paid is None:
        for path in (model_path(home, study.study_id), card_path(home, study.study_id)):
            if path.exists():
                raise Conflict(
                    f"{path.name} is kept here, of an earlier study of this name",
                    hint="give the protocol a new study_id",
                )
        return Standing(Stage.NEW)
    if not paid.live and (kept is None or not paid.committed or _is_registered(node, kept)):
        raise Conflict(
            "this protocol was paid for before: it is run once", hint="a new run is a new study, with its own ε"
        )
    with journal_of(home, study) as journal:
        begun = journal.begun()
        if begun is None:  # it was killed between the ledger's word and the journal's
            journal.begin(paid.number, researcher.id)
        elif begun.account != researcher.id:
            raise Refused(
                f"{study.study_id} was begun in the name of {begun.account}", hint=f"go on with --as {begun.account}"
            )
        rounds = study.rounds if kept is not None else len(journal.totals())
    return Standing(Stage.BEGUN if paid.live else Stage.TRAINED, rounds, paid.number)


def paid_for(node: Node, study: StudyProtocol) -> ReservedPrivacy | None:
    """What the ledger holds for a protocol: settled or live, it is charged. Raises ``Unavailable``."""
    return ConsentedBudget(node.consortium.budgets, study_identity(node)).of_study(study.fingerprint())


def run_study(
    node: Node,
    sites: Sequence[Site],
    study: StudyProtocol,
    benchmark: Benchmark,
    researcher: Principal,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> TrainedStudy:
    """Train over the sites, keep the model, measure it, keep its card, register both; or go on with what was begun.

    Args:
        node: whose home keeps model, card and journal, and whose consortium's budgets pay.
        sites: the protocol's hospitals, of ``sites_of``; none are asked once the model is kept.
        study: what is run, once.
        benchmark: what the model is measured on.
        researcher: in whose name.
        progress: told of every step, on the calling thread.

    Raises:
        Busy: another process runs this very study.
        NotApproved: a hospital's officer did not approve the study; nothing was reserved.

    And as ``standing_of`` and ``Coordinator.run``: what interrupts it after something was reserved leaves that charged,
    and the study to go on.
    """
    for site in sites:
        if isinstance(site, DaemonSite):
            site.prepare(study)
    home = node.settings.home
    (home / "models").mkdir(exist_ok=True, mode=0o700)
    with process_lock(home / "models" / f".{study.study_id}.lock", wait=False) as held:
        if not held:
            raise Busy(f"another process runs {study.study_id}", hint="it goes on there")
        standing = standing_of(node, study, researcher)
        coordinator = _coordinator(node, sites, study, researcher, progress)
        kept = _kept_model(home, study)
        if standing.stage is Stage.NEW or kept is None:
            return coordinator.run(study, benchmark)
        trained = Trained(kept, plan_for(study), standing.reservation)
        if standing.stage is Stage.BEGUN:
            coordinator.settle(trained)
        return coordinator.finish(trained, benchmark)


def abandon_study(
    node: Node, sites: Sequence[DaemonSite], study: StudyProtocol, researcher: Principal
) -> ReservedPrivacy:
    """End a study that was begun, for good: every hospital signs that its reservation is burned; what that was.

    What was reserved is charged, for sums may have left. It never costs more, and no model is made.

    Args:
        node: whose home began it.
        sites: the protocol's hospitals, of ``sites_of``.
        study: what is ended.
        researcher: in whose name it was begun.

    Raises:
        Busy: another process runs it.
        Conflict: nothing was reserved, or its model is trained already.
        Unavailable: a hospital or the chain does not answer: it stays reserved, which charges the same.

    And as ``standing_of``.
    """
    home = node.settings.home
    (home / "models").mkdir(exist_ok=True, mode=0o700)
    with process_lock(home / "models" / f".{study.study_id}.lock", wait=False) as held:
        if not held:
            raise Busy(f"another process runs {study.study_id}", hint="stop it first")
        standing, paid = standing_of(node, study, researcher), paid_for(node, study)
        if standing.stage is Stage.NEW or paid is None:
            raise Conflict("nothing was reserved for this protocol", hint="there is nothing to abandon")
        if standing.stage is Stage.TRAINED or _kept_model(home, study) is not None:
            raise Conflict(
                f"the model of {study.study_id} is trained and charged for",
                hint="the same command without --abandon registers it",
            )
        for site in sites:
            site.address(study)
        ConsentedBudget(node.consortium.budgets, study_identity(node), sites).burn(paid.number)
        with journal_of(home, study) as journal:
            journal.forget()
        return paid


def _coordinator(
    node: Node,
    sites: Sequence[Site],
    study: StudyProtocol,
    researcher: Principal,
    progress: Callable[[Progress], None] | None,
) -> Coordinator:
    home = node.settings.home
    daemons = [one for one in sites if isinstance(one, DaemonSite)]

    def keep(model: Model) -> None:
        write_private(model_path(home, study.study_id), model.to_bytes())

    def keep_card(card: ModelCard) -> ModelCard:
        path = card_path(home, study.study_id)
        if path.exists():
            return ModelCard(path.read_bytes())
        write_private(path, card.content)
        return card

    return Coordinator(
        sites,
        ConsentedBudget(node.consortium.budgets, study_identity(node), daemons),
        LedgerModelRegistry(node.consortium.models),
        node.clock,
        journals=home / JOURNAL_FILE,
        account=researcher.id,
        keep=keep,
        keep_card=keep_card,
        progress=progress,
    )


@contextmanager
def journal_of(home: Path, study: StudyProtocol) -> Iterator[StudyJournal]:
    """A home's journal of a study. Raises ``Unavailable``."""
    journal = StudyJournal(home / JOURNAL_FILE, study.fingerprint())
    try:
        yield journal
    finally:
        journal.close()


def _kept_model(home: Path, study: StudyProtocol) -> Model | None:
    """The model that is kept of this very protocol."""
    try:
        model = read_model(model_path(home, study.study_id).read_bytes())
    except (OSError, ModelFileInvalid):
        return None
    return model if model.study.fingerprint() == study.fingerprint() else None


def _is_registered(node: Node, model: Model) -> bool:
    return LedgerModelRegistry(node.consortium.models).number_of(model.hash()) != 0
