"""``ModelRegistry``: trained models and the privacy each of them cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.names import name_id
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor

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
    """The contract at one address. Studies are hashed by ``name_id``."""

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(cls, client: Transactor, *, owner: str | None = None) -> Self:
        """Create the contract."""
        return cls(client, client.deploy(_ARTEFACT, owner or client.sender))

    def admit(self, account: str) -> TransactionReceipt:
        """Let another hospital's account register models."""
        return self._client.transact(self.address, _ARTEFACT, "admit", account)

    def register(self, study: str, model_hash: bytes, card_hash: bytes, epsilon_micros: int, delta_e12: int) -> int:
        """Register a model; return its number. Refused with ``AlreadyRegistered`` or ``ImplausiblePrivacy``."""
        self._client.transact(
            self.address, _ARTEFACT, "register", name_id(study), model_hash, card_hash, epsilon_micros, delta_e12
        )
        return int(self._client.call(self.address, _ARTEFACT, "numberOf", model_hash))

    def model(self, number: int) -> Model:
        """One entry. Refused with ``UnknownModel``."""
        return Model(number, *self._client.call(self.address, _ARTEFACT, "model", number))

    def count(self) -> int:
        """How many models there are; they are numbered from 1."""
        return int(self._client.call(self.address, _ARTEFACT, "count"))
