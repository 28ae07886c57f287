"""``BudgetLedger``: vendors' query budgets an epoch, and studies' privacy budgets for ever."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.names import name_id
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor

_ARTEFACT: Final = load("BudgetLedger")
_DAY_S: Final = 86_400


class ReservationState(IntEnum):
    """What became of a reservation."""

    NONE = 0
    RESERVED = 1
    COMMITTED = 2
    BURNED = 3


@dataclass(frozen=True, slots=True)
class PrivacyAccount:
    """What a hospital's cohort has, in millionths of 1/sigma^2."""

    cap_micros: int
    reserved_micros: int
    spent_micros: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """One reservation: ``micros`` of every hospital named, in millionths of 1/sigma^2."""

    number: int
    study_id: bytes
    cohort_id: bytes
    holder: str
    micros: int
    state: ReservationState
    hospital_ids: tuple[bytes, ...]


class BudgetLedger:
    """The contract at one address. Names are hashed by ``name_id``.

    ``request`` is 32 bytes that make a spend or a reservation happen once: give the same ones when sending again after
    a lost answer. Random ones are drawn where none are given.
    """

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(cls, client: Transactor, *, owner: str | None = None, epoch_s: int = _DAY_S) -> Self:
        """Create the contract. ``epoch_s`` is how long an epoch of query budgets lasts."""
        return cls(client, client.deploy(_ARTEFACT, owner or client.sender, epoch_s))

    def admit(self, account: str) -> TransactionReceipt:
        """Let another hospital's account spend and reserve."""
        return self._client.transact(self.address, _ARTEFACT, "admit", account)

    def grant_queries(self, vendor: str, per_epoch: int) -> TransactionReceipt:
        """Set how many queries a vendor may spend an epoch."""
        return self._client.transact(self.address, _ARTEFACT, "grantQueries", name_id(vendor), per_epoch)

    def spend_queries(self, vendor: str, epoch: int, amount: int = 1, *, request: bytes | None = None) -> int:
        """Spend; return what is left. Refused with ``QueryBudgetExceeded``, ``WrongEpoch`` or ``RequestReplayed``."""
        request = request or secrets.token_bytes(32)
        self._client.transact(self.address, _ARTEFACT, "spendQueries", name_id(vendor), epoch, amount, request)
        return self.remaining_queries(vendor, epoch)

    def remaining_queries(self, vendor: str, epoch: int) -> int:
        """What a vendor has left in an epoch."""
        return int(self._client.call(self.address, _ARTEFACT, "remainingQueries", name_id(vendor), epoch))

    def current_epoch(self) -> int:
        """The running epoch: the chain's time divided by the epoch's length."""
        return int(self._client.call(self.address, _ARTEFACT, "currentEpoch"))

    def epoch_seconds(self) -> int:
        """How long an epoch of query budgets lasts."""
        return int(self._client.call(self.address, _ARTEFACT, "epochSeconds"))

    def cap_privacy(self, hospital: str, cohort: str, cap_micros: int) -> TransactionReceipt:
        """Cap what all studies together may learn about a hospital's cohort."""
        return self._client.transact(
            self.address, _ARTEFACT, "capPrivacy", name_id(hospital), name_id(cohort), cap_micros
        )

    def reserve(
        self, study: str, cohort: str, hospitals: Sequence[str], micros: int, *, request: bytes | None = None
    ) -> int:
        """Reserve from all hospitals or none; return the reservation. Refused with ``PrivacyBudgetExceeded``."""
        request = request or secrets.token_bytes(32)
        ids = sorted({name_id(hospital) for hospital in hospitals})
        self._client.transact(self.address, _ARTEFACT, "reserve", request, name_id(study), name_id(cohort), ids, micros)
        return int(self._client.call(self.address, _ARTEFACT, "reservationOf", request))

    def commit(self, reservation: int) -> TransactionReceipt:
        """The result was released: what was reserved is spent."""
        return self._client.transact(self.address, _ARTEFACT, "commit", reservation)

    def burn(self, reservation: int) -> TransactionReceipt:
        """The run failed: what was reserved is spent all the same, for something may have left."""
        return self._client.transact(self.address, _ARTEFACT, "burn", reservation)

    def privacy(self, hospital: str, cohort: str) -> PrivacyAccount:
        """What a hospital's cohort has."""
        values = self._client.call(self.address, _ARTEFACT, "privacy", name_id(hospital), name_id(cohort))
        return PrivacyAccount(*values)

    def remaining_privacy(self, hospital: str, cohort: str) -> int:
        """Millionths of 1/sigma^2 that are neither spent nor reserved."""
        return int(self._client.call(self.address, _ARTEFACT, "remainingPrivacy", name_id(hospital), name_id(cohort)))

    def reservation(self, number: int) -> Reservation:
        """One reservation; its state is ``NONE`` where there is no such one."""
        study, cohort, holder, micros, state, hospitals = self._client.call(
            self.address, _ARTEFACT, "reservationAt", number
        )
        return Reservation(number, study, cohort, holder, micros, ReservationState(state), tuple(hospitals))
