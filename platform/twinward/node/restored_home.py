"""A restored home's key service and chain until it is put to work: everything is read, nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from twinward.core.restored_home import NotAtWork
from twinward_contracts.artefacts import Artefact
from twinward_crypto.keys import KekId, KeyProvider, TenantId, WrappedKey
from twinward_ledger.chains.interfaces import ChainClient, Receipt
from twinward_ledger.errors import ChainUnavailable


class RestingKeys:
    """A ``KeyProvider`` in which no KEK is made or destroyed: a drill's key service may be the working node's own."""

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider

    @property
    def uri(self) -> str:
        """As of the provider."""
        return self._provider.uri

    def create(self, key: KekId) -> None:
        """Raise ``NotAtWork``, unless the KEK is there."""
        if key.version not in self.versions(key.tenant):
            raise NotAtWork("no key is made for it")

    def destroy(self, key: KekId) -> NoReturn:
        """Raise ``NotAtWork``."""
        raise NotAtWork(f"{key} is not destroyed for it")

    def versions(self, tenant: TenantId) -> tuple[int, ...]:
        """As of the provider."""
        return self._provider.versions(tenant)

    def wrap(self, key: KekId, plaintext_key: bytes, context: bytes) -> bytes:
        """As of the provider."""
        return self._provider.wrap(key, plaintext_key, context)

    def unwrap(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        """As of the provider."""
        return self._provider.unwrap(key, wrapped, context)

    def rewrap(self, source: KekId, target: KekId, wrapped: bytes, context: bytes) -> bytes:
        """As of the provider."""
        return self._provider.rewrap(source, target, wrapped, context)

    def rewrap_many(self, source: KekId, target: KekId, keys: Sequence[WrappedKey]) -> list[bytes]:
        """As of the provider."""
        return self._provider.rewrap_many(source, target, keys)

    def mac(self, tenant: TenantId, label: bytes, message: bytes) -> bytes:
        """As of the provider."""
        return self._provider.mac(tenant, label, message)

    def close(self) -> None:
        """As of the provider."""
        self._provider.close()


class RestingChain:
    """A ``ChainClient`` that asks and never sends: it may be the chain of the working node."""

    def __init__(self, chain: ChainClient) -> None:
        self._chain = chain

    @property
    def chain_id(self) -> int:
        """As of the chain."""
        return self._chain.chain_id

    @property
    def sender(self) -> str:
        """As of the chain."""
        return self._chain.sender

    @property
    def has_own_clock(self) -> bool:
        """As of the chain."""
        return self._chain.has_own_clock

    def block_number(self) -> int:
        """As of the chain."""
        return self._chain.block_number()

    def block_time_s(self) -> int:
        """As of the chain."""
        return self._chain.block_time_s()

    def gas_used(self, block_number: int) -> int:
        """As of the chain."""
        return self._chain.gas_used(block_number)

    def deploy(self, artefact: Artefact, *arguments: Any) -> NoReturn:
        """Raise ``ChainUnavailable``."""
        del artefact, arguments
        raise _sent_nothing()

    def call(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Any:
        """As of the chain."""
        return self._chain.call(address, artefact, function, *arguments)

    def transact(self, address: str, artefact: Artefact, function: str, *arguments: Any) -> Receipt:
        """Raise ``ChainUnavailable``."""
        del address, artefact, function, arguments
        raise _sent_nothing()

    def events(
        self, address: str, artefact: Artefact, event: str, *, from_block: int = 0
    ) -> Sequence[Mapping[str, Any]]:
        """As of the chain."""
        return self._chain.events(address, artefact, event, from_block=from_block)

    def close(self) -> None:
        """As of the chain."""
        self._chain.close()


def _sent_nothing() -> ChainUnavailable:
    return ChainUnavailable(str(NotAtWork("nothing is sent to the chain")))
