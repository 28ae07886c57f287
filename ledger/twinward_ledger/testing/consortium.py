"""A small consortium in one folder: a log, its witnesses, their contracts on a chain. **For tests only.**"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twinward_contracts.bindings import BudgetLedger, ModelRegistry, WitnessSet
from twinward_crypto import bls
from twinward_ledger.anchoring.anchorer import Anchorer
from twinward_ledger.anchoring.contract import ChainAnchor, Founder, register_all
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log.log import Log
from twinward_ledger.proofs.verifier import TrustPolicy
from twinward_ledger.stores.anchor_journal import AnchorJournal
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.witness.witness import Witness, WitnessKeys

ORIGIN = "st-anna.example/access"


@dataclass
class StillClock:
    """A clock that stands still until it is moved."""

    at_ms: int = 1_767_225_600_000  # 2026-01-01T00:00:00Z

    def now_ms(self) -> int:
        """The moment it was set to."""
        return self.at_ms


def seeded(name: str) -> WitnessKeys:
    """Keys that anybody can compute from a name."""
    seed = name.encode().ljust(32, b".")[:32]
    return WitnessKeys(NoteSigner(name, seed), bls.secret_key_from_seed(seed))


def hospitals_on(chain: ChainClient, names: Sequence[str] = (), *, quorum: int = 0) -> WitnessSet:
    """A witness set of these hospitals, each under its own name with ``seeded`` keys; 0 leaves it to be founded."""
    witnesses = WitnessSet.deploy(chain)
    keys = [seeded(name) for name in names]
    founders = [
        Founder(name, one.bls_public_key, one.prove_possession()) for name, one in zip(names, keys, strict=True)
    ]
    register_all(witnesses, founders)
    if quorum:
        witnesses.set_quorum(quorum)
    return witnesses


def models_on(chain: ChainClient) -> ModelRegistry:
    """A model registry of a consortium that is being founded: it takes over models that nobody paid for here."""
    return ModelRegistry.deploy(chain, BudgetLedger.deploy(chain, WitnessSet.deploy(chain).address).address)


@dataclass
class Consortium:
    """The parts, each as the real composition would hold it."""

    folder: Path
    clock: StillClock
    log: Log
    keys: list[WitnessKeys]
    witnesses: list[Witness]
    anchor: ChainAnchor | None
    anchorer: Anchorer
    states: list[WitnessState] = field(default_factory=list)

    def policy(self) -> TrustPolicy:
        """What an auditor of this consortium believes."""
        return TrustPolicy(
            log=self.log.key,
            witnesses=tuple(keys.signer.cosigner_key for keys in self.keys),
            quorum=self.anchorer.quorum,
            bls_keys=tuple(keys.bls_public_key for keys in self.keys),
        )

    def close(self) -> None:
        """Give back every file."""
        self.anchorer.close()
        self.log.store.close()
        self.anchorer.journal.close()
        for state in self.states:
            state.close()


def open_consortium(
    folder: Path,
    *,
    chain: ChainClient | None = None,
    size: int = 3,
    quorum: int = 2,
    wrap: Callable[[ChainClient], ChainClient] = lambda chain: chain,
) -> Consortium:
    """Make or reopen a consortium.

    A folder's first chain gets the contracts; ``wrap`` may put something between the chain and the log.
    """
    clock = StillClock()
    keys = [seeded(f"witness-{number}.example") for number in range(size)]
    log = Log(SqliteLogStore(folder / "log.db"), NoteSigner(ORIGIN, ORIGIN.encode().ljust(32, b".")[:32]))
    anchor, chain_id, contract = None, None, None
    if chain is not None:
        address_file = folder / "anchor.address"
        if not address_file.exists():
            founders = [Founder(one.signer.key.name, one.bls_public_key, one.prove_possession()) for one in keys]
            address_file.write_text("0x" + ChainAnchor.found(chain, founders, quorum).contract.hex())
        anchor = ChainAnchor(wrap(chain), address_file.read_text())
        chain_id, contract = chain.chain_id, anchor.contract
    states = [WitnessState(folder / f"witness-{number}.db") for number in range(size)]
    witnesses = [
        Witness(one, [log.key], state, clock, chain_id=chain_id, contract=contract)
        for one, state in zip(keys, states, strict=True)
    ]
    anchorer = Anchorer(log, witnesses, quorum, AnchorJournal(folder / "anchors.db"), clock, anchor)
    return Consortium(folder, clock, log, keys, witnesses, anchor, anchorer, states)
