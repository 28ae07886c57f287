"""What federation's tests share: three hospitals, seeded bytes in place of the system's, ledgers that remember."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from twinward.core.errors import Conflict
from twinward.features.monitored_stays import Stays
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.federation.aggregation.contribution import Contribution
from twinward.federation.aggregation.secure_aggregation import HospitalIdentity, Masked, SignedRoundKey
from twinward.federation.errors import BudgetExhausted
from twinward.federation.interfaces import Reservations, StaySource
from twinward.federation.models import COHORT, ReservedPrivacy
from twinward.federation.privacy.discrete_gaussian import RandomBytes
from twinward.federation.site import HospitalSite, Site
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.stays.sources import HeldStays
from twinward.federation.study import StudyProtocol
from twinward_contracts.bindings import name_id

HOSPITALS = ("east", "north", "south")
FIVE = ("centre", *HOSPITALS, "west")
IDENTITIES = {name: HospitalIdentity(name, hashlib.sha256(name.encode()).digest()) for name in FIVE}
ROSTER = {name: IDENTITIES[name].public_key for name in HOSPITALS}
ROSTER_OF_FIVE = {name: IDENTITIES[name].public_key for name in FIVE}


def seeded_bytes(seed: int) -> RandomBytes:
    """A stream of bytes that a test can repeat."""
    return np.random.default_rng(seed).bytes


def simulated(count: int, seed: int) -> dict[str, Stays]:
    """Three hospitals' stays, of differing severity."""
    return {
        name: simulate_stays(count, seed * 10 + index, severity=0.3 + 0.12 * index)
        for index, name in enumerate(HOSPITALS)
    }


def join_all(made: Sequence[Site], study: StudyProtocol) -> list[SignedRoundKey]:
    """All take part; their keys for the first attempt."""
    keys = [site.join(study) for site in made]
    return [key for key in keys if key is not None]


def ask_all(
    made: Sequence[Site], parameters: np.ndarray, keys: Sequence[SignedRoundKey], number: int = 1
) -> dict[str, Contribution]:
    """An undisturbed round: what each hospital sends."""
    return {site.name: site.contribute(number, number, parameters, keys) for site in made}


def next_keys(sent: Mapping[str, Contribution]) -> list[SignedRoundKey]:
    """The keys that came with answers."""
    return [one.next_key for one in sent.values() if one.next_key is not None]


def words(contribution: Contribution) -> Masked:
    """A masked vector."""
    return np.frombuffer(contribution.masked, "<u8").astype(np.uint64)


def vectors(sent: Mapping[str, Contribution]) -> dict[str, Masked]:
    """All masked vectors."""
    return {name: words(one) for name, one in sent.items()}


def reserved(
    study: bytes, micros: int, *, number: int = 1, live: bool = True, hospitals: Sequence[str] = HOSPITALS
) -> ReservedPrivacy:
    """A reservation of some hospitals as the ledger would tell it."""
    ids = frozenset(name_id(name) for name in hospitals)
    return ReservedPrivacy(number, study, name_id(COHORT), ids, micros, live)


@dataclass(frozen=True)
class AllPaid:
    """A ledger on which everything is paid for: for tests of something else. Can be sent to a site's own process."""

    hospitals: Sequence[str] = HOSPITALS

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        return reserved(fingerprint, 10**15, hospitals=self.hospitals)


@dataclass(frozen=True)
class WrittenReservations:
    """A ledger in a file, which a site's own process reads: lines of fingerprint, micros and live."""

    path: Path

    def write(self, **lines: tuple[int, bool]) -> None:
        """What stands there from now on, by hexadecimal fingerprint."""
        self.path.write_text(json.dumps(lines), encoding="utf-8")

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        found = json.loads(self.path.read_text(encoding="utf-8")).get(fingerprint.hex())
        return None if found is None else reserved(fingerprint, found[0], live=found[1])


def site_of(
    name: str,
    source: StaySource,
    *,
    reservations: Reservations | None = None,
    answered: AnsweredRounds | None = None,
    random_bytes: RandomBytes | None = None,
) -> HospitalSite:
    """A site in this process; everything is paid for and nothing was answered unless it is said otherwise."""
    extra = {} if random_bytes is None else {"random_bytes": random_bytes}
    return HospitalSite(
        IDENTITIES[name],
        ROSTER,
        source,
        reservations=reservations or AllPaid(),
        answered=answered or AnsweredRounds(Path(":memory:")),
        **extra,
    )


def five_sites(
    stays: Mapping[str, Stays], folder: Path | None = None, *, reservations: Reservations | None = None
) -> list[HospitalSite]:
    """Sites of five hospitals in this process, each with a memory of its own, in a folder if they are to outlive it."""
    return [
        HospitalSite(
            IDENTITIES[name],
            ROSTER_OF_FIVE,
            HeldStays(stays[name]),
            reservations=reservations or AllPaid(FIVE),
            answered=AnsweredRounds(Path(":memory:") if folder is None else folder / f"{name}.db"),
        )
        for name in FIVE
    ]


def sites(stays: dict[str, Stays], seed: int = 1, *, reservations: Reservations | None = None) -> list[HospitalSite]:
    """Sites in this process, their noise seeded."""
    return [
        site_of(
            name,
            HeldStays(stays[name]),
            reservations=reservations,
            random_bytes=seeded_bytes(seed * 100 + index),
        )
        for index, name in enumerate(HOSPITALS)
    ]


@dataclass
class MemoryBudget:
    """A ``PrivacyBudget`` in memory, with one cap for all; and the ``Reservations`` that sites find on it."""

    cap: int = 10_000_000
    hospitals: tuple[str, ...] = HOSPITALS
    reserved: dict[int, int] = field(default_factory=dict)
    settled: dict[int, str] = field(default_factory=dict)
    numbers: dict[bytes, int] = field(default_factory=dict)

    def reserve(self, fingerprint: bytes, hospitals: Sequence[str], inverse_variance_micros: int) -> int:
        if fingerprint in self.numbers:
            raise Conflict("paid for before")
        if sum(self.reserved.values()) + inverse_variance_micros > self.cap:
            raise BudgetExhausted("the cap does not reach")
        number = len(self.reserved) + 1
        self.reserved[number] = inverse_variance_micros
        self.numbers[fingerprint] = number
        return number

    def of_study(self, fingerprint: bytes) -> ReservedPrivacy | None:
        number = self.numbers.get(fingerprint)
        if number is None:
            return None
        live = number not in self.settled
        return reserved(fingerprint, self.reserved[number], number=number, live=live, hospitals=self.hospitals)

    def commit(self, reservation: int) -> None:
        assert reservation not in self.settled
        self.settled[reservation] = "committed"

    def burn(self, reservation: int) -> None:
        assert reservation not in self.settled
        self.settled[reservation] = "burned"


@dataclass
class MemoryRegistry:
    """A ``ModelRegistry`` in memory."""

    entries: list[tuple[int, bytes, bytes, int, int]] = field(default_factory=list)

    def register(
        self, reservation: int, model_hash: bytes, card_hash: bytes, epsilon_micros: int, delta_e12: int
    ) -> int:
        self.entries.append((reservation, model_hash, card_hash, epsilon_micros, delta_e12))
        return len(self.entries)
