"""A log and its witnesses: what gets signed, and what never must be."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from twinward_crypto import bls
from twinward_ledger import merkle
from twinward_ledger.errors import LogCorrupt, MalformedEvidence, NoSuchEntry, SplitView, WitnessForgot, WitnessRefused
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.formats.cosignature import AnchorDomain, AnchorStatement, verify_cosignature
from twinward_ledger.formats.note import Note, NoteSigner
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.testing.consortium import StillClock, seeded
from twinward_ledger.witness.evidence import SplitViewEvidence
from twinward_ledger.witness.interfaces import Proposal
from twinward_ledger.witness.witness import MAX_SKEW_S, Witness

SIGNER = NoteSigner("st-anna.example/access", bytes(range(32)))
DOMAIN = AnchorDomain(31337, bytes(range(20)), 2)
NOW_S = StillClock().now_ms() // 1000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    store = SqliteLogStore(tmp_path / "log.db")
    yield Log(store, SIGNER)
    store.close()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[WitnessState]:
    state = WitnessState(tmp_path / "witness.db")
    yield state
    state.close()


@pytest.fixture
def witness(state: WitnessState) -> Witness:
    return make_witness(state)


def make_witness(state: WitnessState) -> Witness:
    return Witness(
        seeded("witness.example"), [SIGNER.key], state, StillClock(), chain_id=31337, contract=DOMAIN.contract
    )


def grow(log: Log, count: int) -> None:
    start = log.store.size()
    log.append([Entry(b"leaf %d" % n, b"") for n in range(start, start + count)])


def proposal(log: Log, old: int = 0) -> Proposal:
    checkpoint, note = log.checkpoint()
    proof = tuple(log.prove_consistency(old, checkpoint.size)) if old else ()
    return Proposal(note.encode(), old, proof, NOW_S, DOMAIN)


def forged(size: int, root: bytes = bytes(32), old: int = 0, proof: tuple[bytes, ...] = ()) -> Proposal:
    """A checkpoint that the log's own key signed over a tree it does not have."""
    note = sign_checkpoint(Checkpoint(SIGNER.key.name, size, root), SIGNER)
    return Proposal(note.encode(), old, proof, NOW_S, DOMAIN)


# --- the log ---------------------------------------------------------------------------------------------------------
def test_a_checkpoint_is_the_tree_and_is_kept(log: Log) -> None:
    assert log.latest() is None
    grow(log, 300)
    checkpoint, note = log.checkpoint()
    assert checkpoint == Checkpoint(SIGNER.key.name, 300, log.store.root())
    assert log.store.checkpoint() == note.encode()
    assert log.checkpoint() == (checkpoint, note)
    grow(log, 1)
    assert log.checkpoint()[0].size == 301


def test_an_empty_log_has_a_checkpoint(log: Log) -> None:
    assert log.checkpoint()[0] == Checkpoint(SIGNER.key.name, 0, merkle.EMPTY_ROOT)


def test_proofs_for_every_entry_and_size(log: Log) -> None:
    grow(log, 270)
    roots = {size: merkle.root_at(size, log.store.node) for size in range(1, 271)}
    for size in (1, 2, 255, 256, 257, 270):
        for index in {0, size // 2, size - 1}:
            proof = log.prove_inclusion(index, size)
            merkle.verify_inclusion(index, size, merkle.leaf_hash(b"leaf %d" % index), proof, roots[size])
        for earlier in {1, size // 2 + 1, size}:
            proof = log.prove_consistency(earlier, size)
            merkle.verify_consistency(earlier, size, proof, roots[earlier], roots[size])


def test_impossible_proofs_are_refused(log: Log) -> None:
    grow(log, 3)
    for index, size in [(0, 4), (3, 3), (-1, 3), (0, 0)]:
        with pytest.raises(NoSuchEntry):
            log.prove_inclusion(index, size)
    for size1, size2 in [(0, 3), (2, 4), (3, 2), (-1, 1)]:
        with pytest.raises(NoSuchEntry):
            log.prove_consistency(size1, size2)


@pytest.mark.parametrize("cut", [2, 5])
def test_a_log_that_shrank_signs_nothing(log: Log, tmp_path: Path, cut: int) -> None:
    """Rolled back to an older copy of its file, with the checkpoint still known: it stops instead of forking."""
    grow(log, 6)
    log.checkpoint()
    tamper(tmp_path, f"UPDATE head SET size = {cut}")
    with pytest.raises(LogCorrupt):
        log.checkpoint()


def test_a_log_that_was_rewritten_signs_nothing(log: Log, tmp_path: Path) -> None:
    grow(log, 6)
    note = log.checkpoint()[1]
    hashes = [merkle.leaf_hash(b"leaf %d" % n) for n in range(6)]
    hashes[2] = merkle.leaf_hash(b"rewritten")
    tamper(tmp_path, "UPDATE tiles SET hashes = ?", b"".join(hashes))
    again = Log(SqliteLogStore(tmp_path / "log.db"), SIGNER)
    grow(again, 1)
    with pytest.raises(LogCorrupt):
        again.checkpoint()
    assert again.store.checkpoint() == note.encode()
    again.store.close()


@pytest.mark.parametrize(
    "kept", [b"nonsense", b"", sign_checkpoint(Checkpoint("w", 1, bytes(32)), NoteSigner("w", bytes(32))).encode()]
)
def test_a_checkpoint_that_is_not_its_own_stops_the_log(log: Log, tmp_path: Path, kept: bytes) -> None:
    grow(log, 1)
    log.checkpoint()
    tamper(tmp_path, "UPDATE checkpoints SET note = ?", kept)
    with pytest.raises(LogCorrupt):
        log.checkpoint()


def test_two_processes_sign_one_history(log: Log, tmp_path: Path) -> None:
    other = Log(SqliteLogStore(tmp_path / "log.db"), SIGNER)
    for turn in range(4):
        grow((log, other)[turn % 2], 3)
        assert log.checkpoint() == other.checkpoint()
    other.store.close()


def test_cosignatures_are_kept_with_their_checkpoint_only(log: Log, witness: Witness) -> None:
    grow(log, 2)
    asked = proposal(log)
    line = witness.cosign(asked).line
    cosigned = Note.parse(asked.note).with_signatures(line)
    log.keep_cosignatures(cosigned)
    assert log.store.checkpoint() == cosigned.encode()
    grow(log, 1)
    log.checkpoint()
    log.keep_cosignatures(cosigned)
    latest = log.latest()
    assert latest is not None
    assert latest[0].size == 3


def tamper(folder: Path, sql: str, *parameters: object) -> None:
    connection = sqlite3.connect(folder / "log.db")
    with connection:
        connection.execute(sql, parameters)
    connection.close()


# --- the witness -----------------------------------------------------------------------------------------------------
def test_a_growing_log_is_cosigned(log: Log, witness: Witness) -> None:
    for size in (1, 4, 5, 300):
        grow(log, size - log.store.size())
        asked = proposal(log, witness.last_size(log.origin))
        answer = witness.cosign(asked)
        note = Note.parse(asked.note).with_signatures(answer.line)
        assert verify_cosignature(note, witness.key) == NOW_S
        statement = AnchorStatement.of(DOMAIN, log.checkpoint()[0], NOW_S)
        bls.verify(witness.bls_public_key, statement.message(), answer.bls_signature)
        assert witness.last_size(log.origin) == size


def test_the_same_checkpoint_may_be_cosigned_again(log: Log, witness: Witness) -> None:
    grow(log, 5)
    first, again = proposal(log), proposal(log, 5)
    assert witness.cosign(first) == witness.cosign(again)


def test_without_an_anchor_there_is_no_bls_signature(log: Log, witness: Witness) -> None:
    grow(log, 1)
    assert witness.cosign(replace(proposal(log), domain=None)).bls_signature == b""


def test_a_rollback_is_refused(log: Log, witness: Witness) -> None:
    grow(log, 5)
    early = proposal(log)
    grow(log, 5)
    witness.cosign(proposal(log))
    for old in (0, 5):
        with pytest.raises(WitnessRefused, match="rollback"):
            witness.cosign(replace(early, old_size=old))


def test_a_fork_of_one_size_is_evidence_for_anybody(log: Log, witness: Witness) -> None:
    grow(log, 5)
    witness.cosign(proposal(log))
    with pytest.raises(SplitView) as caught:
        witness.cosign(forged(5, old=5))
    seen, offered = caught.value.seen, caught.value.offered
    assert SplitViewEvidence.of(seen, offered, SIGNER.key).statement.endswith("two roots for size 5")
    with pytest.raises(MalformedEvidence):
        SplitViewEvidence.of(seen, seen, SIGNER.key)
    with pytest.raises(MalformedEvidence):
        SplitViewEvidence.of(seen, offered, NoteSigner("x", bytes(32)).key)


def test_a_fork_of_an_older_size_is_found_too(log: Log, witness: Witness) -> None:
    grow(log, 5)
    witness.cosign(proposal(log))
    grow(log, 5)
    witness.cosign(proposal(log, 5))
    with pytest.raises(SplitView):
        witness.cosign(forged(5))


def test_growth_without_consistency_is_refused(log: Log, witness: Witness) -> None:
    """The log's own signature on a larger tree is not enough: it must contain the tree that was cosigned."""
    grow(log, 5)
    witness.cosign(proposal(log))
    other = [merkle.leaf_hash(b"other %d" % n) for n in range(9)]
    proof = tuple(merkle.consistency_proof(other, 5, 9))
    grow(log, 4)
    honest = proposal(log, 5)
    for bad in (
        forged(9, merkle.root(other), 5, proof),
        replace(honest, consistency=proof),
        replace(honest, consistency=()),
        replace(honest, consistency=(*honest.consistency, bytes(32))),
        replace(honest, old_size=0, consistency=()),
        replace(honest, old_size=4, consistency=tuple(log.prove_consistency(4, 9))),
    ):
        with pytest.raises(WitnessRefused):
            witness.cosign(bad)
    assert witness.last_size(log.origin) == 5
    witness.cosign(honest)


def test_a_first_checkpoint_has_no_proof(log: Log, witness: Witness) -> None:
    grow(log, 5)
    with pytest.raises(WitnessRefused):
        witness.cosign(replace(proposal(log), consistency=(bytes(32),)))
    with pytest.raises(WitnessRefused):
        witness.cosign(replace(proposal(log), old_size=3))


@pytest.mark.parametrize("skew", [-MAX_SKEW_S - 1, MAX_SKEW_S + 1, 2**60])
def test_a_time_far_from_its_own_is_refused(log: Log, witness: Witness, skew: int) -> None:
    grow(log, 1)
    with pytest.raises(WitnessRefused):
        witness.cosign(replace(proposal(log), time_s=NOW_S + skew))
    assert witness.last_size(log.origin) == 0


@pytest.mark.parametrize("domain", [AnchorDomain(1, DOMAIN.contract, 2), AnchorDomain(31337, bytes(20), 2)])
def test_anothers_anchor_is_refused(log: Log, witness: Witness, domain: AnchorDomain) -> None:
    grow(log, 1)
    with pytest.raises(WitnessRefused):
        witness.cosign(replace(proposal(log), domain=domain))


def test_strangers_and_nonsense_are_refused(log: Log, witness: Witness) -> None:
    grow(log, 1)
    asked = proposal(log)
    stranger = NoteSigner("stranger.example", bytes(32))
    impostor = NoteSigner(SIGNER.key.name, bytes(32))
    for note in (
        b"",
        b"nonsense",
        asked.note[:-1],
        asked.note.replace(b"\n1\n", b"\n2\n"),
        sign_checkpoint(Checkpoint("stranger.example", 1, bytes(32)), stranger).encode(),
        sign_checkpoint(Checkpoint(SIGNER.key.name, 1, bytes(32)), impostor).encode(),
    ):
        with pytest.raises(WitnessRefused):
            witness.cosign(replace(asked, note=note))


def test_a_witness_remembers_over_a_restart(log: Log, witness: Witness, state: WitnessState, tmp_path: Path) -> None:
    grow(log, 5)
    witness.cosign(proposal(log))
    state.close()
    reopened = WitnessState(tmp_path / "witness.db")
    again = make_witness(reopened)
    assert again.last_size(log.origin) == 5
    with pytest.raises(SplitView):
        again.cosign(forged(5))
    reopened.close()


def test_a_witness_that_cannot_remember_does_not_sign(log: Log, witness: Witness, state: WitnessState) -> None:
    grow(log, 1)
    asked = proposal(log)
    state.close()
    with pytest.raises(WitnessRefused):
        witness.cosign(asked)
    with pytest.raises(WitnessRefused):
        witness.last_size(log.origin)


def test_racing_proposals_never_roll_back(log: Log, witness: Witness) -> None:
    """Two forks of one size at once: exactly one is signed, however the threads interleave."""
    grow(log, 4)
    asked = [proposal(log), *(forged(4, bytes([n]) * 32) for n in range(1, 8))]
    signed: list[int] = []

    def ask(number: int) -> None:
        try:
            witness.cosign(asked[number])
        except SplitView:
            return
        signed.append(number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(signed) == 1


def test_a_witness_that_forgot_what_it_cosigned_refuses_to_go_on(log: Log, state: WitnessState, tmp_path: Path) -> None:
    """Its state was turned back: what it signs next could contradict what it signed before."""
    grow(log, 3)
    asked = proposal(log)
    cosigned = Note.parse(asked.note).with_signatures(make_witness(state).cosign(asked).line)
    restored = WitnessState(tmp_path / "restored.db")
    forgetful = make_witness(restored)
    with pytest.raises(WitnessForgot, match="cosigned size 3 once and now knows 0 only"):
        forgetful.cosign(replace(asked, note=cosigned.encode()))
    assert restored.newest(SIGNER.key.name) is None
    grow(log, 2)
    later = make_witness(state).cosign(proposal(log, 3))
    assert later.line
    restored.close()
