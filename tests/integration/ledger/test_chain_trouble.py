"""A real chain that goes down, is reorganised, runs out of funds or makes no blocks: anchors queue and catch up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.anvil import FUNDED_KEY, Anvil, free_port, running_anvil
from tests.chains import NOW_S, rpc
from twinward_ledger.chains.rpc import RpcChain
from twinward_ledger.errors import ChainUnavailable, LogCorrupt, Unfunded
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.log.store import Entry
from twinward_ledger.testing.consortium import ORIGIN, Consortium, open_consortium

pytestmark = pytest.mark.slow


@pytest.fixture
def node() -> Iterator[Anvil]:
    with running_anvil(timestamp=NOW_S) as running:
        yield running


@contextmanager
def anchoring_on(node: Anvil, folder: Path) -> Iterator[Consortium]:
    chain = RpcChain(node.url, FUNDED_KEY, node.chain_id, timeout_s=2, receipt_timeout_s=1)
    consortium = open_consortium(folder, chain=chain)
    try:
        yield consortium
    finally:
        consortium.close()
        chain.close()


@pytest.fixture
def consortium(node: Anvil, tmp_path: Path) -> Iterator[Consortium]:
    with anchoring_on(node, tmp_path) as made:
        yield made


def grow(consortium: Consortium, count: int) -> None:
    leaves = [Leaf.at(0, LeafKind.ACCESS, bytes([n % 256]) * 32) for n in range(count)]
    consortium.log.append([Entry(leaf.encode(), b"sealed") for leaf in leaves])


def anchored(consortium: Consortium) -> int:
    assert consortium.anchor is not None
    head = consortium.anchor.state(ORIGIN).head
    return head.size if head else 0


def waits(consortium: Consortium, events: int, why: str) -> None:
    """Anchoring is tried, and says and keeps why it waits; the quorum signs all the same."""
    outcome = consortium.anchorer.advance()
    assert why in outcome.problem
    assert outcome.pending == events
    assert len(outcome.cosigned) >= consortium.anchorer.quorum
    kept = consortium.anchorer.journal.problem()
    assert kept is not None
    assert why in kept.text


def catches_up(consortium: Consortium) -> None:
    outcome = consortium.anchorer.advance()
    assert (outcome.problem, outcome.pending) == ("", 0)
    assert anchored(consortium) == consortium.log.store.size()
    assert consortium.anchorer.journal.problem() is None
    assert consortium.anchorer.advance().pending == 0
    assert consortium.anchorer.journal.unconfirmed() == []


def test_a_node_that_was_stopped_is_caught_up_with(tmp_path: Path) -> None:
    port, state = free_port(), ("--state", str(tmp_path / "state.json"))
    with running_anvil(timestamp=NOW_S, port=port, options=state) as node:
        consortium_context = anchoring_on(node, tmp_path)
        consortium = consortium_context.__enter__()
        grow(consortium, 3)
        catches_up(consortium)
    for turn in (1, 2):
        grow(consortium, 5)
        consortium.clock.at_ms += 60_000
        waits(consortium, 5 * turn, "does not answer")
    since = consortium.anchorer.journal.problem()
    assert since is not None
    assert since.since_ms == consortium.clock.at_ms - 60_000
    with running_anvil(timestamp=NOW_S + 120, port=port, options=state):
        catches_up(consortium)
        consortium_context.__exit__(None, None, None)


def test_an_account_without_funds_waits_for_them(node: Anvil, consortium: Consortium) -> None:
    grow(consortium, 3)
    catches_up(consortium)
    assert consortium.anchor is not None
    account = consortium.anchor._client.sender
    rpc(node, "anvil_setBalance", account, "0x0")
    grow(consortium, 4)
    waits(consortium, 4, f"the account {account} cannot pay for gas")
    with pytest.raises(Unfunded):
        consortium.anchor.found(consortium.anchor._client, [], 1)
    rpc(node, "anvil_setBalance", account, hex(10**18))
    catches_up(consortium)


def test_gas_that_became_too_dear_waits(node: Anvil, consortium: Consortium) -> None:
    """A base fee at which the account's balance buys no transaction."""
    grow(consortium, 3)
    catches_up(consortium)
    assert consortium.anchor is not None
    rpc(node, "anvil_setBalance", consortium.anchor._client.sender, hex(10**17))
    rpc(node, "anvil_setNextBlockBaseFeePerGas", hex(10**15))
    rpc(node, "evm_mine")
    grow(consortium, 4)
    waits(consortium, 4, "cannot pay for gas")
    rpc(node, "anvil_setNextBlockBaseFeePerGas", hex(10**9))
    rpc(node, "evm_mine")
    catches_up(consortium)


def test_a_chain_that_makes_no_blocks_gets_the_anchor_once(node: Anvil, consortium: Consortium) -> None:
    grow(consortium, 3)
    catches_up(consortium)
    rpc(node, "evm_setAutomine", False)
    grow(consortium, 4)
    waits(consortium, 4, "no block within")
    rpc(node, "evm_setAutomine", True)
    rpc(node, "evm_mine")
    before = int(rpc(node, "eth_blockNumber"), 16)
    catches_up(consortium)
    assert int(rpc(node, "eth_blockNumber"), 16) == before, "what had arrived was not sent again"


def test_an_anchor_that_gets_into_no_block_is_outbid_by_the_next(node: Anvil, consortium: Consortium) -> None:
    """Otherwise whatever comes after it waits behind it, for as long as gas is dearer than it offered."""
    grow(consortium, 3)
    catches_up(consortium)
    rpc(node, "evm_setAutomine", False)
    for more in (4, 2):
        grow(consortium, more)
        waits(consortium, consortium.log.store.size() - 3, "no block within")
        assert rpc(node, "txpool_status")["pending"] == "0x1", "one transaction waits, the newest"
    rpc(node, "evm_mine")
    assert anchored(consortium) == 9
    rpc(node, "evm_setAutomine", True)
    grow(consortium, 1)
    catches_up(consortium)


@pytest.mark.parametrize("grown", [0, 5])
def test_anchors_that_a_reorganisation_took_back_are_sent_again(
    node: Anvil, consortium: Consortium, grown: int
) -> None:
    """Twelve entries were anchored, the chain forgets the last two anchors; the log may have grown meanwhile."""
    for count in (3, 4, 5):
        grow(consortium, count)
        catches_up(consortium)
    rpc(node, "anvil_reorg", 2, [])
    assert anchored(consortium) == 3
    grow(consortium, grown)
    assert consortium.anchorer.journal.taken_back() is None
    catches_up(consortium)
    told = consortium.anchorer.journal.taken_back()
    assert told is not None
    assert "it kept 3 anchored entries" in told.text
    newest = consortium.anchorer.journal.newest()
    assert newest is not None
    assert newest[1].statement.size == 12 + grown
    covering = consortium.anchorer.journal.covering(5)
    assert covering is not None
    assert covering[1].statement.size == 12 + grown, "a proof names no anchor that the chain does not hold"


def test_a_chain_set_back_while_it_is_down_too(node: Anvil, consortium: Consortium) -> None:
    """Put back to a copy from before any anchor, then out of funds, then well again."""
    snapshot = rpc(node, "evm_snapshot")
    grow(consortium, 3)
    catches_up(consortium)
    rpc(node, "evm_revert", snapshot)
    assert consortium.anchor is not None
    account = consortium.anchor._client.sender
    rpc(node, "anvil_setBalance", account, "0x0")
    waits(consortium, 3, "cannot pay for gas")
    assert consortium.anchorer.journal.newest() is None
    rpc(node, "anvil_setBalance", account, hex(10**18))
    catches_up(consortium)


def test_another_hospitals_rewritten_log_is_no_reorganisation(consortium: Consortium) -> None:
    """A chain that holds more than the log is evidence against the log, not against the chain."""
    grow(consortium, 6)
    catches_up(consortium)
    consortium.log.store._writer.execute("UPDATE tiles SET hashes = zeroblob(192) WHERE id = 0")  # type: ignore[attr-defined]
    with pytest.raises((LogCorrupt, ChainUnavailable)):
        consortium.anchorer.advance()
    assert consortium.anchorer.journal.taken_back() is None
