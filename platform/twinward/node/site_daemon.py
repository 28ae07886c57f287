"""A hospital's daemon over its own vault, key service and view of the ledger; and one that is started for a run.

``twinward site serve`` runs one as long as the hospital likes. Where none answers, ``twinward study run`` starts one
for each hospital of its home, in a process of its own, and ends it afterwards. Both are the same, to the byte.
"""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from twinward.access.interfaces import Principal
from twinward.core.child_processes import without_working_directory
from twinward.core.config import Settings
from twinward.core.errors import Refused
from twinward.core.vocabulary import Role
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity
from twinward.federation.approval import Approval
from twinward.federation.errors import SiteUnreachable
from twinward.federation.invitation import Invitation
from twinward.federation.own_budget import LedgerOwnBudget
from twinward.federation.site import HospitalSite
from twinward.federation.site_messages import PACE_S
from twinward.federation.site_socket import SocketServer
from twinward.federation.study_desk import StudyDesk
from twinward.node.answers_begin import ReservedSince, begin_of
from twinward.node.home import STUDY_READING_LOCK, home_of
from twinward.node.lifecycle import open_node
from twinward.node.node import Node
from twinward.node.study_approvals import member
from twinward.node.study_source import VaultStays, log_room, memory_of

SOCKET_FILE: Final = "site.sock"
_STARTED_WITHIN_S: Final = 120.0
_LOOK_AGAIN_S: Final = 0.02
_LEAVE_S: Final = 2.0
"""Ctrl-C waits no longer for a hospital that computes: what it answered is on its disk, the rest never left it."""


def socket_of(settings: Settings, name: str) -> Path:
    """Where a hospital's daemon answers, unless it is told otherwise."""
    return home_of(settings, name) / SOCKET_FILE


@contextmanager
def desk_of(home: Path, name: str, *, pace_s: float = PACE_S) -> Iterator[StudyDesk]:
    """What a hospital's daemon answers.

    Args:
        home: the home that its keys are in.
        name: the hospital: the home's own, or a member of its embedded consortium.
        pace_s: see ``site_messages.answered``.

    Raises:
        NotAtWork: the home was restored.
        BadInput: no such hospital is in the home.

    And as ``open_node``.
    """
    with ExitStack() as stack:
        node = stack.enter_context(open_node(home))
        one = stack.enter_context(member(node, name))
        place, ledger = memory_of(node.settings, name).absolute(), node.consortium.budgets
        begin = begin_of(place.parent, ledger)
        identity, memory = one.identity(), AnsweredRounds(place)
        stack.callback(memory.close)
        log_room(one.node, memory, place.with_name(STUDY_READING_LOCK)).complete()
        witness = one.node.identity.witness_keys()

        def own_budget(approval: Approval) -> LedgerOwnBudget:
            runs_it = approval.invitation.roster[approval.invitation.coordinator]
            return LedgerOwnBudget(name, one.node.consortium.budgets, witness, memory, runs_it)

        def open_site(approval: Approval) -> HospitalSite:
            vault = VaultStays(home, name, _researcher(node, approval.invitation))
            reserved = ReservedSince(own_budget(approval), ledger.address, begin)
            return HospitalSite(identity, approval.invitation.roster, vault, reservations=reserved, answered=memory)

        desk = StudyDesk(identity, one.approvals(), open_site, own_budget=own_budget, pace_s=pace_s)
        stack.callback(desk.close)
        yield desk


def _researcher(node: Node, invitation: Invitation) -> Principal:
    """In whose name stays are read: an account of this node, or one of the coordinating hospital's, by its word.

    Raises:
        NotFound, AccountDisabled, Refused: an account here that is gone, or is no researcher's.
    """
    if invitation.coordinator != node.settings.tenant:
        return Principal(f"{invitation.researcher}@{invitation.coordinator}", Role.RESEARCHER, unit="another hospital")
    known = node.accounts.named(invitation.researcher)
    if known.role is not Role.RESEARCHER:
        raise Refused(f"{known.id} is no researcher's account", hint="the invitation names another kind of account")
    return known


class DaemonProcess:
    """A hospital's daemon, started for as long as this process runs: it ends with it, also where it is killed.

    Args:
        home, name: see ``desk_of``.
    """

    def __init__(self, home: Path, name: str) -> None:
        self._name = name
        self._folder = tempfile.TemporaryDirectory(prefix="twinward-site-")
        self.socket = Path(self._folder.name) / SOCKET_FILE
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(home, name, self.socket, theirs), name=f"site-{name}", daemon=True
        )
        # Ctrl-C is the coordinator's, also while the other process is still starting: it inherits the mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with without_working_directory():
                self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def await_started(self) -> None:
        """Wait until it answers. Raises ``SiteUnreachable`` where it ended instead; why is in its own output."""
        deadline = time.monotonic() + _STARTED_WITHIN_S
        while not self.socket.is_socket():
            if not self._process.is_alive() or time.monotonic() > deadline:
                raise SiteUnreachable(
                    f"the site of {self._name} did not start", hint=f"try `twinward site serve --hospital {self._name}`"
                )
            time.sleep(_LOOK_AGAIN_S)

    def close(self) -> None:
        """End it, once what it is asked is answered."""
        self._pipe.close()  # which it takes as its leave
        self._process.join(timeout=_LEAVE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()
        self._folder.cleanup()


def serve(home: Path, name: str, path: Path, ready: Callable[[SocketServer], None]) -> None:
    """Answer on a socket until ``ready`` was given the server and somebody closed it. Raises as ``desk_of``."""
    with desk_of(home, name) as desk:
        server = SocketServer(path, desk.answer)
        try:
            ready(server)
            server.serve()
        finally:
            server.close()


def _serve(home: Path, name: str, path: Path, pipe: Connection) -> None:
    """The other process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def until_they_leave(server: SocketServer) -> None:
        def wait() -> None:
            try:
                pipe.recv_bytes()
            except (EOFError, OSError):
                server.close()

        threading.Thread(target=wait, daemon=True, name="leave").start()

    serve(home, name, path, until_they_leave)


def study_identity(node: Node) -> HospitalIdentity:
    """The study key of a home's own hospital."""
    with member(node, node.settings.tenant) as own:
        return own.identity()
