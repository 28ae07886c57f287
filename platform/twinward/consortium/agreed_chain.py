"""The chain as a node uses it: only contracts that the hospitals' agreement changes are spoken to.

Asked once a process, before the first call: the witness set has a delay for proposals, every other contract of the
consortium obeys that very set, and models are registered against its own budget ledger. Contracts of an earlier release
do not: their owner alone sets the quorum and every budget, or models are registered that nobody paid for. They answer
like a chain that is down, and the error says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from twinward_contracts.artefacts import Artefact, load
from twinward_contracts.bindings import AccessAnchor, ModelRegistry, WitnessSet
from twinward_ledger.chains.interfaces import ChainClient, Receipt
from twinward_ledger.errors import EarlierContracts, TransactionReverted

_MEMBERS: Final = "BudgetLedger"
"""Any contract that has members; all of them name their witness set alike."""


class AgreedChain:
    """A ``ChainClient`` for one consortium's contracts.

    Args:
        chain: the chain itself.
        witness_set, access_anchor: where those two are.
        obeying: the addresses of the contracts with members.
        paying: the addresses of the model registry and of the budget ledger that its models are paid from.
    """

    def __init__(
        self,
        chain: ChainClient,
        witness_set: str,
        access_anchor: str,
        obeying: Sequence[str],
        *,
        paying: tuple[str, str] | None = None,
    ) -> None:
        self.chain = chain
        self._witness_set, self._anchor, self._obeying = witness_set, access_anchor, tuple(obeying)
        self._paying = paying
        self._found = False

    def require_agreed(self) -> None:
        """Raises ``EarlierContracts`` where one account may change something alone, ``ChainError`` as the chain."""
        if self._found:
            return
        try:
            WitnessSet(self.chain, self._witness_set).delay_s()
            named = [AccessAnchor(self.chain, self._anchor).witness_set()]
            named += [str(self.chain.call(one, load(_MEMBERS), "witnesses")) for one in self._obeying]
            paid_from = self._paid_from()
        except TransactionReverted:
            raise EarlierContracts(
                "the consortium's contracts are an earlier release's, which their owner alone can change or which take "
                "models that nobody paid for: nothing is anchored in them nor paid from them until "
                "`twinward consortium renew`"
            ) from None
        if paid_from is not None and self._paying is not None and paid_from != self._paying[1]:
            raise EarlierContracts("the consortium's models are paid from another budget ledger than the one it names")
        if any(one != self._witness_set for one in named):
            raise EarlierContracts("the consortium's contracts obey another witness set than the one it names")
        self._found = True

    def require_obeying(self, address: str) -> None:
        """Raises ``EarlierContracts`` unless a contract obeys this consortium's set, ``ChainError`` as the chain."""
        try:
            named = str(self.chain.call(address, load(_MEMBERS), "witnesses"))
        except TransactionReverted:
            named = ""
        if named != self._witness_set:
            raise EarlierContracts("the consortium's file names a contract that obeys another witness set than its own")

    def _paid_from(self) -> str | None:
        return None if self._paying is None else ModelRegistry(self.chain, self._paying[0]).budget_ledger()

    @property
    def chain_id(self) -> int:
        """The EIP-155 chain id."""
        return self.chain.chain_id

    @property
    def sender(self) -> str:
        """The checksummed address transactions come from."""
        return self.chain.sender

    @property
    def has_own_clock(self) -> bool:
        """Whether the times of its blocks come from other clocks than this machine's."""
        return self.chain.has_own_clock

    def block_time_s(self) -> int:
        """The newest block's time, Unix seconds."""
        return self.chain.block_time_s()

    def block_number(self) -> int:
        """The newest block's number."""
        return self.chain.block_number()

    def gas_used(self, block_number: int) -> int:
        """The gas that all transactions of a block used together."""
        return self.chain.gas_used(block_number)

    def deploy(self, artefact: Artefact, *arguments: Any) -> str:
        """Create a contract; return its checksummed address."""
        self.require_agreed()
        return self.chain.deploy(artefact, *arguments)

    def call(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Any:
        """Ask a contract without changing anything."""
        self.require_agreed()
        return self.chain.call(address, artefact, function, *arguments)

    def transact(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Receipt:
        """Send a transaction and wait until it is in a block."""
        self.require_agreed()
        return self.chain.transact(address, artefact, function, *arguments)

    def events(
        self, address: str, artefact: Artefact, event: str, *, from_block: int = 0
    ) -> Sequence[Mapping[str, Any]]:
        """A contract's past events of one name, oldest first."""
        self.require_agreed()
        return self.chain.events(address, artefact, event, from_block=from_block)

    def close(self) -> None:
        """Give back files and connections."""
        self.chain.close()
