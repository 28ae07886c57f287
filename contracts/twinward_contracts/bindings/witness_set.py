"""``WitnessSet``: the hospitals that co-sign, their BLS keys and the quorum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from twinward_contracts.artefacts import load
from twinward_contracts.bindings.changes import Call, Changes
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor
from twinward_contracts.names import name_id

_ARTEFACT: Final = load("WitnessSet")

DELAY_S: Final = 3 * 86_400
"""How long what the owner proposes is seen before it can be enacted, unless a consortium is founded otherwise."""


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


class WitnessSet(Changes):
    """The contract at one address. ``register`` and ``set_quorum`` are the owner's until a first quorum is set."""

    @classmethod
    def deploy(cls, client: Transactor, *, owner: str | None = None, delay_s: int = DELAY_S) -> Self:
        """Create the contract; the sender founds the consortium where no other owner is named.

        Refused with ``PrecompilesUnusable`` or ``PrecompileFailed`` on a chain without EIP-2537.
        """
        return cls(client, client.deploy(_ARTEFACT, owner or client.sender, delay_s))

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
        """Set the first quorum: the consortium is founded."""
        return self._client.transact(self.address, _ARTEFACT, "setQuorum", quorum)

    def setting_quorum(self, quorum: int) -> Call:
        """The change that sets how many must sign. Opens a new epoch."""
        return Call(self.address, _ARTEFACT, "setQuorum", (quorum,))

    def retiring(self, index: int) -> Call:
        """The change that takes a witness out. Opens a new epoch."""
        return Call(self.address, _ARTEFACT, "retire", (index,))

    def registering(self, name: str, public_key: bytes, possession: bytes) -> Call:
        """The change that adds a witness (see ``register``)."""
        return Call(self.address, _ARTEFACT, "register", (name_id(name), public_key, possession))

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
