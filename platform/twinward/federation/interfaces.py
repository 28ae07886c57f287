"""What federation asks of other domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twinward.features.signal_schema import SignalSchema
from twinward.federation.disease_groups import DiseaseGroup
from twinward.federation.models import BudgetSignature, ReservedPrivacy
from twinward.federation.study import StudyProtocol

Stays = NDArray[np.float32]
"""Monitoring tensors ``[patients, steps, signals]`` in clinical units, NaN where nothing was measured."""


class StaySource(Protocol):
    """Where one hospital's training tensors come from: each patient's read goes through its own permit."""

    def stays(self, study: str, signals: SignalSchema) -> Stays:
        """Tensors of the patients whose consent allows this study now, in the steps and signals of its schema: one row
        for each person, never two.

        What is promised is promised to a row; whoever has several stays is joined to one here.
        """
        ...

    def groups(self, groups: Sequence[DiseaseGroup]) -> Sequence[str]:
        """Which of these each row of what ``stays`` gave last is in, by name; ``NO_GROUP`` for none. Asked only of a
        study that has some.
        """
        ...

    def withdrawn(self) -> frozenset[int]:
        """Which rows of what ``stays`` gave last are of patients whose consent no longer allows the study."""
        ...


class Reservations(Protocol):
    """The ledger as a hospital reads it by itself, through its own node: what was reserved for which protocol."""

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        """The reservation made for the protocol of this fingerprint. Raises ``Unavailable`` if the chain is silent."""
        ...


class OwnBudget(Protocol):
    """A hospital's own budget: what it signs of it, each by its own judgement (``own_budget``)."""

    def sign_reservation(self, study: StudyProtocol, number: int, proof: bytes, account: str) -> BudgetSignature:
        """That an account may reserve what the protocol costs, under the request that the proof makes."""
        ...

    def sign_settlement(self, study: StudyProtocol, reservation: int, *, committed: bool) -> BudgetSignature:
        """That the study's reservation is settled, as the price of a model or as burned."""
        ...


class ModelRegistry(Protocol):
    """The ledger's register of trained models and the privacy each cost."""

    def register(
        self, reservation: int, model_hash: bytes, card_hash: bytes, epsilon_micros: int, delta_e12: int
    ) -> int:
        """Register the model that a committed reservation paid for; return its number."""
        ...


class PrivacyBudget(Protocol):
    """Privacy spent by a (hospital, cohort), kept on the ledger across runs and restarts."""

    def reserve(self, fingerprint: bytes, hospitals: Sequence[str], inverse_variance_micros: int) -> int:
        """Reserve sum(1/sigma^2) for a protocol before training; return the reservation's number.

        Raises:
            BudgetExhausted: a hospital's cap does not reach.
            Conflict: this protocol was paid for before.
        """
        ...

    def commit(self, reservation: int) -> None:
        """Turn a reservation into a spend: the model was released."""
        ...

    def burn(self, reservation: int) -> None:
        """Settle a failed run's reservation: charged all the same, for noisy sums may have left."""
        ...
