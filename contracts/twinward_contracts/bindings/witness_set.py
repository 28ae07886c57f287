"""``WitnessSet``: the hospitals that co-sign, their BLS keys and the quorum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.names import name_id
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor

_ARTEFACT: Final = load("WitnessSet")


@dataclass(frozen=True, slots=True)
class Witness:
    """One place of the set.

    Attributes:
        index: its place, which is its bit in a bitmap.
        name_id: ``name_id`` of the hospital.
        public_key: point of G1, 128 bytes (EIP-2537).
        active: False once it was retired.
    """

    index: int
    name_id: bytes
    public_key: bytes
    active: bool


class WitnessSet:
    """The contract at one address."""

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    @classmethod
    def deploy(cls, client: Transactor, *, owner: str | None = None) -> Self:
        """Create the contract; the sender owns it where no other owner is named.

        Refused with ``PrecompilesUnusable`` or ``PrecompileFailed`` on a chain without EIP-2537.
        """
        return cls(client, client.deploy(_ARTEFACT, owner or client.sender))

    def register(self, name: str, public_key: bytes, possession: bytes) -> int:
        """Add a witness; return its place. Opens a new epoch.

        Args:
            name: the hospital.
            public_key: point of G1, 128 bytes (EIP-2537).
            possession: proof of possession, point of G2, 256 bytes.
        """
        receipt = self._client.transact(self.address, _ARTEFACT, "register", name_id(name), public_key, possession)
        events = self._client.events(self.address, _ARTEFACT, "WitnessRegistered", from_block=receipt.block_number)
        return next(int(event["index"]) for event in events if event["key"] == public_key)

    def retire(self, index: int) -> TransactionReceipt:
        """Take a witness out. Opens a new epoch."""
        return self._client.transact(self.address, _ARTEFACT, "retire", index)

    def set_quorum(self, quorum: int) -> TransactionReceipt:
        """Set how many must sign. Opens a new epoch."""
        return self._client.transact(self.address, _ARTEFACT, "setQuorum", quorum)

    def epoch(self) -> int:
        """The epoch that what is co-signed now must name."""
        return int(self._client.call(self.address, _ARTEFACT, "epoch"))

    def quorum(self) -> int:
        """How many must sign; 0 before it is first set."""
        return int(self._client.call(self.address, _ARTEFACT, "quorum"))

    def witnesses(self) -> list[Witness]:
        """Every place ever given out, by place."""
        active = int(self._client.call(self.address, _ARTEFACT, "active"))
        return [
            Witness(
                index=int(event["index"]),
                name_id=bytes(event["name"]),
                public_key=bytes(event["key"]),
                active=bool(active >> int(event["index"]) & 1),
            )
            for event in self._client.events(self.address, _ARTEFACT, "WitnessRegistered")
        ]
