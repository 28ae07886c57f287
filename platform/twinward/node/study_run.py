"""A study, run from the home of the hospital that coordinates it, over each hospital's daemon (``site_daemon``): over
its own vault, its own study key and its own view of the ledger. What the demo runs, and ``twinward study run``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from twinward.access.interfaces import Principal
from twinward.core.errors import BadInput, Conflict, NotAtWork, Refused
from twinward.core.private_files import write_private
from twinward.core.vocabulary import Role
from twinward.federation.approval import Approvals
from twinward.federation.coordinator import Coordinator, Progress, TrainedStudy
from twinward.federation.daemon_site import DaemonSite
from twinward.federation.detectors.model_file import Model
from twinward.federation.evaluation.benchmark import Benchmark
from twinward.federation.ledger_adapters import LedgerModelRegistry, LedgerPrivacyBudget, LedgerReservations
from twinward.federation.models import ReservedPrivacy
from twinward.federation.site import Site
from twinward.federation.site_socket import SocketChannel, is_answering
from twinward.federation.study import StudyProtocol
from twinward.node.node import Node
from twinward.node.site_daemon import DaemonProcess, socket_of, study_identity

REPLY_TIMEOUT_S: Final = 120.0
"""How long a round may take before a hospital counts as dropped out."""

PATIENCE_S: Final = 60.0
"""How long a daemon, or a relay to it, may be away while somebody starts it again. What this process started is not."""


def model_path(home: Path, study_id: str) -> Path:
    """Where a home keeps a study's model."""
    return home / "models" / f"{study_id}.model"


def card_path(home: Path, study_id: str) -> Path:
    """Where a home keeps the card of a study's model."""
    return home / "models" / f"{study_id}.card.json"


@contextmanager
def sites_of(
    node: Node, hospitals: Sequence[str], researcher: Principal, sockets: Mapping[str, Path] | None = None
) -> Iterator[list[DaemonSite]]:
    """The sites of some hospitals: daemons that run already, else started for as long as this lasts.

    Args:
        node: of the hospital that coordinates.
        hospitals: whose sites.
        researcher: in whose name studies will be run.
        sockets: where daemons answer that are elsewhere than in their hospital's home.

    Raises:
        Refused: that is no researcher.
        SiteUnreachable: one did not start.

    And as ``require_hospitals_here``.
    """
    require_researcher(researcher)
    named = sockets or {}
    require_hospitals_here(node, [name for name in hospitals if name not in named])
    home = node.settings.home.resolve()
    coordinator = study_identity(node)
    approvals = Approvals(home, coordinator)
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
            sites.append(DaemonSite(name, channel, coordinator, approvals))
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
        Conflict: the consortium's hospitals stand on machines of their own.
        BadInput: one of them is none of this home's.
    """
    if node.restored is not None:
        raise NotAtWork("it runs no study")
    if node.settings.quorum_policy is not None:
        raise Conflict(
            "the hospitals of this consortium stand on machines of their own",
            hint="a study runs over the hospitals of one home so far, as `twinward node init` makes it",
        )
    here = node.settings.witnesses
    strangers = [name for name in hospitals if name not in here]
    if strangers:
        raise BadInput(
            f"{', '.join(strangers)}: no such hospital in this home", hint=f"its hospitals are {', '.join(here)}"
        )


def require_new(node: Node, study: StudyProtocol) -> None:
    """Raise ``Conflict`` where this protocol, or another of its name, was run here: a study is run once."""
    if paid_for(node, study) is not None:
        raise Conflict(
            "this protocol was paid for before: it is run once", hint="a new run is a new study, with its own ε"
        )
    for path in (model_path(node.settings.home, study.study_id), card_path(node.settings.home, study.study_id)):
        if path.exists():
            raise Conflict(
                f"{path.name} is kept here, of an earlier study of this name", hint="give the protocol a new study_id"
            )


def paid_for(node: Node, study: StudyProtocol) -> ReservedPrivacy | None:
    """What the ledger holds for a protocol: settled or live, it is charged. Raises ``Unavailable``."""
    return LedgerReservations(node.consortium.budgets).of_study(study.fingerprint())


def run_study(
    node: Node,
    sites: Sequence[Site],
    study: StudyProtocol,
    benchmark: Benchmark,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> TrainedStudy:
    """Train over the sites, keep the model, measure it, register it, keep its card.

    Args:
        node: whose home keeps model and card, and whose consortium's budgets pay.
        sites: the protocol's hospitals, of ``sites_of``.
        study: what is run, once.
        benchmark: what the model is measured on.
        progress: told of every step, on the calling thread.

    Raises:
        Conflict: as ``require_new``.
        NotApproved: a hospital's officer did not approve the study; nothing was reserved.

    And as ``Coordinator.run``: whatever fails or interrupts it after something was reserved leaves that charged.
    """
    require_new(node, study)
    for site in sites:
        if isinstance(site, DaemonSite):
            site.prepare(study)
    home = node.settings.home
    (home / "models").mkdir(exist_ok=True, mode=0o700)

    def keep(model: Model) -> None:
        write_private(model_path(home, study.study_id), model.to_bytes())

    budget = LedgerPrivacyBudget(node.consortium.budgets, node.consortium.keys)
    registry = LedgerModelRegistry(node.consortium.models)
    trained = Coordinator(sites, budget, registry, node.clock, keep=keep, progress=progress).run(study, benchmark)
    write_private(card_path(home, study.study_id), trained.card.content)
    return trained
