"""A hospital's site in a process of its own: another address space, reached through one pipe of typed messages.

For sources that are no vault. Starting the process hands over its identity and source by pickle, from whoever owns the
hospital; what is said afterwards are ``site_messages``. A hospital with a vault runs a daemon (``study_desk``).
"""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from twinward.core.child_processes import without_working_directory
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity, Roster
from twinward.federation.errors import RoundAborted
from twinward.federation.interfaces import Reservations, StaySource
from twinward.federation.site import HospitalSite
from twinward.federation.site_envelope import MAX_MESSAGE_BYTES
from twinward.federation.site_messages import PACE_S, RemoteSite, answered


class SiteProcess(RemoteSite):
    """A ``Site`` that lives in its own process.

    Args:
        identity: the hospital's name and signing key.
        roster: every hospital's public signing key.
        source: where its stays come from; opened and read in the other process, so it must be picklable.
        reservations: the ledger as this hospital reads it, opened in the other process; without one, or without
            ``memory``, the site answers nothing.
        memory: the file of its memory of answers (``AnsweredRounds``), which outlives the process.
        pace_s: joining is answered after this long, or twice, four times … as long: how long reading took would tell
            how many patients there are.
        reply_timeout_s: how long a round may take before the hospital counts as dropped out.
    """

    def __init__(
        self,
        identity: HospitalIdentity,
        roster: Roster,
        source: StaySource,
        *,
        reservations: Reservations | None = None,
        memory: Path | None = None,
        pace_s: float = PACE_S,
        reply_timeout_s: float = 120.0,
    ) -> None:
        super().__init__(identity.name)
        self._timeout_s = reply_timeout_s
        self._asking = False
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, identity, dict(roster), source, reservations, memory, pace_s),
            name=f"site-{identity.name}",
            daemon=True,
        )
        # Ctrl-C is the coordinator's, also while the other process is still starting: it inherits the mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with without_working_directory():
                self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    @property
    def process_id(self) -> int | None:
        """The operating system's number of the other process."""
        return self._process.pid

    def close(self) -> None:
        """End the process: at once where it is asked something, for what it answered is on its disk."""
        if self._asking:
            self._process.terminate()
        else:
            self._pipe.close()  # which it takes as its leave
        self._process.join(timeout=2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()
        self._process.close()

    def _carried(self, message: bytes) -> bytes:
        self._asking = True
        try:
            self._pipe.send_bytes(message)
            if not self._pipe.poll(self._timeout_s):
                raise RoundAborted(f"{self._name} did not answer within {self._timeout_s:g} s")
            return self._pipe.recv_bytes(MAX_MESSAGE_BYTES)
        except (OSError, EOFError) as error:
            raise RoundAborted(
                f"{self._name} dropped out: {type(error).__name__}", hint="see that hospital's own log"
            ) from error
        finally:
            self._asking = False


def _serve(
    pipe: Connection,
    identity: HospitalIdentity,
    roster: Roster,
    source: StaySource,
    reservations: Reservations | None,
    memory: Path | None,
    pace_s: float,
) -> None:
    """The other process: answer until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator's Ctrl-C closes the pipe, which ends this cleanly
    kept = None if memory is None else AnsweredRounds(memory)
    site = HospitalSite(identity, roster, source, reservations=reservations, answered=kept)
    while True:
        try:
            message = pipe.recv_bytes(MAX_MESSAGE_BYTES)
        except (EOFError, OSError):
            return
        pipe.send_bytes(answered(site, message, pace_s=pace_s))
