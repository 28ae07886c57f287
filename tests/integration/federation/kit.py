"""What federation's tests share: three hospitals, seeded bytes in place of the system's, budgets that remember."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from twinward.federation.discrete_gaussian import RandomBytes
from twinward.federation.errors import BudgetExhausted
from twinward.federation.interfaces import StaySource
from twinward.federation.secure_sum import HospitalIdentity
from twinward.federation.site import HospitalSite
from twinward.federation.stay_sources import HeldStays
from twinward.monitoring import Stays
from twinward.simulated_stays import simulate_stays

HOSPITALS = ("east", "north", "south")
IDENTITIES = {name: HospitalIdentity(name, hashlib.sha256(name.encode()).digest()) for name in HOSPITALS}
ROSTER = {name: identity.public_key for name, identity in IDENTITIES.items()}


def seeded_bytes(seed: int) -> RandomBytes:
    """A stream of bytes that a test can repeat."""
    return np.random.default_rng(seed).bytes


def simulated(count: int, seed: int) -> dict[str, Stays]:
    """Three hospitals' stays, of differing severity."""
    return {
        name: simulate_stays(count, seed * 10 + index, severity=0.3 + 0.12 * index)
        for index, name in enumerate(HOSPITALS)
    }


def sites(stays: dict[str, Stays], seed: int = 1) -> list[HospitalSite]:
    """Sites in this process, their noise seeded."""
    sources: dict[str, StaySource] = {name: HeldStays(held) for name, held in stays.items()}
    return [
        HospitalSite(IDENTITIES[name], ROSTER, sources[name], random_bytes=seeded_bytes(seed * 100 + index))
        for index, name in enumerate(HOSPITALS)
    ]


@dataclass
class MemoryBudget:
    """A ``PrivacyBudget`` in memory, with one cap for all."""

    cap: int = 10_000_000
    reserved: dict[int, int] = field(default_factory=dict)
    settled: dict[int, str] = field(default_factory=dict)

    def reserve(self, study: str, hospitals: Sequence[str], inverse_variance_micros: int) -> int:
        if sum(self.reserved.values()) + inverse_variance_micros > self.cap:
            raise BudgetExhausted("the cap does not reach")
        number = len(self.reserved) + 1
        self.reserved[number] = inverse_variance_micros
        return number

    def commit(self, reservation: int) -> None:
        assert reservation not in self.settled
        self.settled[reservation] = "committed"

    def burn(self, reservation: int) -> None:
        assert reservation not in self.settled
        self.settled[reservation] = "burned"


@dataclass
class MemoryRegistry:
    """A ``ModelRegistry`` in memory."""

    entries: list[tuple[str, bytes, bytes, int, int]] = field(default_factory=list)

    def register(self, study: str, model_hash: bytes, card_hash: bytes, epsilon_micros: int, delta_e12: int) -> int:
        self.entries.append((study, model_hash, card_hash, epsilon_micros, delta_e12))
        return len(self.entries)
