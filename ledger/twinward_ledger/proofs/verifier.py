"""The auditor's checks, offline: leaf, inclusion, checkpoint, cosignatures, anchor. Needs nothing but public keys.

The order in ``verify_bundle``: the leaf parses; the log signed the checkpoint; the audit path leads from the leaf to
its root; every cosignature of a known witness verifies and there is a quorum of them; the anchor, if there is one, is
of this very checkpoint, on the expected chain and contract, and its aggregate is a quorum's; the opening, if there is
one, is what the leaf commits to; the log sealed the file as it is. The first check that fails raises; nothing is
returned that was not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from twinward_crypto import bls
from twinward_crypto.commitment import open_commitment
from twinward_crypto.errors import InvalidSignature, MalformedKey, OpenError
from twinward_ledger import merkle
from twinward_ledger.errors import InvalidProof, QuorumNotReached
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.formats.checkpoint import Checkpoint
from twinward_ledger.formats.cosignature import verify_cosignature
from twinward_ledger.formats.export_seal import verify_seal
from twinward_ledger.formats.key_history import EarlierKey, KeyHistory
from twinward_ledger.formats.leaf import EVENT_DOMAIN, Leaf
from twinward_ledger.formats.note import Note, VerifierKey
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.proofs.bundle import Opening, ProofBundle


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Whom an auditor believes.

    Attributes:
        log: the log's key, the one in force.
        earlier: the keys it replaced, the oldest first, each with the largest size it counts for.
        witnesses: the witnesses' Ed25519 cosigner keys.
        quorum: how many of them must have cosigned.
        bls_keys: the witnesses' BLS public keys, each with its possession proven (the contract demands it).
        chain_id, contract: where anchors must be; None accepts any.
        anchor_required: refuse a bundle without an anchor.
        rule: a quorum policy that decides instead of ``witnesses`` and ``quorum`` what counts as cosigned; anchors are
            still held against ``quorum``, for a contract knows no groups.
    """

    log: VerifierKey
    witnesses: tuple[VerifierKey, ...]
    quorum: int
    bls_keys: tuple[bytes, ...] = ()
    chain_id: int | None = None
    contract: bytes | None = None
    anchor_required: bool = False
    rule: QuorumPolicy | None = None
    earlier: tuple[EarlierKey, ...] = ()

    @property
    def history(self) -> KeyHistory:
        """All keys of the log. Raises ``MalformedKey`` where they cannot have followed one another."""
        return KeyHistory(self.log, self.earlier)

    def require_quorum(self, note: Note) -> tuple[tuple[str, int], ...]:
        """Accept a note that counts as cosigned; return who signed and when each said so.

        Raises:
            InvalidSignature: a known witness's cosignature does not verify.
            QuorumNotReached: too few witnesses, or not those that the policy wants.
        """
        if self.rule is None:
            return verify_quorum(note, self.witnesses, self.quorum)
        return self.rule.require(note)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was proven about one event.

    Attributes:
        index: its place in the log.
        leaf: what the tree holds of it.
        checkpoint: the signed tree it is in.
        cosigned: who cosigned, with the time each stated (seconds since the Unix epoch).
        anchor: the anchor, if the bundle had one.
        event: the disclosed event's canonical JSON, if the bundle had an opening.
    """

    index: int
    leaf: Leaf
    checkpoint: Checkpoint
    cosigned: tuple[tuple[str, int], ...]
    anchor: AnchorRecord | None
    event: bytes | None = field(repr=False)


def verify_bundle(bundle: ProofBundle, policy: TrustPolicy) -> Verdict:
    """Check a proof bundle from end to end.

    Raises:
        MalformedLeaf, MalformedCheckpoint: a part does not parse.
        InvalidSignature: the log's, a known witness's, the aggregate signature or the seal does not verify.
        InvalidProof: the path, the anchor or the opening does not fit.
        QuorumNotReached: too few witnesses.
    """
    leaf, log = Leaf.decode(bundle.leaf), policy.history
    checkpoint, note = log.open(bundle.note)
    leaf_hash = merkle.leaf_hash(bundle.leaf)
    merkle.verify_inclusion(bundle.index, checkpoint.size, leaf_hash, bundle.path, checkpoint.root)
    cosigned = policy.require_quorum(note)
    if bundle.anchor is not None:
        verify_anchor(bundle.anchor, checkpoint, policy)
    elif policy.anchor_required:
        raise InvalidProof("the bundle has no anchor")
    event = open_event(bundle.opening, leaf)
    verify_seal(bundle.unsealed(), bundle.seal, *log.sealed_by(note))
    return Verdict(bundle.index, leaf, checkpoint, cosigned, bundle.anchor, event)


def verify_quorum(note: Note, witnesses: Sequence[VerifierKey], quorum: int) -> tuple[tuple[str, int], ...]:
    """Check the cosignatures of known witnesses; return who signed and when each said so.

    Raises:
        InvalidSignature: a known witness's cosignature does not verify.
        QuorumNotReached: fewer than ``quorum`` distinct keys signed.
    """
    present = {(signature.name, signature.key_id) for signature in note.signatures}
    found = {key.public_key: key for key in witnesses if (key.name, key.key_id) in present}
    if len(found) < max(1, quorum):
        raise QuorumNotReached(len(found), max(1, quorum))
    return tuple((key.name, verify_cosignature(note, key)) for key in found.values())


def verify_anchor(anchor: AnchorRecord, checkpoint: Checkpoint, policy: TrustPolicy) -> None:
    """Check that a quorum of the known BLS keys signed this checkpoint for the expected chain and contract.

    That the transaction is in a block is for the chain to say, not for a file; ask ``AnchorTarget.anchored_root``.
    """
    said, domain = anchor.statement, anchor.statement.domain
    if (said.origin, said.size, said.root) != (checkpoint.origin, checkpoint.size, checkpoint.root):
        raise InvalidProof("the anchor is of another checkpoint")
    if policy.chain_id not in (None, domain.chain_id) or policy.contract not in (None, domain.contract):
        raise InvalidProof("the anchor is on another chain or contract")
    if len(set(anchor.signers)) != len(anchor.signers) or not set(anchor.signers) <= set(policy.bls_keys):
        raise InvalidProof("the anchor is signed by keys that are not the witnesses'")
    if len(anchor.signers) < max(1, policy.quorum):
        raise QuorumNotReached(len(anchor.signers), max(1, policy.quorum))
    try:
        bls.fast_aggregate_verify(list(anchor.signers), said.message(), anchor.aggregate)
    except MalformedKey as error:
        raise InvalidSignature("a BLS key of the policy is malformed") from error


def open_event(opening: Opening | None, leaf: Leaf) -> bytes | None:
    """The disclosed event, None for none. Raises ``InvalidProof`` unless it is what the leaf commits to."""
    if opening is None:
        return None
    try:
        open_commitment(opening.key, opening.event, opening.salt, leaf.commitment, domain=EVENT_DOMAIN)
    except (OpenError, MalformedKey) as error:
        raise InvalidProof("the disclosed event is not the one the leaf commits to") from error
    return opening.event
