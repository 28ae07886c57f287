"""Every chain passes one suite: the embedded one always, a real node (anvil, Prague) in ``make test-all``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.anvil import FUNDED_KEY, Anvil, running_anvil
from twinward_ledger.chains import open_chain as open_by_uri
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.chains.late import LateChain
from twinward_ledger.errors import ChainUnavailable, WrongChain
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


class TestEmbeddedAndStartedLate(ChainConformance):
    @pytest.fixture
    def open_chain(self, tmp_path: Path, closing: Callable[[ChainClient], ChainClient]) -> Callable[[], ChainClient]:
        uri = f"embedded:{tmp_path / 'chain.db'}"
        open_by_uri(uri).close()

        def opened() -> ChainClient:
            chain = closing(open_by_uri(uri))
            assert isinstance(chain, LateChain)
            return chain

        return opened


def test_what_is_wrong_with_a_chains_file_shows_before_it_starts(tmp_path: Path) -> None:
    path, key = tmp_path / "chain.db", tmp_path / "chain.db.key"
    open_by_uri(f"embedded:{path}", chain_id=7).close()
    with pytest.raises(WrongChain):
        open_by_uri(f"embedded:{path}", chain_id=8)
    text = key.read_text(encoding="ascii")
    for bad in ("", "zz" * 32, text[2:]):
        key.write_text(bad, encoding="ascii")
        with pytest.raises(ChainUnavailable):
            open_by_uri(f"embedded:{path}")
    key.unlink()
    with pytest.raises(ChainUnavailable):
        open_by_uri(f"embedded:{path}")
    path.write_bytes(b"no database at all, whatever its name says" * 100)
    with pytest.raises(ChainUnavailable):
        open_by_uri(f"embedded:{path}")


def test_a_chain_that_was_closed_before_it_started_stays_closed(tmp_path: Path) -> None:
    uri = f"embedded:{tmp_path / 'chain.db'}"
    open_by_uri(uri).close()
    chain = open_by_uri(uri)
    chain.close()
    with pytest.raises(ChainUnavailable):
        chain.block_number()


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with running_anvil() as node:
        yield node


@pytest.mark.slow
class TestRpcAgainstAnvil(ChainConformance):
    @pytest.fixture
    def open_chain(self, anvil: Anvil, closing: Callable[[ChainClient], ChainClient]) -> Callable[[], ChainClient]:
        return lambda: closing(open_by_uri(anvil.url, chain_id=anvil.chain_id, key=FUNDED_KEY))
