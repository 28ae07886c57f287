"""Whom an auditor of a node's log believes, as the node knows it: all of it is public."""

from __future__ import annotations

from twinward.audit.proofs.trust import Trust
from twinward.node.node import Node


def trust_of(node: Node) -> Trust:
    """The log's key, its witnesses, the quorum and where anchors must be."""
    addresses = node.consortium.addresses
    return Trust.of(
        node.log.key,
        [peer.key for peer in node.witnesses],
        node.audit.anchorer.quorum,
        bls_keys=node.consortium.witness_keys(),
        chain_id=addresses.chain_id,
        contract=bytes.fromhex(addresses.access_anchor.removeprefix("0x")),
    )
