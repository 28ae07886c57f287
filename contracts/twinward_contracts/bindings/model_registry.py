"""``ModelRegistry``: trained models and the privacy each of them cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.changes import Call
from twinward_contracts.bindings.transactor import Transactor

_ARTEFACT: Final = load("ModelRegistry")


@dataclass(frozen=True, slots=True)
class Model:
    """One entry. ``epsilon_micros`` is epsilon * 10^6, ``delta_e12`` delta * 10^12, times are Unix seconds."""

    number: int
    study_id: bytes
    model_hash: bytes
    card_hash: bytes
    epsilon_micros: int
    delta_e12: int
    registered_at_s: int
    registrar: str


class ModelRegistry:
    """The contract at one address. A model's study is the one that its reservation names."""

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(cls, client: Transactor, budget_ledger: str, *, member: str | None = None) -> Self:
        """Create the contract; the sender is its first member where no other is named.

        It obeys the witness set of the budget ledger. Refused with ``ForeignLedger``.
        """
        return cls(client, client.deploy(_ARTEFACT, budget_ledger, member or client.sender))

    def admitting(self, account: str) -> Call:
        """The change that lets another hospital's account register models."""
        return Call(self.address, _ARTEFACT, "admit", (account,))

    def expelling(self, account: str) -> Call:
        """The change that takes this away."""
        return Call(self.address, _ARTEFACT, "expel", (account,))

    def register(
        self, reservation: int, model_hash: bytes, card_hash: bytes, epsilon_micros: int, delta_e12: int
    ) -> int:
        """Register the model that a reservation of this account, committed, paid for; return the model's number.

        Refused with ``NotPaid``, ``NotHolder``, ``ReservationUsed``, ``AlreadyRegistered`` or ``ImplausiblePrivacy``.
        """
        self._client.transact(
            self.address, _ARTEFACT, "register", reservation, model_hash, card_hash, epsilon_micros, delta_e12
        )
        return self.number_of(model_hash)

    def carry_model(
        self, study_id: bytes, model_hash: bytes, card_hash: bytes, epsilon_micros: int, delta_e12: int
    ) -> int:
        """While a consortium is founded: take over a model of an earlier contract; return its number here.

        It gets today's time. Refused with ``NotFounding``, ``AlreadyRegistered`` or ``ImplausiblePrivacy``.
        """
        self._client.transact(
            self.address, _ARTEFACT, "carryModel", study_id, model_hash, card_hash, epsilon_micros, delta_e12
        )
        return self.number_of(model_hash)

    def number_of(self, model_hash: bytes) -> int:
        """A model's number; 0 for one that is not registered."""
        return int(self._client.call(self.address, _ARTEFACT, "numberOf", model_hash))

    def reservation_of(self, number: int) -> int:
        """The reservation that paid for a model; 0 for one that an earlier contract had registered."""
        return int(self._client.call(self.address, _ARTEFACT, "reservationOf", number))

    def budget_ledger(self) -> str:
        """The address of the budget ledger whose reservations count here."""
        return str(self._client.call(self.address, _ARTEFACT, "budgets"))

    def model(self, number: int) -> Model:
        """One entry. Refused with ``UnknownModel``."""
        return Model(number, *self._client.call(self.address, _ARTEFACT, "model", number))

    def count(self) -> int:
        """How many models there are; they are numbered from 1."""
        return int(self._client.call(self.address, _ARTEFACT, "count"))
