"""Checkpoints anchored end to end: Python's tree and BLS signatures against the contracts, on each chain."""

from __future__ import annotations

import pytest

from tests.chains import NOW_S, Ground
from tests.integration.chains.consortium import LOG_ID, Consortium, leaf_hashes
from twinward_contracts.bindings import AccessAnchor, Anchored, QuorumSignature, name_id
from twinward_crypto import bls
from twinward_ledger import merkle
from twinward_ledger.errors import TransactionReverted
from twinward_ledger.formats.cosignature import AnchorDomain, AnchorStatement, cosign_bls, log_id

LEAVES = leaf_hashes(70)


def refusal(of: pytest.ExceptionInfo[TransactionReverted]) -> tuple[str, tuple[object, ...]]:
    return of.value.error, of.value.arguments


def test_a_growing_log_is_anchored_and_its_history_kept(consortium: Consortium) -> None:
    assert consortium.anchor.latest(LOG_ID) is None
    sizes = [(1, (0, 1, 2)), (2, (0, 1)), (7, (1, 2)), (8, (0, 2)), (70, (0, 1, 2))]
    for size, signers in sizes:
        consortium.offer(LEAVES[:size], signers=signers)
    epoch = consortium.witnesses.epoch()
    expected = [
        Anchored(merkle.root(LEAVES[:size]), size, NOW_S, epoch, sum(1 << index for index in signers))
        for size, signers in sizes
    ]
    assert consortium.anchor.history(LOG_ID) == expected
    assert consortium.anchor.history(bytes(32)) == []
    head = consortium.anchor.latest(LOG_ID)
    assert head is not None
    assert (head.root, head.size, head.time_s, head.epoch) == (merkle.root(LEAVES), 70, NOW_S, epoch)


def test_the_contract_the_binding_and_the_witness_mean_the_same_bytes(consortium: Consortium) -> None:
    origin, root = "log.hospital.example/tree", merkle.root(LEAVES)
    of_contract = consortium.anchor.cosigned_message(log_id(origin), 70, root, NOW_S)
    domain = AnchorDomain(
        consortium.chain.chain_id, bytes.fromhex(consortium.anchor.address[2:]), consortium.witnesses.epoch()
    )
    statement = AnchorStatement(domain, origin, 70, root, NOW_S)
    assert statement.message() == of_contract
    assert consortium.message(70, root) == consortium.anchor.cosigned_message(LOG_ID, 70, root, NOW_S)
    bls.verify(bls.public_key(consortium.secrets[0]), of_contract, cosign_bls(statement, consortium.secrets[0]))


def test_the_set_tells_its_witnesses(consortium: Consortium) -> None:
    consortium.change(consortium.witnesses.setting_quorum(1))
    consortium.change(consortium.witnesses.retiring(1))
    witnesses = consortium.witnesses.witnesses()
    assert [(one.index, one.name_id, one.active) for one in witnesses] == [
        (index, name_id(f"hospital {index}"), index != 1) for index in range(3)
    ]
    assert [bls.public_key_from_eip2537(one.public_key) for one in witnesses] == [
        bls.public_key(secret) for secret in consortium.secrets
    ]
    assert consortium.anchor.witness_set() == consortium.witnesses.address


def test_a_forged_history_is_refused_even_if_everyone_signs_it(consortium: Consortium) -> None:
    consortium.offer(LEAVES[:20])
    forged = [merkle.leaf_hash(b"rewritten"), *LEAVES[1:30]]
    with pytest.raises(TransactionReverted) as caught:
        consortium.offer(forged)
    assert refusal(caught) == ("InconsistentTree", (20, 30))
    head = consortium.anchor.latest(LOG_ID)
    assert head is not None
    assert head.root == merkle.root(LEAVES[:20])
    consortium.offer(LEAVES[:30])


def test_stale_and_replayed_checkpoints_are_refused(consortium: Consortium) -> None:
    consortium.offer(LEAVES[:5])
    root = merkle.root(LEAVES[:9])
    quorum = consortium.cosign((0, 1), consortium.message(9, root))
    proof = merkle.consistency_proof(LEAVES[:9], 5, 9)
    consortium.anchor.anchor(LOG_ID, 9, root, NOW_S, proof, quorum)
    with pytest.raises(TransactionReverted) as caught:
        consortium.anchor.anchor(LOG_ID, 9, root, NOW_S, proof, quorum)
    assert refusal(caught) == ("NotAppended", (9, 9))
    with pytest.raises(TransactionReverted) as caught:
        consortium.anchor.anchor(LOG_ID, 7, merkle.root(LEAVES[:7]), NOW_S, [], quorum)
    assert refusal(caught) == ("NotAppended", (9, 7))


@pytest.mark.parametrize("signer", [0, 1, 2])
def test_one_witness_is_no_quorum(consortium: Consortium, signer: int) -> None:
    with pytest.raises(TransactionReverted) as caught:
        consortium.offer(LEAVES[:5], signers=(signer,))
    assert refusal(caught) == ("QuorumNotReached", (1, 2))


def test_one_witness_cannot_stand_in_for_another(consortium: Consortium) -> None:
    """Signing twice, or claiming a bit without a signature."""
    root = merkle.root(LEAVES[:5])
    message = consortium.message(5, root)
    honest = consortium.cosign((0, 1), message)
    alone = bls.sign(consortium.secrets[0], message)
    for aggregate in (bls.aggregate([alone, alone]), alone):
        forged = QuorumSignature(honest.bitmap, honest.public_keys, bls.signature_to_eip2537(aggregate))
        with pytest.raises(TransactionReverted, match="InvalidQuorumSignature"):
            consortium.anchor.anchor(LOG_ID, 5, root, NOW_S, [], forged)
    twice = QuorumSignature(
        0b011, (honest.public_keys[0], honest.public_keys[0]), bls.signature_to_eip2537(bls.aggregate([alone, alone]))
    )
    with pytest.raises(TransactionReverted) as caught:
        consortium.anchor.anchor(LOG_ID, 5, root, NOW_S, [], twice)
    assert refusal(caught) == ("KeyMismatch", (1,))


def test_a_stranger_is_refused(consortium: Consortium) -> None:
    root = merkle.root(LEAVES[:5])
    consortium.secrets.append(bls.secret_key_from_seed(b"s" * 32))
    with pytest.raises(TransactionReverted) as caught:
        consortium.anchor.anchor(LOG_ID, 5, root, NOW_S, [], consortium.cosign((0, 1, 3), consortium.message(5, root)))
    assert refusal(caught) == ("UnknownWitness", (3,))


def test_a_signature_for_another_chain_contract_log_or_epoch_is_refused(consortium: Consortium) -> None:
    root = merkle.root(LEAVES[:5])

    def refused(quorum: QuorumSignature, anchor: AccessAnchor = consortium.anchor) -> None:
        with pytest.raises(TransactionReverted, match="InvalidQuorumSignature"):
            anchor.anchor(LOG_ID, 5, root, NOW_S, [], quorum)

    refused(consortium.cosign((0, 1), consortium.message(5, root, chain_id=consortium.chain.chain_id + 1)))
    good = consortium.cosign((0, 1), consortium.message(5, root))
    refused(good, AccessAnchor.deploy(consortium.chain, consortium.witnesses.address))
    with pytest.raises(TransactionReverted, match="InvalidQuorumSignature"):
        consortium.anchor.anchor(bytes(32), 5, root, NOW_S, [], good)  # another log
    consortium.change(consortium.witnesses.setting_quorum(1))
    refused(good)


def test_a_checkpoint_from_the_future_or_the_past_is_refused(consortium: Consortium) -> None:
    with pytest.raises(TransactionReverted) as caught:
        consortium.offer(LEAVES[:5], time_s=NOW_S + 3600)
    assert caught.value.error == "TimeAhead"
    consortium.offer(LEAVES[:5])
    with pytest.raises(TransactionReverted) as caught:
        consortium.offer(LEAVES[:6], time_s=NOW_S - 1)
    assert refusal(caught) == ("TimeWentBack", (NOW_S, NOW_S - 1))


def test_malformed_points_are_refused(consortium: Consortium) -> None:
    root = merkle.root(LEAVES[:5])
    honest = consortium.cosign((0, 1), consortium.message(5, root))
    broken = bytearray(honest.aggregate)
    broken[100] ^= 1
    for aggregate, error in ((bytes(broken), "PrecompileFailed"), (honest.aggregate[:-1], "MalformedPoint")):
        with pytest.raises(TransactionReverted, match=error):
            consortium.anchor.anchor(
                LOG_ID, 5, root, NOW_S, [], QuorumSignature(honest.bitmap, honest.public_keys, aggregate)
            )


@pytest.mark.parametrize(
    ("key", "error"),
    [(bytes(128), "PointAtInfinity"), (bytes(127), "MalformedPoint"), (b"\x00" * 127 + b"\x01", "PrecompileFailed")],
)
def test_a_bad_key_never_joins_the_set(consortium: Consortium, key: bytes, error: str) -> None:
    proof = bls.signature_to_eip2537(bls.prove_possession(consortium.secrets[0]))
    with pytest.raises(TransactionReverted, match=error):
        consortium.change(consortium.witnesses.registering("x", key, proof))


def test_a_key_joins_once_and_with_its_own_proof_only(consortium: Consortium) -> None:
    first = bls.public_key_to_eip2537(bls.public_key(consortium.secrets[0]))
    newcomer = bls.secret_key_from_seed(b"n" * 32)
    with pytest.raises(TransactionReverted) as caught:
        consortium.change(
            consortium.witnesses.registering(
                "again", first, bls.signature_to_eip2537(bls.prove_possession(consortium.secrets[0]))
            )
        )
    assert refusal(caught) == ("DuplicateKey", (0,))
    with pytest.raises(TransactionReverted, match="InvalidPossession"):
        consortium.change(
            consortium.witnesses.registering(
                "x",
                bls.public_key_to_eip2537(bls.public_key(newcomer)),
                bls.signature_to_eip2537(bls.prove_possession(consortium.secrets[0])),
            )
        )


def test_an_anchor_outlives_its_process(ground: Ground) -> None:
    first = ground.open()
    consortium = Consortium.on(first, hospitals=3, quorum=2)
    consortium.offer(LEAVES[:5])
    first.close()
    second = ground.open()
    reopened = Consortium(
        second,
        type(consortium.witnesses)(second, consortium.witnesses.address),
        AccessAnchor(second, consortium.anchor.address),
        consortium.secrets,
    )
    reopened.offer(LEAVES[:6])
    assert [one.size for one in reopened.anchor.history(LOG_ID)] == [5, 6]


def test_ten_thousand_events_cost_at_most_thirty_gas_each(consortium: Consortium) -> None:
    """The promise of the design page: consistency proof and BLS quorum of three included."""
    tree = leaf_hashes(20_001)
    consortium.offer(tree[:10_001])
    proof = merkle.consistency_proof(tree, 10_001, 20_001)
    root = merkle.root(tree)
    quorum = consortium.cosign((0, 1, 2), consortium.message(20_001, root))
    receipt = consortium.anchor.anchor(LOG_ID, 20_001, root, NOW_S, proof, quorum)
    assert len(proof) > 10
    assert receipt.gas_used / 10_000 <= 30
