"""What a binding needs of a chain. The ledger's ``ChainClient`` has this shape; contracts import nothing of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from twinward_contracts.artefacts import Artefact


class TransactionReceipt(Protocol):
    """What became of an accepted transaction."""

    @property
    def transaction_hash(self) -> bytes:
        """32 bytes."""
        ...

    @property
    def block_number(self) -> int:
        """The block it is in."""
        ...

    @property
    def gas_used(self) -> int:
        """Gas it was charged for."""
        ...


class Transactor(Protocol):
    """A chain seen from one account."""

    @property
    def chain_id(self) -> int:
        """The EIP-155 chain id."""
        ...

    @property
    def sender(self) -> str:
        """The checksummed address transactions come from."""
        ...

    def deploy(self, artefact: Artefact, *arguments: Any) -> str:
        """Create a contract; return its checksummed address."""
        ...

    def call(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Any:
        """Ask a contract: a single value as it is, several as a tuple."""
        ...

    def transact(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> TransactionReceipt:
        """Send a transaction and wait until it is in a block; raises where the contract refuses."""
        ...

    def events(
        self, address: str, artefact: Artefact, event: str, *, from_block: int = 0
    ) -> Sequence[Mapping[str, Any]]:
        """A contract's past events of one name, oldest first."""
        ...
