"""The contracts that anchors go to: what they say now, and an anchor sent to ``AccessAnchor``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twinward_contracts.bindings import AccessAnchor, Head, QuorumSignature, WitnessSet
from twinward_crypto import bls
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.formats.cosignature import AnchorDomain, log_id


@dataclass(frozen=True, slots=True)
class Founder:
    """A hospital that joins a new consortium: its name, BLS public key (48 bytes) and proof of possession (96)."""

    name: str
    public_key: bytes
    possession: bytes


def register_all(witnesses: WitnessSet, founders: Sequence[Founder]) -> None:
    """Register the founders' witnesses in a set that has no quorum yet. Raises ``ChainError``."""
    for one in founders:
        key, possession = bls.public_key_to_eip2537(one.public_key), bls.signature_to_eip2537(one.possession)
        witnesses.register(one.name, key, possession)


@dataclass(frozen=True, slots=True)
class ChainState:
    """What the contracts say now.

    Attributes:
        domain: chain, contract and the epoch that must be signed for.
        quorum: how many must sign.
        places: place of each active witness's BLS public key (48 bytes).
        head: the log's last anchor; None if it has none.
        time_s: the newest block's, Unix seconds.
        own_clock: whether that is another clock's than this machine's.
    """

    domain: AnchorDomain
    quorum: int
    places: dict[bytes, int]
    head: Head | None
    time_s: int
    own_clock: bool


class ChainAnchor:
    """The ``AccessAnchor`` contract at one address, in the ledger's own terms. Raises ``ChainError``."""

    def __init__(self, client: ChainClient, contract: str) -> None:
        self._client = client
        self._contract = AccessAnchor(client, contract)
        self._witnesses: WitnessSet | None = None

    @classmethod
    def found(cls, client: ChainClient, founders: Sequence[Founder], quorum: int) -> ChainAnchor:
        """Deploy a new consortium's contracts: the set of its witnesses, and the anchor over it. It is founded then."""
        witnesses = WitnessSet.deploy(client)
        register_all(witnesses, founders)
        witnesses.set_quorum(quorum)
        return cls(client, AccessAnchor.deploy(client, witnesses.address).address)

    @property
    def contract(self) -> bytes:
        """Its address, 20 bytes."""
        return bytes.fromhex(self._contract.address.removeprefix("0x"))

    def state(self, origin: str) -> ChainState:
        """What the contracts say about a log and its witnesses."""
        if self._witnesses is None:
            self._witnesses = WitnessSet(self._client, self._contract.witness_set())
        places = {
            bls.public_key_from_eip2537(one.public_key): one.index for one in self._witnesses.witnesses() if one.active
        }
        domain = AnchorDomain(self._client.chain_id, self.contract, self._witnesses.epoch())
        head = self._contract.latest(log_id(origin))
        return ChainState(
            domain, self._witnesses.quorum(), places, head, self._client.block_time_s(), self._client.has_own_clock
        )

    def anchored_root(self, origin: str, size: int) -> bytes | None:
        """The root anchored for a log at one size; None if that size was never anchored."""
        roots = (event.root for event in self._contract.history(log_id(origin)) if event.size == size)
        return next(roots, None)

    def block_number(self) -> int:
        """The newest block."""
        return self._client.block_number()

    def send(self, record: AnchorRecord, consistency: Sequence[bytes]) -> AnchorRecord:
        """Anchor a checkpoint; return the record with its block."""
        said = record.statement
        quorum = QuorumSignature(
            record.bitmap,
            tuple(bls.public_key_to_eip2537(key) for key in record.signers),
            bls.signature_to_eip2537(record.aggregate),
        )
        receipt = self._contract.anchor(log_id(said.origin), said.size, said.root, said.time_s, consistency, quorum)
        return record.confirmed(receipt.block_number, receipt.transaction_hash)
