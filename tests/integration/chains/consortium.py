"""Three hospitals that co-sign, and a log that grows: what anchoring tests share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from tests.chains import NOW_S
from twinward_contracts.bindings import AccessAnchor, Call, QuorumSignature, WitnessSet, cosigned_message
from twinward_crypto import bls
from twinward_ledger import merkle
from twinward_ledger.anchoring.agreement import agree
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.witness.witness import WitnessKeys

LOG_ID = sha256(b"log.hospital.example").digest()


def leaf_hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"event %d" % index) for index in range(count)]


@dataclass
class Consortium:
    chain: ChainClient
    witnesses: WitnessSet
    anchor: AccessAnchor
    secrets: list[bytes]

    @classmethod
    def on(cls, chain: ChainClient, *, hospitals: int, quorum: int) -> Self:
        secrets = [bls.secret_key_from_seed(bytes([number + 1]) * 32) for number in range(hospitals)]
        witnesses = WitnessSet.deploy(chain)
        for number, secret in enumerate(secrets):
            key = bls.public_key_to_eip2537(bls.public_key(secret))
            proof = bls.signature_to_eip2537(bls.prove_possession(secret))
            assert witnesses.register(f"hospital {number}", key, proof) == number
        witnesses.set_quorum(quorum)
        return cls(chain, witnesses, AccessAnchor.deploy(chain, witnesses.address), secrets)

    def change(self, call: Call) -> None:
        """Have all of them agree to a change."""
        keys = [WitnessKeys(NoteSigner("witness", bytes(32)), secret) for secret in self.secrets]
        agree(self.witnesses, call, keys)

    def message(self, size: int, root: bytes, *, time_s: int = NOW_S, chain_id: int | None = None) -> bytes:
        return cosigned_message(
            chain_id=self.chain.chain_id if chain_id is None else chain_id,
            contract=self.anchor.address,
            log_id=LOG_ID,
            epoch=self.witnesses.epoch(),
            size=size,
            root=root,
            time_s=time_s,
        )

    def cosign(self, signers: Sequence[int], message: bytes) -> QuorumSignature:
        aggregate = bls.aggregate([bls.sign(self.secrets[index], message) for index in signers])
        return QuorumSignature(
            sum(1 << index for index in signers),
            tuple(bls.public_key_to_eip2537(bls.public_key(self.secrets[index])) for index in sorted(signers)),
            bls.signature_to_eip2537(aggregate),
        )

    def offer(self, tree: Sequence[bytes], *, signers: Sequence[int] = (0, 1, 2), time_s: int = NOW_S) -> None:
        """Sign and anchor a tree as the successor of what is anchored."""
        head = self.anchor.latest(LOG_ID)
        proof = merkle.consistency_proof(tree, head.size, len(tree)) if head else []
        root = merkle.root(tree)
        quorum = self.cosign(signers, self.message(len(tree), root, time_s=time_s))
        self.anchor.anchor(LOG_ID, len(tree), root, time_s, proof, quorum)
