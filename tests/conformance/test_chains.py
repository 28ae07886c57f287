"""Every chain passes one suite: the embedded one always, a real node (anvil, Prague) in ``make test-all``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.anvil import FUNDED_KEY, Anvil, running_anvil
from twinward_ledger.chains import open_chain as open_by_uri
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.testing.chain_conformance import ChainConformance


@pytest.fixture
def closing() -> Iterator[Callable[[ChainClient], ChainClient]]:
    """Closes what a test opened."""
    opened: list[ChainClient] = []

    def keep(chain: ChainClient) -> ChainClient:
        opened.append(chain)
        return chain

    yield keep
    for chain in opened:
        chain.close()


class TestEmbedded(ChainConformance):
    @pytest.fixture
    def open_chain(self, tmp_path: Path, closing: Callable[[ChainClient], ChainClient]) -> Callable[[], ChainClient]:
        return lambda: closing(open_by_uri(f"embedded:{tmp_path / 'chain.db'}"))


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with running_anvil() as node:
        yield node


@pytest.mark.slow
class TestRpcAgainstAnvil(ChainConformance):
    @pytest.fixture
    def open_chain(self, anvil: Anvil, closing: Callable[[ChainClient], ChainClient]) -> Callable[[], ChainClient]:
        return lambda: closing(open_by_uri(anvil.url, chain_id=anvil.chain_id, key=FUNDED_KEY))
