"""A hospital's site in a process of its own: another address space, reached through one pipe of typed messages.

Messages are MessagePack against fixed types, never pickles: a coordinator must not be able to run code at a hospital.
(Starting the process does hand over its identity and source by pickle, from whoever owns the hospital.)
"""

from __future__ import annotations

import math
import multiprocessing
import signal
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from twinward.core.errors import BadInput, Conflict, NotFound, Refused, TwinwardError, Unavailable
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.contribution import Contribution, Unmasking
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity, Roster, SignedRoundKey
from twinward.federation.detectors.detector import Parameters
from twinward.federation.errors import KeyRefused, NotPaid, RoundAborted, RoundRefused, StaysUnreadable, StudyInvalid
from twinward.federation.interfaces import Reservations, StaySource
from twinward.federation.site import HospitalSite
from twinward.federation.study import DetectorKind, StudyProtocol

_MAX_MESSAGE_BYTES: Final = 64 << 20
_ERRORS: Final = {
    BadInput,
    Conflict,
    KeyRefused,
    NotFound,
    NotPaid,
    StaysUnreadable,
    Refused,
    RoundAborted,
    RoundRefused,
    StudyInvalid,
    Unavailable,
}
_ERROR_NAMED: Final = {kind.__name__: kind for kind in _ERRORS}


class _Join(msgspec.Struct, tag="join"):
    study: bytes
    attempt: int


class _Contribute(msgspec.Struct, tag="contribute"):
    round_number: int
    attempt: int
    parameters: bytes
    keys: list[SignedRoundKey]


class _Unmask(msgspec.Struct, tag="unmask"):
    attempt: int
    shares: dict[str, bytes]


class _Joined(msgspec.Struct, tag="joined"):
    key: SignedRoundKey | None


class _Contributed(msgspec.Struct, tag="contributed"):
    contribution: Contribution


class _Unmasked(msgspec.Struct, tag="unmasked"):
    unmasking: Unmasking


class _Failed(msgspec.Struct, tag="failed"):
    kind: str
    message: str
    hint: str


_Request = _Join | _Contribute | _Unmask
_Reply = _Joined | _Contributed | _Unmasked | _Failed
_Answer = TypeVar("_Answer", _Joined, _Contributed, _Unmasked)
_REQUESTS: Final[msgspec.msgpack.Decoder[_Request]] = msgspec.msgpack.Decoder(_Request)
_REPLIES: Final[msgspec.msgpack.Decoder[_Reply]] = msgspec.msgpack.Decoder(_Reply)


class SiteProcess:
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
        pace_s: float = 1.0,
        reply_timeout_s: float = 120.0,
    ) -> None:
        self._name = identity.name
        self._timeout_s = reply_timeout_s
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
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    @property
    def name(self) -> str:
        """The hospital."""
        return self._name

    @property
    def process_id(self) -> int | None:
        """The operating system's number of the other process."""
        return self._process.pid

    def join(self, study: StudyProtocol, attempt: int = 1) -> SignedRoundKey | None:
        """See ``HospitalSite.join``."""
        return self._ask(_Join(study.canonical(), attempt), _Joined).key

    def contribute(
        self, round_number: int, attempt: int, parameters: Parameters, keys: Sequence[SignedRoundKey]
    ) -> Contribution:
        """See ``HospitalSite.contribute``."""
        request = _Contribute(round_number, attempt, parameters.astype("<f8").tobytes(), list(keys))
        return self._ask(request, _Contributed).contribution

    def unmask(self, attempt: int, shares: Mapping[str, bytes]) -> Unmasking:
        """See ``HospitalSite.unmask``."""
        return self._ask(_Unmask(attempt, dict(shares)), _Unmasked).unmasking

    def close(self) -> None:
        """End the process."""
        self._pipe.close()  # which it takes as its leave
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()

    def _ask(self, request: _Request, expected: type[_Answer]) -> _Answer:
        try:
            self._pipe.send_bytes(msgspec.msgpack.encode(request))
            if not self._pipe.poll(self._timeout_s):
                raise RoundAborted(f"{self._name} did not answer within {self._timeout_s:g} s")
            reply = _REPLIES.decode(self._pipe.recv_bytes(_MAX_MESSAGE_BYTES))
        except (OSError, EOFError, msgspec.DecodeError) as error:
            raise RoundAborted(
                f"{self._name} dropped out: {type(error).__name__}", hint="see that hospital's own log"
            ) from error
        if isinstance(reply, _Failed):
            raise _ERROR_NAMED.get(reply.kind, RoundAborted)(reply.message, hint=reply.hint)
        if not isinstance(reply, expected):
            raise RoundAborted(f"{self._name} answered out of turn")
        return reply


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
    answered = None if memory is None else AnsweredRounds(memory)
    site = HospitalSite(identity, roster, source, reservations=reservations, answered=answered)
    while True:
        try:
            message = pipe.recv_bytes(_MAX_MESSAGE_BYTES)
        except (EOFError, OSError):
            return
        started = time.monotonic()
        answer, joining = _answer(site, message)
        if joining:
            taken = time.monotonic() - started
            time.sleep(pace_s * 2 ** max(0, math.ceil(math.log2(max(taken, pace_s) / pace_s))) - taken)
        pipe.send_bytes(msgspec.msgpack.encode(answer))


def _answer(site: HospitalSite, message: bytes) -> tuple[_Reply, bool]:
    """What a message is answered, and whether it asked to join."""
    try:
        request = _REQUESTS.decode(message)
    except msgspec.DecodeError:
        return _Failed("BadInput", f"{site.name} was sent a message it does not know", ""), False
    return _answer_to(site, request), isinstance(request, _Join)


def _answer_to(site: HospitalSite, request: _Request) -> _Reply:
    try:
        if isinstance(request, _Join):
            study = StudyProtocol.parse(_fields(request.study))
            if study.detector is DetectorKind.AUTOENCODER:
                _use_one_thread()
            return _Joined(site.join(study, request.attempt))
        if isinstance(request, _Unmask):
            return _Unmasked(site.unmask(request.attempt, request.shares))
        if len(request.parameters) % 8:
            raise BadInput("parameters are 64-bit floats")
        parameters = np.frombuffer(request.parameters, "<f8").astype(np.float64)
        return _Contributed(site.contribute(request.round_number, request.attempt, parameters, request.keys))
    except msgspec.DecodeError:
        return _Failed("BadInput", f"{site.name} was sent a message it does not know", "")
    except TwinwardError as error:
        nearest = next((kind.__name__ for kind in type(error).__mro__ if kind in _ERRORS), "")
        return _Failed(nearest, str(error), error.hint)


def _fields(canonical: bytes) -> dict[str, Any]:
    return msgspec.json.decode(canonical, type=dict[str, Any])


def _use_one_thread() -> None:
    """Hospitals run side by side here; each taking all cores would slow all of them."""
    import torch

    torch.set_num_threads(1)
