"""One hospital's side of a study. Nothing leaves it but signed round keys and masked, noised sums.

What a site enforces by itself, whatever a coordinator asks: that the ledger holds a live reservation for this very
protocol, at no less than it costs (looked up here, when joining and for every round); the protocol's noise (derived
here from its ε), its clipping, its number of rounds, each round once and in order, over restarts and coordinators; and
the roster it was given beforehand.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from twinward.core.errors import BadInput
from twinward.federation.aggregation.answered_rounds import AnsweredRound, AnsweredRounds
from twinward.federation.aggregation.secure_aggregation import (
    HospitalIdentity,
    Masked,
    Roster,
    RoundSecret,
    SignedRoundKey,
    round_transcript,
)
from twinward.federation.detectors import build_detector
from twinward.federation.detectors.detector import Blocks, Detector, Parameters, normalise
from twinward.federation.errors import KeyRefused, NotPaid, RoundRefused, StaysUnreadable
from twinward.federation.interfaces import Reservations, StaySource
from twinward.federation.privacy.accountant import multiplier_of, require_paid
from twinward.federation.privacy.discrete_gaussian import RandomBytes
from twinward.federation.privacy.dp_sum import add_noise, clipped_sum, noise_variance
from twinward.federation.study import StudyProtocol


class Site(Protocol):
    """A hospital as a coordinator reaches it: in this process, in another, later over Flower."""

    @property
    def name(self) -> str:
        """The hospital."""
        ...

    def join(self, study: StudyProtocol) -> None:
        """Take part: read the stays that the study may use, and get ready for round 1."""
        ...

    def open_round(self, round_number: int) -> SignedRoundKey:
        """A fresh signed key for the next round."""
        ...

    def contribute(self, round_number: int, parameters: Parameters, keys: Sequence[SignedRoundKey]) -> Masked:
        """The hospital's masked and noised sum for the round just opened."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
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
    variance: int
    rounds_opened: int = 0
    secret: RoundSecret | None = None
    before_restart: AnsweredRound | None = None
    """What was answered last before this process took the study up: the coordinator may not have got it."""


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
        self._joined: set[bytes] = set()

    @property
    def name(self) -> str:
        """The hospital."""
        return self._identity.name

    def join(self, study: StudyProtocol) -> None:
        """Read the stays that the study may use and derive this hospital's noise from the protocol.

        A study that a restart cut short goes on after the last round that was answered.

        Raises:
            KeyRefused: the study's hospitals are not the roster's.
            NotPaid: the ledger holds no live reservation for this protocol; no stay was read.
            RoundRefused: this site took part in this very protocol before; its budget was for once.
            Unavailable: the ledger or the memory of answers cannot be read.
            StaysUnreadable: the stays cannot be read; why is not told.
        """
        if set(study.hospitals) != set(self._roster):
            raise KeyRefused(
                f"study {study.study_id} is not of the hospitals whose keys {self.name} was given",
                hint="agree on the roster of signing keys before the study",
            )
        self._require_paid(study)
        newest = self._memory().newest(study.fingerprint())
        if study.fingerprint() in self._joined or (newest is not None and newest.number >= study.rounds):
            raise RoundRefused(
                f"{self.name} took part in this study before", hint="a new run is a new study, with its own ε"
            )
        blocks, present = self._slots(study)
        detector = build_detector(study)
        honest = len(study.hospitals) - study.colluding
        variance = noise_variance(multiplier_of(study), detector.dimension, honest)
        self._joined.add(study.fingerprint())
        part = _Participation(study, detector, blocks, present, variance)
        if newest is not None:
            part.rounds_opened, part.before_restart = newest.number, newest
        self._participation = part

    def open_round(self, round_number: int) -> SignedRoundKey:
        """A fresh signed key for the next round.

        Raises:
            RoundRefused: not the next round, or beyond the protocol's.
            NotPaid: the reservation is no longer live.
        """
        part = self._require_participation()
        self._require_paid(part.study)
        if round_number != part.rounds_opened + 1 or round_number > part.study.rounds:
            raise RoundRefused(
                f"{self.name} refuses round {round_number}: it opened {part.rounds_opened} of {part.study.rounds}",
                hint="rounds are answered once and in order",
            )
        part.rounds_opened = round_number
        part.secret = RoundSecret(self._identity, self._roster, part.study.fingerprint(), round_number)
        return part.secret.signed_key

    def contribute(self, round_number: int, parameters: Parameters, keys: Sequence[SignedRoundKey]) -> Masked:
        """Sum this hospital's clipped contributions, add its noise, mask; write the answer down, then give it.

        What was answered just before a restart is given again, the same bytes, to whoever asks the very same.

        Raises:
            RoundRefused: not the round just opened, or answered before.
            NotPaid: the reservation is no longer live.
            Unavailable: the answer could not be written down, so it was not given.
            KeyRefused: the key set is not the roster's.
            BadInput: parameters that are not this detector's.
        """
        part = self._require_participation()
        self._require_paid(part.study)
        study = part.study.fingerprint()
        asked = round_transcript(study, round_number, keys, round_context(parameters))
        kept, part.before_restart = part.before_restart, None
        if kept is not None and (kept.number, kept.request) == (round_number, asked):
            return np.frombuffer(kept.masked, "<u8").astype(np.uint64)
        if part.secret is None or round_number != part.rounds_opened:
            raise RoundRefused(f"{self.name} has no open round {round_number}", hint="open it first; answer it once")
        secret, part.secret = part.secret, None  # whatever happens now, this round is over
        self._forget_withdrawn(part)
        contributions = part.detector.contributions(parameters, part.blocks)
        total = clipped_sum(_only(contributions, part.present), part.study.clip, part.detector.dimension)
        noised = add_noise(total, part.variance, self._random_bytes)
        masked = secret.mask(noised, keys, round_context(parameters))
        self._memory().keep(study, AnsweredRound(round_number, asked, masked.astype("<u8").tobytes()))
        return masked

    def close(self) -> None:
        """Forget the stays."""
        self._participation = None

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


def _only(chunks: Iterable[NDArray[np.float32]], present: NDArray[np.bool_]) -> Iterator[NDArray[np.float32]]:
    """The chunks with the rows of empty slots made zero: computed all the same, so that time does not tell."""
    start = 0
    for chunk in chunks:
        chunk[~present[start : start + len(chunk)]] = 0.0
        start += len(chunk)
        yield chunk


@contextmanager
def _nothing_told(hospital: str) -> Iterator[None]:
    """Whatever goes wrong with a patient's data, the coordinator is told the same of it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again, as an error that tells nothing
        _LOG.error("stays of %s cannot be read: %s", hospital, type(error).__name__)
        raise StaysUnreadable(f"{hospital} cannot read its stays", hint="see that hospital's own log") from None


def round_context(parameters: Parameters) -> bytes:
    """What every hospital must have been sent alike for the masks to cancel: a hash of the model."""
    return hashlib.sha256(b"twinward/federation/parameters/v1\0" + parameters.astype("<f8").tobytes()).digest()
