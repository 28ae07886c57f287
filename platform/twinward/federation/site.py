"""One hospital's side of a study. Nothing leaves it but signed round keys and masked, noised sums.

What a site enforces by itself, whatever a coordinator asks: that the ledger holds a live reservation for this very
protocol, at no less than it costs (looked up here, when joining and for every round); the protocol's noise (derived
here from its ε), its clipping, its number of rounds, each attempt at one once and in order, over restarts and
coordinators; and the roster it was given beforehand.

A round takes one exchange: the key for the next attempt travels with the answer to this one, the first with joining.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.aggregation.answered_rounds import AnsweredRound, AnsweredRounds, Sealed
from twinward.federation.aggregation.contribution import Contribution, Seal, Unmasking, masked_bytes
from twinward.federation.aggregation.sealing import SealSecret, new_seed, quorum_of, read_secret, seal, unmasking
from twinward.federation.aggregation.secure_aggregation import (
    HospitalIdentity,
    Masked,
    Roster,
    RoundSecret,
    SignedRoundKey,
    model_context,
    new_private_key,
    round_transcript,
    verify_round_keys,
)
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Blocks, Detector, Parameters, normalise
from twinward.federation.detectors.grouped import REST, GroupedDetector
from twinward.federation.errors import KeyRefused, NotPaid, RoundRefused, StaysUnreadable
from twinward.federation.interfaces import Reservations, StaySource
from twinward.federation.privacy.accountant import multiplier_of, require_paid
from twinward.federation.privacy.discrete_gaussian import RandomBytes
from twinward.federation.privacy.dp_sum import add_noise, clipped_sum, noise_variance
from twinward.federation.study import StudyProtocol


class Site(Protocol):
    """A hospital as a coordinator reaches it: in this process, in another, later over Flower.

    Attempts are numbered from 1 through a study. Undisturbed, attempt and round are the same number.

    Raises:
        Unavailable: of any kind, by any method: the hospital does not answer, now. Everything else is its refusal.
    """

    @property
    def name(self) -> str:
        """The hospital."""
        ...

    def join(self, study: StudyProtocol, attempt: int = 1) -> SignedRoundKey | None:
        """Take part, or go on: its signed key for this attempt or the first after it that it has not answered; None
        where it has answered them all.
        """
        ...

    def contribute(
        self, round_number: int, attempt: int, parameters: Parameters, keys: Sequence[SignedRoundKey]
    ) -> Contribution:
        """The hospital's masked and noised sum, and its key for the next attempt. Asked the very same again, it says
        the very same again.
        """
        ...

    def unmask(self, attempt: int, shares: Mapping[str, bytes]) -> Unmasking:
        """Let its newest answer be opened, where the protocol seals them: its seed, and its share of each lost
        hospital's, of what that hospital sent it (``Seal.shares``), by name.
        """
        ...

    def close(self) -> None:
        """Give back what it holds, at once: whatever it is asked meanwhile ends as ``Unavailable``."""
        ...


_LOG: Final = logging.getLogger(__name__)
_ROOM: Final = 1.25
"""Slots are made in steps of this many times a hospital's even share of the protocol's guess of the cohort."""

_MOST_ROOM: Final = 1 << 14
"""So that a protocol's guess cannot fill a hospital's memory."""


@dataclass
class _Participation:
    """What a site holds while it takes part in one study."""

    study: StudyProtocol
    detector: Detector
    blocks: Blocks
    """One per slot; how many slots there are does not tell how many patients."""
    present: NDArray[np.bool_]
    """Whether a slot is a patient's who may take part."""
    heads: NDArray[np.intp] | None
    """Which head each slot's patient has, where the study has disease groups."""
    variance: int


class HospitalSite:
    """A hospital's site, in this process.

    Args:
        identity: the hospital's name and signing key.
        roster: every hospital's public signing key.
        source: where its stays come from.
        reservations: the ledger, as this hospital reads it. Without one it answers nothing.
        answered: its memory of answers, which outlives the process. Without one it answers nothing.
        random_bytes: the source of its noise.
    """

    def __init__(
        self,
        identity: HospitalIdentity,
        roster: Roster,
        source: StaySource,
        *,
        reservations: Reservations | None = None,
        answered: AnsweredRounds | None = None,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        self._identity = identity
        self._roster = dict(roster)
        self._source = source
        self._reservations = reservations
        self._answered = answered
        self._random_bytes = random_bytes
        self._participation: _Participation | None = None

    @property
    def name(self) -> str:
        """The hospital."""
        return self._identity.name

    def join(self, study: StudyProtocol, attempt: int = 1) -> SignedRoundKey | None:
        """Read the stays that the study may use, derive this hospital's noise from the protocol, give the next key.

        A study that a restart cut short goes on after the newest attempt that was answered, with the key that others
        were given for the next one.

        Raises:
            KeyRefused: the study's hospitals are not the roster's.
            NotPaid: the ledger holds no live reservation for this protocol; no stay was read.
            RoundRefused: the protocol has no such attempt.
            Unavailable: the ledger or the memory of answers cannot be read.
            StaysUnreadable: the stays cannot be read; why is not told.
        """
        if set(study.hospitals) != set(self._roster):
            raise KeyRefused(
                f"study {study.study_id} is not of the hospitals whose keys {self.name} was given",
                hint="agree on the roster of signing keys before the study",
            )
        self._require_paid(study)
        _require_attempt(self.name, study, attempt)
        newest = self._memory().newest(study.fingerprint())
        number = attempt if newest is None else max(attempt, newest.number + 1)
        if self._participation is None or self._participation.study != study:
            self._participation = self._take_part(study, over=number > study.attempts)
        if number > study.attempts or self._is_over(study):
            return None
        kept = self._memory().key_for(study.fingerprint(), number, new_private_key())
        return self._secret(study, kept.attempt, kept.private).signed_key

    def has_joined(self, study: StudyProtocol) -> bool:
        """Whether it holds what this study needs, in this process."""
        return self._participation is not None and self._participation.study == study

    def contribute(
        self, round_number: int, attempt: int, parameters: Parameters, keys: Sequence[SignedRoundKey]
    ) -> Contribution:
        """Sum this hospital's clipped contributions, add its noise, mask; write the answer down, then give it.

        Asked the very same as its newest answer was given to, it gives the same bytes again: they may have been lost.

        Raises:
            RoundRefused: not the next attempt, one answered before, or the same with another model or other keys.
            NotPaid: the reservation is no longer live.
            Unavailable: the answer could not be written down, so it was not given.
            KeyRefused: the key set is not the roster's.
            BadInput: parameters that are not this detector's.
        """
        part = self._require_participation()
        study = part.study
        self._require_paid(study)
        _require_attempt(self.name, study, attempt, round_number)
        asked = round_transcript(study.fingerprint(), round_number, attempt, keys, model_context(parameters))
        said = self._said_before(study, attempt, asked)
        if said is not None:
            return said
        kept = self._memory().next_key(study.fingerprint())
        if kept is None or kept.attempt != attempt:
            raise RoundRefused(
                f"{self.name} has no key for attempt {attempt}", hint="attempts are answered once and in order"
            )
        secret = self._secret(study, attempt, kept.private)
        verify_round_keys(keys, self._roster, study.fingerprint(), attempt, least=study.least_members)
        self._forget_withdrawn(part)
        contributions = _contributions(part, parameters)
        total = clipped_sum(_only(contributions, part.present), study.clip, part.detector.dimension)
        noised = add_noise(total, part.variance, self._random_bytes)
        masked = secret.mask(noised, keys, asked, least=study.least_members)
        sealed = self._seal(study, secret, keys, asked, masked) if study.sealed else (masked, None, None)
        return self._written(study, (round_number, attempt), asked, *sealed)

    def unmask(self, attempt: int, shares: Mapping[str, bytes]) -> Unmasking:
        """Agree, once it is written down, that the newest answer is opened: its seed, and shares of lost ones' seeds.

        It may be asked again, for the same attempt; of a round no other is ever opened.

        Raises:
            RoundRefused: it is not the newest answer, or the protocol seals none.
            NotPaid: the reservation is no longer live.
            Unavailable: it could not be written down, so nothing was given.
        """
        study = self._require_participation().study
        self._require_paid(study)
        if not study.sealed:
            raise RoundRefused(f"{self.name} seals no answer under this protocol, so there is none to open")
        kept = self._memory().agree_to_open(study.fingerprint(), attempt)
        return unmasking(read_secret(kept.secret), self.name, shares)

    def close(self) -> None:
        """Forget the stays."""
        self._participation = None

    def _take_part(self, study: StudyProtocol, *, over: bool) -> _Participation:
        """What is held while a study runs; no stays where all its rounds are answered, and only said again."""
        blocks, present = (np.zeros((0, 0, 0), np.float32), np.zeros(0, np.bool_)) if over else self._slots(study)
        detector = build_detector(study)
        variance = noise_variance(multiplier_of(study), detector.dimension, study.honest)
        heads = self._heads(study, detector, present) if isinstance(detector, GroupedDetector) else None
        return _Participation(study, detector, blocks, present, heads, variance)

    def _heads(self, study: StudyProtocol, detector: GroupedDetector, present: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Which head each slot has. A hospital knows its patients' groups; nobody is told of any."""
        heads = np.full(len(present), REST)
        if len(present):
            with _nothing_told(self.name):
                heads[present] = detector.heads_of(self._source.groups(study.disease_groups))
        return heads

    def _said_before(self, study: StudyProtocol, attempt: int, asked: bytes) -> Contribution | None:
        """What was answered to this very question. Raises ``RoundRefused`` where another was answered."""
        newest = self._memory().newest(study.fingerprint())
        if newest is None or attempt > newest.number:
            return None
        if (newest.number, newest.request) != (attempt, asked):
            raise RoundRefused(
                f"{self.name} answered attempt {attempt} before, to another question or an earlier one",
                hint="an attempt is answered once; a lost answer is given again to the very same question",
            )
        return msgspec.msgpack.decode(newest.masked, type=Contribution)

    def _is_over(self, study: StudyProtocol) -> bool:
        """Whether the last round was opened, however many attempts are left."""
        sealed = self._memory().sealed(study.fingerprint())
        return sealed is not None and sealed.opened and sealed.round_number == study.rounds

    def _seal(
        self, study: StudyProtocol, secret: RoundSecret, keys: Sequence[SignedRoundKey], asked: bytes, masked: Masked
    ) -> tuple[Masked, Seal, bytes]:
        """A masked vector under a seal, the seal, and what this hospital keeps to open the attempt with."""
        outgoing, incoming = secret.channels(keys, asked)
        kept = SealSecret(asked, new_seed(), incoming)
        sealed, given = seal(masked, kept, outgoing, self.name, quorum_of(study))
        return sealed, given, msgspec.msgpack.encode(kept)

    def _written(
        self,
        study: StudyProtocol,
        numbers: tuple[int, int],
        asked: bytes,
        masked: Masked,
        given: Seal | None,
        kept: bytes | None,
    ) -> Contribution:
        """The answer, once it is on disk together with the key that it announces and what opens it."""
        round_number, attempt = numbers
        upcoming = new_private_key() if attempt < study.attempts else None
        key = None if upcoming is None else self._secret(study, attempt + 1, upcoming).signed_key
        contribution = Contribution(masked_bytes(masked), key, given)
        answer = AnsweredRound(attempt, asked, msgspec.msgpack.encode(contribution))
        sealed = None if kept is None else Sealed(attempt, round_number, kept)
        self._memory().keep(study.fingerprint(), answer, next_key=upcoming, sealed=sealed)
        return contribution

    def _secret(self, study: StudyProtocol, attempt: int, private: bytes) -> RoundSecret:
        return RoundSecret(self._identity, self._roster, study.fingerprint(), attempt, private)

    def _forget_withdrawn(self, part: _Participation) -> None:
        """Whoever withdrew since the last round has no part in this one, nor in later ones.

        The noise stays as the protocol fixes it: it does not depend on how many patients there are.
        """
        with _nothing_told(self.name):
            part.present[list(self._source.withdrawn())] = False

    def _slots(self, study: StudyProtocol) -> tuple[Blocks, NDArray[np.bool_]]:
        """The stays in as many slots as do not tell how many there are, and which slots are taken.

        None and one are as many as any other number: noise hides them, and nothing else differs.
        """
        with _nothing_told(self.name):
            stays = self._source.stays(study.study_id, study.signals)
            taken = normalise(stays, study.bins, study.signals)
        step = min(_MOST_ROOM, math.ceil(_ROOM * study.expected_patients / len(study.hospitals)))
        slots = step * max(1, math.ceil(len(taken) / step))
        blocks = np.zeros((slots, *taken.shape[1:]), np.float32)
        blocks[: len(taken)] = taken
        return blocks, np.arange(slots) < len(taken)

    def _require_paid(self, study: StudyProtocol) -> None:
        if self._reservations is None:
            raise NotPaid(f"{self.name} was given no ledger to look at, so it answers nothing")
        require_paid(study, self.name, self._reservations.of_study(study.fingerprint()))

    def _memory(self) -> AnsweredRounds:
        if self._answered is None:
            raise NotPaid(f"{self.name} has no memory of what it answered, so it answers nothing")
        return self._answered

    def _require_participation(self) -> _Participation:
        if self._participation is None:
            raise BadInput(f"{self.name} has not joined a study", hint="join first")
        return self._participation


def _contributions(part: _Participation, parameters: Parameters) -> Iterator[NDArray[np.float32]]:
    if part.heads is None or not isinstance(part.detector, GroupedDetector):
        return part.detector.contributions(parameters, part.blocks)
    return part.detector.contributions_of(parameters, part.blocks, part.heads)


def _only(chunks: Iterable[NDArray[np.float32]], present: NDArray[np.bool_]) -> Iterator[NDArray[np.float32]]:
    """The chunks with the rows of empty slots made zero: computed all the same, so that time does not tell."""
    start = 0
    for chunk in chunks:
        chunk[~present[start : start + len(chunk)]] = 0.0
        start += len(chunk)
        yield chunk


def _require_attempt(hospital: str, study: StudyProtocol, attempt: int, round_number: int = 1) -> None:
    """Raise ``RoundRefused`` for numbers that the protocol does not have."""
    if not 1 <= attempt <= study.attempts or not 1 <= round_number <= study.rounds:
        raise RoundRefused(
            f"{hospital} refuses attempt {attempt} at round {round_number}: the protocol has {study.rounds} rounds, in "
            f"{study.attempts} attempts",
            hint="rounds are answered once and in order",
        )


@contextmanager
def _nothing_told(hospital: str) -> Iterator[None]:
    """Whatever goes wrong with a patient's data, the coordinator is told the same of it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again, as an error that tells nothing
        _LOG.error("stays of %s cannot be read: %s", hospital, type(error).__name__)
        raise StaysUnreadable(f"{hospital} cannot read its stays", hint="see that hospital's own log") from None
