"""What a chain must do for the ledger. Backends stand in ``chains/``; all pass ``testing/chain_conformance.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twinward_contracts.artefacts import Artefact


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction that was accepted. Reverted ones raise instead."""

    transaction_hash: bytes
    block_number: int
    gas_used: int


class ChainClient(Protocol):
    """An Ethereum chain seen from one account.

    Raises ``ChainUnavailable`` when it does not answer and ``TransactionReverted`` when a contract refuses.
    A returned ``Receipt`` means that the transaction is durable on that chain.
    """

    @property
    def chain_id(self) -> int:
        """The EIP-155 chain id."""
        ...

    @property
    def has_own_clock(self) -> bool:
        """Whether the times of its blocks come from other clocks than this machine's."""
        ...

    @property
    def sender(self) -> str:
        """The checksummed address transactions come from."""
        ...

    def block_number(self) -> int:
        """The newest block's number."""
        ...

    def block_time_s(self) -> int:
        """The newest block's time, Unix seconds."""
        ...

    def gas_used(self, block_number: int) -> int:
        """The gas that all transactions of a block used together."""
        ...

    def deploy(self, artefact: Artefact, *arguments: Any) -> str:
        """Create a contract; return its checksummed address."""
        ...

    def call(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Any:
        """Ask a contract without changing anything."""
        ...

    def transact(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Receipt:
        """Send a transaction and wait until it is in a block."""
        ...

    def events(
        self, address: str, artefact: Artefact, event: str, *, from_block: int = 0
    ) -> Sequence[Mapping[str, Any]]:
        """A contract's past events of one name, oldest first; each a mapping of its arguments."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...
