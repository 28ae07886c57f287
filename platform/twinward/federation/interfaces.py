"""What federation asks of other domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Stays = NDArray[np.float32]
"""Monitoring tensors ``[patients, hours, signals]`` in clinical units, NaN where nothing was measured."""


class StaySource(Protocol):
    """Where one hospital's training tensors come from: each patient's read goes through its own permit."""

    def stays(self, study: str) -> Stays:
        """Tensors of the patients whose consent allows this study now, one row per patient."""
        ...


class ModelRegistry(Protocol):
    """The ledger's register of trained models and the privacy each cost."""

    def register(self, study: str, model_hash: bytes, card_hash: bytes, epsilon_micros: int, delta_e12: int) -> int:
        """Register a model on the chain; return its number."""
        ...


class PrivacyBudget(Protocol):
    """Privacy spent by a (hospital, cohort), kept on the ledger across runs and restarts."""

    def reserve(self, study: str, hospitals: Sequence[str], inverse_variance_micros: int) -> int:
        """Reserve sum(1/sigma^2) before training; return a reservation. Raises ``BudgetExhausted`` at the cap."""
        ...

    def commit(self, reservation: int) -> None:
        """Turn a reservation into a spend: the model was released."""
        ...

    def burn(self, reservation: int) -> None:
        """Settle a failed run's reservation: charged all the same, for noisy sums may have left."""
        ...
