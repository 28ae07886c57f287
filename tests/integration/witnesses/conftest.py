"""A log and three witnesses, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.witness_processes import WitnessProcess, start_liar, start_witness
from twinward.core.clock import SystemClock
from twinward_ledger.errors import SplitView
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.formats.note import NoteSigner, VerifierKey
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.stores.witness_memory import Standing, WitnessMemory
from twinward_ledger.witness.cosigning import Cosigning, Gathered

SIGNER = NoteSigner("mercy.example/access", bytes(range(32)))


def signer_of(generation: int) -> NoteSigner:
    """The log's later keys."""
    return NoteSigner(SIGNER.key.name, bytes([generation]) * 32)


@dataclass
class Network:
    """One log, its witnesses, and what it knows of them."""

    folder: Path
    log: Log
    witnesses: list[WitnessProcess]
    cosigning: Cosigning
    splits: list[SplitView] = field(default_factory=list)

    def grow(self, count: int = 1) -> None:
        start = self.log.store.size()
        self.log.append([Entry(b"leaf %d" % number, b"") for number in range(start, start + count)])

    def round(self) -> Gathered:
        """Sign the log as it is and ask the witnesses."""
        checkpoint, note = self.log.checkpoint()
        gathered = self.cosigning.gather(checkpoint, note, None)
        self.log.keep_cosignatures(gathered.note)
        return gathered

    def standings(self) -> list[Standing]:
        records = self.cosigning.records()
        return [records[peer.key].standing for peer in self.cosigning.peers]

    def cosigned(self) -> set[str]:
        """Who is on the newest checkpoint, by its signatures."""
        latest = self.log.latest()
        assert latest
        return {key.name for key, _ in self.cosigning.policy.cosigned(latest[1])}


def forged(size: int, root: bytes = b"\1" * 32) -> bytes:
    """A checkpoint that the log's own key signed over a tree it does not have."""
    return sign_checkpoint(Checkpoint(SIGNER.key.name, size, root), SIGNER).encode()


@pytest.fixture
def make_network(tmp_path: Path) -> Iterator[Callable[..., Network]]:
    made: list[Network] = []

    def make(*liars: str, honest: int = 3, quorum: int = 2, grace_s: float = 20.0, timeout_s: float = 20.0) -> Network:
        names = ["mercy", "northgate", "lakeside"][:honest]
        witnesses = [start_witness(tmp_path / name, name, SIGNER.key) for name in names]
        witnesses += [start_liar(f"liar-{number}", mode, SIGNER.key) for number, mode in enumerate(liars)]
        log = Log(SqliteLogStore(tmp_path / "log.db"), SIGNER, signer_of)
        keys: list[VerifierKey] = [one.key for one in witnesses]
        network = Network(tmp_path, log, witnesses, None)  # type: ignore[arg-type]
        network.cosigning = Cosigning(
            log,
            [one.peer(SIGNER.key, timeout_s) for one in witnesses],
            QuorumPolicy.k_of(SIGNER.key, keys, quorum),
            SystemClock(),
            memory=WitnessMemory(tmp_path / "witnesses.db"),
            grace_s=grace_s,
            on_split=network.splits.append,
        )
        made.append(network)
        return network

    yield make
    for network in made:
        for one in network.witnesses:
            one.end()
        network.cosigning.close()
        network.log.store.close()
