"""A log changes its key before three witness processes: those that were told follow, the others are named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.witnesses.conftest import SIGNER, Network, signer_of
from tests.witness_processes import WitnessProcess
from twinward.cli.witness.run import add_log
from twinward_ledger.errors import NotSignedByLog
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.stores.witness_memory import Standing
from twinward_ledger.witness.cosigning import NOT_FOLLOWING
from twinward_ledger.witness.interfaces import Proposal

NEW = signer_of(2).key


def told(witness: WitnessProcess) -> None:
    """Its operator types it; the service is running."""
    add_log(str(NEW), home=witness.home)


def changed(network: Network) -> None:
    network.grow()
    network.log.change_key(NEW)


@pytest.mark.slow
def test_witnesses_that_were_told_before_go_on_without_a_pause(make_network: Callable[..., Network]) -> None:
    network = make_network()
    network.grow(3)
    network.round()
    for witness in network.witnesses:
        told(witness)
    changed(network)
    for _ in range(2):
        gathered = network.round()
        assert len(gathered.cosigned) == 3, gathered.refusals
        network.grow()
    assert network.standings() == [Standing.GOOD] * 3
    stolen = sign_checkpoint(Checkpoint(SIGNER.key.name, 99, b"\7" * 32), SIGNER).encode()
    for witness in network.witnesses:
        peer = witness.peer(SIGNER.key)
        with pytest.raises(NotSignedByLog, match="has replaced"):
            peer.cosign(Proposal(stolen, 5, (b"\0" * 32,), 0, None))
        peer.hang_up()


def test_one_that_was_not_told_is_named_and_follows_once_it_is(make_network: Callable[..., Network]) -> None:
    network = make_network()
    network.grow(3)
    network.round()
    for witness in network.witnesses[:2]:
        told(witness)
    changed(network)
    assert len(network.round().cosigned) == 3, "the first checkpoint bears the key that everybody knows"
    network.grow()
    gathered = network.round()
    assert len(gathered.cosigned) == 2, "a quorum goes on"
    (record,) = [one for one in network.cosigning.records().values() if one.standing is Standing.REFUSES]
    assert record.reason.startswith(NOT_FOLLOWING)
    told(network.witnesses[2])
    network.grow()
    assert len(network.round().cosigned) == 3
    assert network.standings() == [Standing.GOOD] * 3


@pytest.mark.slow
def test_no_quorum_follows_and_nothing_is_lost(make_network: Callable[..., Network]) -> None:
    network = make_network()
    network.grow(3)
    network.round()
    changed(network)
    network.grow()
    assert network.round().cosigned == []
    for witness in network.witnesses:
        told(witness)
    assert len(network.round().cosigned) == 3
