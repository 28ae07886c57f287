"""One hospital's side of a study. Nothing leaves it but signed round keys and masked, noised sums.

What a site enforces by itself, whatever a coordinator asks: the protocol's noise (derived here from its ε), its
clipping, its number of rounds, each round once and in order, and the roster it was given beforehand.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twinward.errors import BadInput
from twinward.federation.accountant import calibrate
from twinward.federation.detector import Detector, Parameters, build_detector
from twinward.federation.discrete_gaussian import RandomBytes
from twinward.federation.errors import KeyRefused, NothingToTrainOn, RoundRefused
from twinward.federation.interfaces import StaySource
from twinward.federation.normalise import Blocks, normalise
from twinward.federation.private_sum import add_noise, clipped_sum, noise_variance
from twinward.federation.secure_sum import HospitalIdentity, Masked, Roster, RoundSecret, SignedRoundKey
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


@dataclass
class _Participation:
    """What a site holds while it takes part in one study."""

    study: StudyProtocol
    detector: Detector
    blocks: Blocks
    variance: int
    rounds_opened: int = 0
    secret: RoundSecret | None = None


class HospitalSite:
    """A hospital's site, in this process."""

    def __init__(
        self,
        identity: HospitalIdentity,
        roster: Roster,
        source: StaySource,
        *,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        self._identity = identity
        self._roster = dict(roster)
        self._source = source
        self._random_bytes = random_bytes
        self._participation: _Participation | None = None
        self._joined: set[bytes] = set()

    @property
    def name(self) -> str:
        """The hospital."""
        return self._identity.name

    def join(self, study: StudyProtocol) -> None:
        """Read the stays that the study may use and derive this hospital's noise from the protocol.

        Raises:
            KeyRefused: the study's hospitals are not the roster's.
            RoundRefused: this site took part in this very protocol before; its budget was for once.
            NothingToTrainOn: no stay may be used.
        """
        if set(study.hospitals) != set(self._roster):
            raise KeyRefused(
                f"study {study.study_id} is not of the hospitals whose keys {self.name} was given",
                hint="agree on the roster of signing keys before the study",
            )
        if study.fingerprint() in self._joined:
            raise RoundRefused(
                f"{self.name} took part in this study before", hint="a new run is a new study, with its own ε"
            )
        stays = self._source.stays(study.study_id)
        if len(stays) == 0:
            raise NothingToTrainOn(
                f"{self.name} has no stay that {study.study_id} may use", hint="check research consents"
            )
        detector = build_detector(study)
        multiplier = calibrate(study.epsilon, study.delta, study.rounds)
        honest = len(study.hospitals) - study.colluding
        variance = noise_variance(multiplier, detector.dimension, honest)
        self._joined.add(study.fingerprint())
        self._participation = _Participation(study, detector, normalise(stays, study.bins), variance)

    def open_round(self, round_number: int) -> SignedRoundKey:
        """A fresh signed key for the next round.

        Raises:
            RoundRefused: not the next round, or beyond the protocol's.
        """
        part = self._require_participation()
        if round_number != part.rounds_opened + 1 or round_number > part.study.rounds:
            raise RoundRefused(
                f"{self.name} refuses round {round_number}: it opened {part.rounds_opened} of {part.study.rounds}",
                hint="rounds are answered once and in order",
            )
        part.rounds_opened = round_number
        part.secret = RoundSecret(self._identity, self._roster, part.study.fingerprint(), round_number)
        return part.secret.signed_key

    def contribute(self, round_number: int, parameters: Parameters, keys: Sequence[SignedRoundKey]) -> Masked:
        """Sum this hospital's clipped contributions, add its noise, mask.

        Raises:
            RoundRefused: not the round just opened, or answered before.
            KeyRefused: the key set is not the roster's.
            BadInput: parameters that are not this detector's.
        """
        part = self._require_participation()
        if part.secret is None or round_number != part.rounds_opened:
            raise RoundRefused(f"{self.name} has no open round {round_number}", hint="open it first; answer it once")
        secret, part.secret = part.secret, None  # whatever happens now, this round is over
        contributions = part.detector.contributions(parameters, part.blocks)
        total = clipped_sum(contributions, part.study.clip, part.detector.dimension)
        noised = add_noise(total, part.variance, self._random_bytes)
        return secret.mask(noised, keys, round_context(parameters))

    def close(self) -> None:
        """Forget the stays."""
        self._participation = None

    def _require_participation(self) -> _Participation:
        if self._participation is None:
            raise BadInput(f"{self.name} has not joined a study", hint="join first")
        return self._participation


def round_context(parameters: Parameters) -> bytes:
    """What every hospital must have been sent alike for the masks to cancel: a hash of the model."""
    return hashlib.sha256(b"twinward/federation/parameters/v1\0" + parameters.astype("<f8").tobytes()).digest()
