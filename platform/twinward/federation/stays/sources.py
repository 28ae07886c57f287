"""Sources of stays that are no vault: in memory, simulated, or a file. Each can be sent to a site's own process.

None of them asks anybody's consent, so nobody withdraws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from twinward.core.errors import BadInput
from twinward.features.monitored_stays import Stays, load_stays
from twinward.features.signal_schema import SignalSchema
from twinward.federation.disease_groups import NO_GROUP, DiseaseGroup
from twinward.federation.stays.simulated import simulate_stays


@dataclass(frozen=True)
class HeldStays:
    """Stays already in memory."""

    held: Stays = field(repr=False)
    named: tuple[str, ...] | None = field(default=None, repr=False)
    """Each one's group, where there are such."""

    def stays(self, study: str, signals: SignalSchema) -> Stays:  # noqa: ARG002
        """All of them, whatever the study."""
        return self.held

    def groups(self, groups: Sequence[DiseaseGroup]) -> Sequence[str]:
        """Each one's, where it is one of these."""
        wanted = {one.name for one in groups}
        return [name if name in wanted else NO_GROUP for name in self.named or (NO_GROUP,) * len(self.held)]

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

    def groups(self, groups: Sequence[DiseaseGroup]) -> Sequence[str]:  # noqa: ARG002
        """None has any."""
        return [NO_GROUP] * self.count

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

    def groups(self, groups: Sequence[DiseaseGroup]) -> Sequence[str]:  # noqa: ARG002
        """None has any."""
        return [NO_GROUP] * len(deal_stays(load_stays(self.path), self.shares, self.seed)[self.share])

    def withdrawn(self) -> frozenset[int]:
        """Nobody."""
        return frozenset()


def deal_stays(stays: Stays, shares: int, seed: int) -> list[Stays]:
    """Stays dealt out at random, in shares as equal as can be.

    Raises:
        BadInput: fewer stays than shares.
    """
    return [one.held for one in deal_held(HeldStays(stays), shares, seed)]


def deal_held(source: HeldStays, shares: int, seed: int) -> list[HeldStays]:
    """The same of stays with their groups. Raises as ``deal_stays``."""
    stays, named = source.held, source.named
    if not 1 <= shares <= len(stays):
        raise BadInput(f"{len(stays)} stays cannot be dealt out to {shares}")
    parts = np.array_split(np.random.default_rng(seed).permutation(len(stays)), shares)
    return [HeldStays(stays[part], None if named is None else tuple(named[row] for row in part)) for part in parts]
