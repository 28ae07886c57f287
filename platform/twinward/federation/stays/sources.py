"""Sources of stays that are no vault: in memory, simulated, or a file. Each can be sent to a site's own process.

None of them asks anybody's consent, so nobody withdraws.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from twinward.core.errors import BadInput
from twinward.features.monitored_stays import Stays, load_stays
from twinward.features.signal_schema import SignalSchema
from twinward.federation.stays.simulated import simulate_stays


@dataclass(frozen=True)
class HeldStays:
    """Stays already in memory."""

    held: Stays = field(repr=False)

    def stays(self, study: str, signals: SignalSchema) -> Stays:  # noqa: ARG002
        """All of them, whatever the study."""
        return self.held

    def withdrawn(self) -> frozenset[int]:
        """Nobody."""
        return frozenset()


@dataclass(frozen=True)
class SimulatedStays:
    """SYNTHETIC stays, made where they are used."""

    count: int
    seed: int
    hours: int = 48
    severity: float = 0.4

    def stays(self, study: str, signals: SignalSchema) -> Stays:  # noqa: ARG002
        """All of them, whatever the study."""
        return simulate_stays(self.count, self.seed, hours=self.hours, severity=self.severity)

    def withdrawn(self) -> frozenset[int]:
        """Nobody."""
        return frozenset()


@dataclass(frozen=True)
class StoredStays:
    """One hospital's share of an ``.npz`` file that is dealt out to several."""

    path: Path
    share: int
    shares: int
    seed: int = 0

    def stays(self, study: str, signals: SignalSchema) -> Stays:  # noqa: ARG002
        """This share, whatever the study.

        Raises:
            BadStay: the file cannot be read.
        """
        return deal_stays(load_stays(self.path), self.shares, self.seed)[self.share]

    def withdrawn(self) -> frozenset[int]:
        """Nobody."""
        return frozenset()


def deal_stays(stays: Stays, shares: int, seed: int) -> list[Stays]:
    """Stays dealt out at random, in shares as equal as can be.

    Raises:
        BadInput: fewer stays than shares.
    """
    if not 1 <= shares <= len(stays):
        raise BadInput(f"{len(stays)} stays cannot be dealt out to {shares}")
    order = np.random.default_rng(seed).permutation(len(stays))
    return [stays[part] for part in np.array_split(order, shares)]
