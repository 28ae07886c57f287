"""``Changes``: what a quorum agrees to, or the owner proposes for everybody to see, before a contract is changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from twinward_contracts import abi
from twinward_contracts.artefacts import Artefact, load
from twinward_contracts.bindings.signatures import QuorumSignature
from twinward_contracts.bindings.transactor import TransactionReceipt, Transactor
from twinward_contracts.bindings.words import address_word, message, tag, word

_ARTEFACT: Final = load("WitnessSet")

CHANGE_DOMAIN: Final = tag("twinward/change/v1")
WINDOW_S: Final = 14 * 86_400
"""How long a change may be enacted once it is due."""


class ChangeState(IntEnum):
    """What became of a proposal."""

    NONE = 0
    PROPOSED = 1
    ENACTED = 2
    CANCELLED = 3


@dataclass(frozen=True, slots=True)
class Call:
    """A change: the call that ``WitnessSet`` is to make. Addresses are in hexadecimal."""

    target: str
    artefact: Artefact
    function: str
    arguments: tuple[Any, ...]

    def data(self) -> bytes:
        """Selector and encoded arguments."""
        return abi.call_data(self.artefact, self.function, self.arguments)


@dataclass(frozen=True, slots=True)
class Change:
    """A proposal as it stands on the chain; times are Unix seconds."""

    number: int
    target: str
    due_s: int
    state: ChangeState
    data: bytes

    @property
    def expires_s(self) -> int:
        """After this it cannot be enacted any more."""
        return self.due_s + WINDOW_S


def agreement_message(*, chain_id: int, contract: str, epoch: int, agreement: int, target: str, data: bytes) -> bytes:
    """The 224 bytes that witnesses sign to have a change made: seven big-endian words of 32 bytes.

    domain tag, chain id, ``WitnessSet``, epoch, the agreement's number, the contract to call, SHA-256 of the call.
    Equal to ``Changes.agreementMessage``; whoever signs builds them itself and never signs bytes it was sent.
    """
    digest = hashlib.sha256(data).digest()
    return message(
        CHANGE_DOMAIN,
        word(chain_id),
        address_word(contract),
        word(epoch),
        word(agreement),
        address_word(target),
        digest,
    )


class Changes:
    """The part of ``WitnessSet`` that changes a consortium."""

    def __init__(self, client: Transactor, address: str) -> None:
        self._client = client
        self.address = address

    def owner(self) -> str:
        """The account that may propose, checksummed."""
        return str(self._client.call(self.address, _ARTEFACT, "owner"))

    def delay_s(self) -> int:
        """How long a proposal is seen before it can be enacted. Contracts without agreement have none and revert."""
        return int(self._client.call(self.address, _ARTEFACT, "delaySeconds"))

    def propose(self, call: Call) -> int:
        """Propose a change; return its number. Refused unless the sender is the owner."""
        self._client.transact(self.address, _ARTEFACT, "propose", call.target, call.data())
        return int(self._client.call(self.address, _ARTEFACT, "changes"))

    def agree(self, call: Call, quorum: QuorumSignature) -> TransactionReceipt:
        """Make a change that a quorum signed (``agreement``)."""
        return self._client.transact(
            self.address,
            _ARTEFACT,
            "agree",
            call.target,
            call.data(),
            quorum.bitmap,
            list(quorum.public_keys),
            quorum.aggregate,
        )

    def agreement(self, call: Call) -> bytes:
        """What a quorum signs now for ``agree``."""
        return agreement_message(
            chain_id=self._client.chain_id,
            contract=self.address,
            epoch=int(self._client.call(self.address, _ARTEFACT, "epoch")),
            agreement=int(self._client.call(self.address, _ARTEFACT, "agreements")),
            target=call.target,
            data=call.data(),
        )

    def enact(self, number: int) -> TransactionReceipt:
        """Make a proposed change that is due. Refused with ``TooEarly``, ``TooLate``, ``NotProposed``, or as it is."""
        return self._client.transact(self.address, _ARTEFACT, "enact", number)

    def cancel(self, number: int) -> TransactionReceipt:
        """Take a proposal back, as its owner."""
        return self._client.transact(self.address, _ARTEFACT, "cancel", number)

    def cancelling(self, number: int) -> Call:
        """The change that takes a proposal back, for a quorum to agree to."""
        return Call(self.address, _ARTEFACT, "cancel", (number,))

    def proposed(self) -> list[Change]:
        """What is proposed and neither enacted nor cancelled, oldest first; what expired, too."""
        count = int(self._client.call(self.address, _ARTEFACT, "changes"))
        every = [self.change(number) for number in range(1, count + 1)]
        return [one for one in every if one.state is ChangeState.PROPOSED]

    def change(self, number: int) -> Change:
        """One proposal; its state is ``NONE`` where there is no such one."""
        target, due_s, state, data = self._client.call(self.address, _ARTEFACT, "change", number)
        return Change(number, target, due_s, ChangeState(state), bytes(data))
