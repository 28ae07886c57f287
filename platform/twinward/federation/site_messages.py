"""What a coordinator and a site say to each other, whatever carries it: MessagePack against fixed types, never pickles.

A coordinator must not be able to run code at a hospital, nor a hospital at a coordinator. ``RemoteSite`` is the
coordinator's half, ``answered`` the site's. A transport brings one answer for each message.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from twinward.core.errors import BadInput, Conflict, NotFound, Refused, TwinwardError, Unavailable
from twinward.federation.aggregation.contribution import Contribution, Unmasking
from twinward.federation.aggregation.secure_aggregation import SignedRoundKey
from twinward.federation.detectors.detector import Parameters
from twinward.federation.errors import (
    BudgetExhausted,
    KeyRefused,
    NotApproved,
    NotAuthentic,
    NotPaid,
    RoundAborted,
    RoundRefused,
    StaysUnreadable,
    StudyInvalid,
)
from twinward.federation.interfaces import OwnBudget
from twinward.federation.site import HospitalSite
from twinward.federation.study import DetectorKind, StudyProtocol

PACE_S: Final = 1.0
"""Joining is answered after this long, or twice, four times … as long."""

_ERRORS: Final = {
    BadInput,
    BudgetExhausted,
    Conflict,
    KeyRefused,
    NotApproved,
    NotAuthentic,
    NotFound,
    NotPaid,
    StaysUnreadable,
    Refused,
    RoundAborted,
    RoundRefused,
    StudyInvalid,
    Unavailable,
}
_UNDECODABLE: Final = (msgspec.DecodeError, RecursionError)
"""What a message formed by hand makes its decoder raise: it goes only so deep."""
_MOST_WORDS: Final = 1000
"""Characters of what another hospital says went wrong."""
_ERROR_NAMED: Final = {kind.__name__: kind for kind in _ERRORS}


class Prepare(msgspec.Struct, tag="prepare"):
    """Would this hospital take part in the study that this is signed for? Nothing is read or reserved yet."""


class Join(msgspec.Struct, tag="join"):
    """See ``Site.join``. The study is a protocol's canonical bytes."""

    study: bytes
    attempt: int


class Contribute(msgspec.Struct, tag="contribute"):
    """See ``Site.contribute``. Parameters are little-endian doubles."""

    round_number: int
    attempt: int
    parameters: bytes
    keys: list[SignedRoundKey]


class Unmask(msgspec.Struct, tag="unmask"):
    """See ``Site.unmask``."""

    attempt: int
    shares: dict[str, bytes]


class SignReservation(msgspec.Struct, tag="sign-reservation"):
    """See ``OwnBudget.sign_reservation``."""

    number: int
    proof: bytes
    account: str


class SignSettlement(msgspec.Struct, tag="sign-settlement"):
    """See ``OwnBudget.sign_settlement``."""

    reservation: int
    committed: bool


class Prepared(msgspec.Struct, tag="prepared"):
    """It would."""


class Joined(msgspec.Struct, tag="joined"):
    """The key for the next attempt, if there is one."""

    key: SignedRoundKey | None


class Contributed(msgspec.Struct, tag="contributed"):
    """A masked sum and what belongs to it."""

    contribution: Contribution


class Unmasked(msgspec.Struct, tag="unmasked"):
    """What opens an attempt."""

    unmasking: Unmasking


class Signed(msgspec.Struct, tag="signed"):
    """What a hospital signed of its own budget."""

    public_key: bytes
    signature: bytes


class Failed(msgspec.Struct, tag="failed"):
    """An error by the name of its class, and its words."""

    kind: str
    message: str
    hint: str


Asked = Prepare | SignReservation | SignSettlement | Join | Contribute | Unmask
Reply = Prepared | Signed | Joined | Contributed | Unmasked | Failed
_Answer = TypeVar("_Answer", Prepared, Signed, Joined, Contributed, Unmasked)
REQUESTS: Final[msgspec.msgpack.Decoder[Asked]] = msgspec.msgpack.Decoder(Asked)
REPLIES: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)


class RemoteSite(ABC):
    """A ``Site`` somewhere else.

    Args:
        name: the hospital.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """The hospital."""
        return self._name

    def join(self, study: StudyProtocol, attempt: int = 1) -> SignedRoundKey | None:
        """See ``HospitalSite.join``."""
        return self._ask(Join(study.canonical(), attempt), Joined).key

    def contribute(
        self, round_number: int, attempt: int, parameters: Parameters, keys: Sequence[SignedRoundKey]
    ) -> Contribution:
        """See ``HospitalSite.contribute``."""
        request = Contribute(round_number, attempt, parameters.astype("<f8").tobytes(), list(keys))
        return self._ask(request, Contributed).contribution

    def unmask(self, attempt: int, shares: Mapping[str, bytes]) -> Unmasking:
        """See ``HospitalSite.unmask``."""
        return self._ask(Unmask(attempt, dict(shares)), Unmasked).unmasking

    @abstractmethod
    def close(self) -> None:
        """Give back what it holds, at once."""

    @abstractmethod
    def _carried(self, message: bytes) -> bytes:
        """The answer to a message, as it came. Raises ``Unavailable`` where there is none."""

    def _ask(self, request: Asked, expected: type[_Answer]) -> _Answer:
        try:
            reply = REPLIES.decode(self._carried(msgspec.msgpack.encode(request)))
        except _UNDECODABLE as error:
            raise RoundAborted(
                f"{self._name} dropped out: {type(error).__name__}", hint="see that hospital's own log"
            ) from error
        if isinstance(reply, Failed):
            raise _ERROR_NAMED.get(reply.kind, RoundAborted)(reply.message[:_MOST_WORDS], hint=reply.hint[:_MOST_WORDS])
        if not isinstance(reply, expected):
            raise RoundAborted(f"{self._name} answered out of turn")
        return reply


def answered(
    site: HospitalSite,
    message: bytes,
    *,
    pace_s: float = PACE_S,
    only: StudyProtocol | None = None,
    budget: OwnBudget | None = None,
) -> bytes:
    """What a site answers a message.

    Args:
        site: the hospital's.
        message: as it came, from whom the transport says.
        pace_s: joining takes so long or twice, four times … as long: how long reading took would tell how many patients
            there are.
        only: the study that may be joined, and that a site which was started anew in the middle joins by itself.
        budget: the hospital's own, where its key is here; it signs for ``only`` and nothing else.
    """
    started = time.monotonic()
    try:
        request = REQUESTS.decode(message)
    except _UNDECODABLE:
        return failed(BadInput(f"{site.name} was sent a message it does not know"))
    try:
        reply = msgspec.msgpack.encode(_reply(site, request, only, budget))
    except _UNDECODABLE:
        reply = failed(BadInput(f"{site.name} was sent a message it does not know"))
    except TwinwardError as error:
        reply = failed(error)
    if isinstance(request, Join):
        taken = time.monotonic() - started
        time.sleep(pace_s * 2 ** max(0, math.ceil(math.log2(max(taken, pace_s) / pace_s))) - taken)
    return reply


def ends_a_study(message: bytes) -> bool:
    """Whether it asks for nothing but that a study's reservation is burned: answered also when approval was withdrawn,
    for it lets nothing leave and charges what is charged anyway.
    """
    try:
        request = REQUESTS.decode(message)
    except _UNDECODABLE:
        return False
    return isinstance(request, SignSettlement) and not request.committed


def failed(error: TwinwardError) -> bytes:
    """An error as it is told: the nearest kind that both sides know, and its words."""
    nearest = next((kind.__name__ for kind in type(error).__mro__ if kind in _ERRORS), "")
    return msgspec.msgpack.encode(Failed(nearest, str(error), error.hint))


def _reply(site: HospitalSite, request: Asked, only: StudyProtocol | None, budget: OwnBudget | None) -> Reply:
    if isinstance(request, Prepare):
        return Prepared()
    if isinstance(request, SignReservation | SignSettlement):
        return _signed(site.name, request, only, budget)
    if isinstance(request, Join):
        study = StudyProtocol.parse(msgspec.json.decode(request.study, type=dict[str, Any]))
        if only is not None and study != only:
            raise NotAuthentic(f"{site.name} was asked to join another study than the one that this was signed for")
        if study.detector is DetectorKind.AUTOENCODER:
            _use_one_thread()
        return Joined(site.join(study, request.attempt))
    if only is not None and not site.has_joined(only):
        site.join(only)
    if isinstance(request, Unmask):
        return Unmasked(site.unmask(request.attempt, request.shares))
    if len(request.parameters) % 8:
        raise BadInput("parameters are 64-bit floats")
    parameters = np.frombuffer(request.parameters, "<f8").astype(np.float64)
    return Contributed(site.contribute(request.round_number, request.attempt, parameters, request.keys))


def _signed(
    hospital: str, request: SignReservation | SignSettlement, only: StudyProtocol | None, budget: OwnBudget | None
) -> Signed:
    if only is None or budget is None:
        raise NotPaid(f"{hospital} signs nothing of its budget here", hint="its daemon does: `twinward site serve`")
    if isinstance(request, SignReservation):
        made = budget.sign_reservation(only, request.number, request.proof, request.account)
    else:
        made = budget.sign_settlement(only, request.reservation, committed=request.committed)
    return Signed(made.public_key, made.signature)


def _use_one_thread() -> None:
    """Hospitals run side by side here; each taking all cores would slow all of them."""
    import torch

    torch.set_num_threads(1)
