"""From a log to its anchor, with real contracts on each chain, in fair weather and foul."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chains import Ground
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.anchoring.agreement import agree
from twinward_ledger.anchoring.anchorer import Anchorer
from twinward_ledger.chains.interfaces import ChainClient
from twinward_ledger.errors import (
    ChainUnavailable,
    InvalidProof,
    LogCorrupt,
    MalformedCheckpoint,
    MalformedLeaf,
    QuorumNotReached,
    SplitView,
)
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.formats.cosignature import AnchorDomain, log_id, verify_cosignature
from twinward_ledger.formats.export_seal import seal_export
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log.store import Entry
from twinward_ledger.proofs.bundle import Opening, ProofBundle
from twinward_ledger.proofs.verifier import TrustPolicy, verify_bundle
from twinward_ledger.testing.consortium import ORIGIN, Consortium, open_consortium, seeded
from twinward_ledger.witness.interfaces import Cosignature, Proposal
from twinward_ledger.witness.witness import Witness


class Cable:
    """A chain client whose line can be cut: before sending, or after the transaction went through."""

    def __init__(self, chain: ChainClient) -> None:
        self._chain = chain
        self.down = False
        self.lose_answers = False

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._chain, name)
        if not callable(real):
            return real

        def method(*arguments: Any, **options: Any) -> Any:
            if self.down:
                raise ChainUnavailable("cut")
            answer = real(*arguments, **options)
            if name == "transact" and self.lose_answers:
                raise ChainUnavailable("cut after sending")
            return answer

        return method


@pytest.fixture
def chain(ground: Ground) -> ChainClient:
    return ground.open()


@pytest.fixture
def cable(chain: ChainClient) -> Any:
    return Cable(chain)


@pytest.fixture
def consortium(tmp_path: Path, chain: ChainClient, cable: Any) -> Iterator[Consortium]:
    consortium = open_consortium(tmp_path, chain=chain, wrap=lambda _: cable)
    yield consortium
    consortium.close()


def grow(consortium: Consortium, count: int) -> None:
    leaves = [Leaf.at(0, LeafKind.ACCESS, bytes([n % 256]) * 32) for n in range(count)]
    consortium.log.append([Entry(leaf.encode(), b"sealed") for leaf in leaves])


def anchored_size(consortium: Consortium) -> int:
    assert consortium.anchor is not None
    head = consortium.anchor.state(ORIGIN).head
    return head.size if head else 0


def test_the_contract_says_the_same_message(consortium: Consortium) -> None:
    grow(consortium, 3)
    record = consortium.anchorer.advance().anchor
    assert record is not None
    assert consortium.anchor is not None
    said = record.statement
    contract = consortium.anchor._contract
    assert contract.cosigned_message(log_id(ORIGIN), said.size, said.root, said.time_s) == said.message()


def test_checkpoint_after_checkpoint_is_anchored(consortium: Consortium) -> None:
    for count in (1, 1, 254, 1, 300):
        grow(consortium, count)
        outcome = consortium.anchorer.advance()
        assert (outcome.problem, outcome.refusals, outcome.pending) == ("", (), 0)
        assert len(outcome.cosigned) == 3
        assert anchored_size(consortium) == consortium.log.store.size()
    latest = consortium.log.latest()
    assert latest is not None
    for keys in consortium.keys:
        verify_cosignature(latest[1], keys.signer.cosigner_key)


def test_advancing_without_news_sends_nothing(consortium: Consortium, chain: ChainClient) -> None:
    grow(consortium, 2)
    first = consortium.anchorer.advance()
    block = chain.block_number()
    assert consortium.anchorer.advance() == first
    assert chain.block_number() == block


def test_an_empty_log_is_not_anchored(consortium: Consortium) -> None:
    outcome = consortium.anchorer.advance()
    assert (outcome.anchor, outcome.pending, anchored_size(consortium)) == (None, 0, 0)


def test_an_outage_stops_nothing_and_is_caught_up(consortium: Consortium, cable: Any) -> None:
    grow(consortium, 2)
    consortium.anchorer.advance()
    cable.down = True
    for _ in range(3):
        grow(consortium, 5)
        outcome = consortium.anchorer.advance()
        assert len(outcome.cosigned) == 3
        assert "cut" in outcome.problem
    assert outcome.pending == 15
    cable.down = False
    outcome = consortium.anchorer.advance()
    assert (outcome.problem, outcome.pending, anchored_size(consortium)) == ("", 0, 17)


def test_an_anchor_whose_answer_was_lost_is_found_again(consortium: Consortium, cable: Any, chain: ChainClient) -> None:
    grow(consortium, 4)
    cable.lose_answers = True
    outcome = consortium.anchorer.advance()
    assert "cut after sending" in outcome.problem
    assert outcome.anchor is None
    cable.lose_answers = False
    block = chain.block_number()
    again = consortium.anchorer.advance()
    assert again.anchor is not None
    assert (again.anchor.statement.size, again.problem) == (4, "")
    assert chain.block_number() == block


def test_an_anchor_that_never_arrived_is_overtaken(consortium: Consortium, cable: Any) -> None:
    grow(consortium, 4)
    record = replace(gathered(consortium), block_number=None, transaction_hash=b"")
    journal = consortium.anchorer.journal
    lost = replace(record, statement=replace(record.statement, size=3))
    journal.prepare(b"note", lost)
    grow(consortium, 1)
    assert consortium.anchorer.advance().pending == 0
    assert consortium.anchorer.advance().pending == 0
    assert journal.unconfirmed() == []


def gathered(consortium: Consortium) -> Any:
    return consortium.anchorer.advance().anchor


def test_everything_stands_after_a_restart(tmp_path: Path, chain: ChainClient, consortium: Consortium) -> None:
    grow(consortium, 4)
    consortium.anchorer.advance()
    consortium.close()
    again = open_consortium(tmp_path, chain=chain)
    grow(again, 1)
    outcome = again.anchorer.advance()
    assert (outcome.pending, outcome.problem, outcome.refusals) == (0, "", ())
    again.close()


def test_a_quorum_is_enough_and_less_is_not(consortium: Consortium) -> None:
    grow(consortium, 1)
    one_down = rebuilt(consortium, [*consortium.witnesses[:2], Silent(consortium.witnesses[2])])
    outcome = one_down.advance()
    assert outcome.cosigned == ("witness-0.example", "witness-1.example")
    assert outcome.refusals[0][0] == "witness-2.example"
    assert outcome.pending == 0
    grow(consortium, 1)
    two_down = rebuilt(consortium, [consortium.witnesses[0], *map(Silent, consortium.witnesses[1:])])
    with pytest.raises(QuorumNotReached) as caught:
        two_down.advance()
    assert (caught.value.valid, caught.value.needed) == (1, 2)
    assert anchored_size(consortium) == 1
    assert consortium.anchorer.advance().pending == 0


class Silent:
    """A witness that signs nothing worth having."""

    def __init__(self, real: Witness) -> None:
        self.key, self.bls_public_key, self._real = real.key, real.bls_public_key, real
        self.last_size = real.last_size

    def cosign(self, proposal: Proposal) -> Cosignature:
        """A signature over another text, and somebody else's BLS signature."""
        answer = self._real.cosign(proposal)
        return replace(answer, line=replace(answer.line, blob=bytes(72)))


class Poisoner(Silent):
    """A witness whose BLS signature would spoil the aggregate."""

    def cosign(self, proposal: Proposal) -> Cosignature:
        """A good Ed25519 line, and a BLS signature over another statement."""
        answer = self._real.cosign(proposal)
        other = self._real.cosign(replace(proposal, time_s=proposal.time_s + 1, old_size=1, consistency=()))
        return replace(answer, bls_signature=other.bls_signature)


def test_a_poisoned_signature_is_left_out(consortium: Consortium) -> None:
    grow(consortium, 1)
    poisoned = rebuilt(consortium, [Poisoner(consortium.witnesses[0]), *consortium.witnesses[1:]])
    outcome = poisoned.advance()
    assert outcome.pending == 0
    assert outcome.refusals[0][0] == "witness-0.example"
    assert outcome.anchor is not None
    assert outcome.anchor.bitmap == 0b110


def rebuilt(consortium: Consortium, witnesses: list[Any]) -> Anchorer:
    return Anchorer(consortium.log, witnesses, 2, consortium.anchorer.journal, consortium.clock, consortium.anchor)


def test_a_new_epoch_between_two_anchors(consortium: Consortium) -> None:
    grow(consortium, 1)
    consortium.anchorer.advance()
    assert consortium.anchor is not None
    consortium.anchor.state(ORIGIN)
    witnesses = consortium.anchor._witnesses
    assert witnesses is not None
    agree(witnesses, witnesses.retiring(0), consortium.keys)
    grow(consortium, 1)
    outcome = consortium.anchorer.advance()
    assert outcome.pending == 0
    assert outcome.anchor is not None
    assert outcome.anchor.bitmap == 0b110


def test_a_clock_set_back_still_anchors(consortium: Consortium) -> None:
    grow(consortium, 1)
    consortium.anchorer.advance()
    consortium.clock.at_ms -= 60_000
    grow(consortium, 1)
    assert consortium.anchorer.advance().pending == 0


def test_a_log_that_lost_anchored_entries_stops(tmp_path: Path, chain: ChainClient, consortium: Consortium) -> None:
    """Restored from an old backup, checkpoint and all: only the chain remembers, and that is enough."""
    grow(consortium, 3)
    consortium.log.checkpoint()
    backup = (tmp_path / "log.db").read_bytes(), (tmp_path / "log.db-wal").read_bytes()
    grow(consortium, 3)
    consortium.anchorer.advance()
    consortium.close()
    (tmp_path / "log.db").write_bytes(backup[0])
    (tmp_path / "log.db-wal").write_bytes(backup[1])
    again = open_consortium(tmp_path, chain=chain)
    assert again.log.store.size() == 3
    with pytest.raises(LogCorrupt):
        again.anchorer.advance()
    again.log.append([Entry(b"other %d" % n, b"") for n in range(4)])  # grown past what was anchored
    with pytest.raises(LogCorrupt):
        again.anchorer.advance()
    again.close()


def test_a_restored_log_without_a_chain_is_stopped_by_its_witnesses(tmp_path: Path) -> None:
    first = open_consortium(tmp_path)
    grow(first, 3)
    first.log.checkpoint()
    backup = (tmp_path / "log.db").read_bytes(), (tmp_path / "log.db-wal").read_bytes()
    grow(first, 3)
    first.anchorer.advance()
    first.close()
    (tmp_path / "log.db").write_bytes(backup[0])
    (tmp_path / "log.db-wal").write_bytes(backup[1])
    again = open_consortium(tmp_path)
    again.log.append([Entry(b"other %d" % n, b"") for n in range(3)])
    with pytest.raises(SplitView):
        again.anchorer.advance()
    again.log.append([Entry(b"other", b"")])
    with pytest.raises(QuorumNotReached):
        again.anchorer.advance()
    again.close()


# --- proof bundles ---------------------------------------------------------------------------------------------------
@pytest.fixture
def bundle(consortium: Consortium) -> ProofBundle:
    grow(consortium, 7)
    consortium.anchorer.advance()
    covering = consortium.anchorer.journal.covering(3)
    assert covering is not None
    note, anchor = covering
    path = tuple(consortium.log.prove_inclusion(3, anchor.statement.size))
    return ProofBundle(3, consortium.log.store.entry(3).leaf, path, note, anchor).sealed(consortium.log.seal)


def test_a_bundle_proves_its_event(consortium: Consortium, bundle: ProofBundle) -> None:
    parsed = ProofBundle.parse(bundle.encode())
    assert parsed == bundle
    policy = replace(consortium.policy(), anchor_required=True)
    verdict = verify_bundle(parsed, policy)
    assert (verdict.index, verdict.leaf.commitment, verdict.checkpoint.size) == (3, bytes([3]) * 32, 7)
    assert len(verdict.cosigned) == 3


def test_a_bundle_is_refused_for_each_thing_that_is_wrong(consortium: Consortium, bundle: ProofBundle) -> None:
    policy, anchor = consortium.policy(), bundle.anchor
    assert anchor is not None
    other_root = sign_checkpoint(
        Checkpoint(ORIGIN, 7, bytes(32)), NoteSigner(ORIGIN, ORIGIN.encode().ljust(32, b".")[:32])
    )
    unsigned = bundle.note[: bundle.note.index("— witness-1".encode())]
    other_domain = replace(anchor.statement, domain=AnchorDomain(1, bytes(20), 4))
    cases: list[tuple[ProofBundle, TrustPolicy, type[Exception]]] = [
        (replace(bundle, index=2), policy, InvalidProof),
        (replace(bundle, leaf=bundle.leaf[:-1] + b"\0"), policy, InvalidProof),
        (replace(bundle, leaf=bundle.leaf + b"\0"), policy, MalformedLeaf),
        (replace(bundle, path=bundle.path[:-1]), policy, InvalidProof),
        (replace(bundle, note=other_root.encode()), policy, InvalidProof),
        (replace(bundle, note=bundle.note.replace(b"\n7\n", b"\n8\n")), policy, InvalidSignature),
        (replace(bundle, note=unsigned), policy, QuorumNotReached),
        (bundle, replace(policy, log=seeded("x").signer.key), InvalidSignature),
        (bundle, replace(policy, witnesses=policy.witnesses[:1]), QuorumNotReached),
        (bundle, replace(policy, witnesses=policy.witnesses[:1] * 3), QuorumNotReached),
        (bundle, replace(policy, quorum=4), QuorumNotReached),
        (bundle, replace(policy, bls_keys=policy.bls_keys[:2]), InvalidProof),
        (bundle, replace(policy, chain_id=1), InvalidProof),
        (bundle, replace(policy, contract=bytes(20)), InvalidProof),
        (replace(bundle, anchor=None), replace(policy, anchor_required=True), InvalidProof),
        (replace(bundle, anchor=replace(anchor, aggregate=bytes(96))), policy, InvalidSignature),
        (replace(bundle, anchor=replace(anchor, signers=anchor.signers[:1])), policy, QuorumNotReached),
        (replace(bundle, anchor=replace(anchor, signers=anchor.signers[:1] * 2)), policy, InvalidProof),
        (replace(bundle, anchor=replace(anchor, signers=anchor.signers[:2])), policy, InvalidSignature),
        (replace(bundle, anchor=replace(anchor, statement=other_domain)), policy, InvalidSignature),
        (replace(bundle, anchor=replace(anchor, statement=replace(anchor.statement, size=6))), policy, InvalidProof),
        (
            replace(bundle, anchor=replace(anchor, statement=replace(anchor.statement, time_s=6))),
            policy,
            InvalidSignature,
        ),
        (replace(bundle, opening=Opening(bytes(32), bytes(32), b"{}")), policy, InvalidProof),
        (replace(bundle, opening=Opening(b"", b"", b"{}")), policy, InvalidProof),
    ]
    for number, (bad, believed, error) in enumerate(cases):
        with pytest.raises(error):
            pytest.fail(f"case {number} passed: {verify_bundle(bad, believed)}")


def test_malformed_bundles_are_refused(bundle: ProofBundle) -> None:
    data = bundle.encode()
    lines = data.split(b"\n")
    for bad in (
        b"",
        b"\n\n",
        data[:-1],
        data.replace(b"tlog-proof@v1", b"tlog-proof@v2"),
        data.replace(b"index 3", b"index 03"),
        data.replace(b"index 3", b"index -3"),
        data.replace(b"index 3", b"index " + b"9" * 40),
        b"\n".join([lines[0], *lines[2:]]),
        b"\n".join([lines[0], lines[2], lines[1], *lines[3:]]),
        b"\n".join([lines[0], b"extra e30=", *lines[2:]]),
        b"\n".join([lines[0], b"extra bnVsbA==", *lines[2:]]),
        b"\n".join([lines[0], b"extra !", *lines[2:]]),
        b"\n".join([*lines[:3], *[b"AAAA"] * 70, *lines[3:]]),
        data.replace(b"extra ", "extra é".encode()),
        b"x" * (5 << 20),
    ):
        with pytest.raises((InvalidProof, MalformedCheckpoint)):
            ProofBundle.parse(bad)


def test_every_flipped_bit_of_a_bundle_is_refused(consortium: Consortium, bundle: ProofBundle) -> None:
    """Whatever is altered in the file, what nobody proves (the anchor's block) too: it is not what the log sealed."""
    data, policy = bundle.encode(), replace(consortium.policy(), anchor_required=True)
    verify_bundle(bundle, policy)
    for at in range(0, len(data), 7):
        altered = bytearray(data)
        altered[at] ^= 1 << at % 7
        with pytest.raises((InvalidProof, InvalidSignature, MalformedCheckpoint, MalformedLeaf, QuorumNotReached)):
            pytest.fail(f"byte {at}: {verify_bundle(ProofBundle.parse(bytes(altered)), policy)}")


def test_a_bundle_that_the_log_did_not_seal_is_refused(consortium: Consortium, bundle: ProofBundle) -> None:
    stranger = NoteSigner(ORIGIN, bytes(32))
    for bad, error in (
        (replace(bundle, seal=None), InvalidProof),
        (bundle.sealed(lambda data: seal_export(data, stranger)), InvalidSignature),
        (replace(bundle, anchor=bundle.anchor and bundle.anchor.confirmed(99, b"x")), InvalidSignature),
    ):
        with pytest.raises(error):
            verify_bundle(bad, consortium.policy())
