"""Evidence of a split view: whatever contradicts verifies, and no other bytes do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward_crypto.errors import InvalidSignature
from twinward_ledger import merkle
from twinward_ledger.errors import InvalidProof, MalformedEvidence
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.formats.cosignature import cosign
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.witness.evidence import SplitViewEvidence, verify

LOG = NoteSigner("mercy.example/access", b"\1" * 32)
WITNESS = NoteSigner("w.example", b"\2" * 32)


def note(size: int, root: bytes, signer: NoteSigner = LOG) -> bytes:
    signed = sign_checkpoint(Checkpoint(signer.key.name, size, root), signer)
    return signed.with_signatures(cosign(signed.text, 1, WITNESS)).encode()


def tree(size: int, word: bytes = b"leaf") -> list[bytes]:
    return [merkle.leaf_hash(b"%s %d" % (word, number)) for number in range(size)]


def grown(small: int, large: int, shared: int) -> SplitViewEvidence:
    """Two signed trees that share their first leaves only."""
    first = tree(small)
    second = [*first[:shared], *tree(large, b"other")[shared:]]
    prefix = merkle.root(second[:small])
    proof = tuple(merkle.consistency_proof(second, small, large))
    return SplitViewEvidence.of_sizes(
        note(small, merkle.root(first)), note(large, merkle.root(second)), LOG.key, prefix=prefix, proof=proof
    )


ONE_SIZE = SplitViewEvidence.of(note(9, b"\2" * 32), note(9, b"\1" * 32), LOG.key)
TWO_SIZES = grown(5, 12, 3)


@pytest.mark.parametrize("found", [ONE_SIZE, TWO_SIZES])
def test_it_says_what_contradicts(found: SplitViewEvidence) -> None:
    again = verify(found.encoded, LOG.key)
    assert again == found == verify(found.encoded)
    assert LOG.key.name in found.statement
    assert b"w.example" not in found.encoded  # cosignatures are not evidence


def test_the_order_of_the_two_does_not_matter() -> None:
    assert SplitViewEvidence.of(note(9, b"\1" * 32), note(9, b"\2" * 32), LOG.key) == ONE_SIZE


@given(st.integers(1, 40), st.data())
def test_every_fork_has_evidence_and_every_growth_has_none(small: int, data: st.DataObject) -> None:
    large = data.draw(st.integers(small + 1, 60))
    shared = data.draw(st.integers(0, small - 1))
    found = grown(small, large, shared)
    assert (found.first.size, found.second.size) == (small, large)
    honest = tree(large)
    proof = tuple(merkle.consistency_proof(honest, small, large))
    root = merkle.root(honest[:small])
    with pytest.raises(MalformedEvidence):
        SplitViewEvidence.of_sizes(
            note(small, root), note(large, merkle.root(honest)), LOG.key, prefix=root, proof=proof
        )


@given(st.sampled_from([ONE_SIZE, TWO_SIZES]), st.data())
def test_no_bit_can_be_changed(found: SplitViewEvidence, data: st.DataObject) -> None:
    broken = bytearray(found.encoded)
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(MalformedEvidence):
        verify(bytes(broken))


@given(st.sampled_from([ONE_SIZE, TWO_SIZES]), st.data())
def test_nothing_can_be_cut_repeated_or_put_in(found: SplitViewEvidence, data: st.DataObject) -> None:
    whole = found.encoded
    at = data.draw(st.integers(0, len(whole)))
    until = data.draw(st.integers(at, len(whole)))
    more = data.draw(st.binary(max_size=20))
    for broken in (whole[:at] + whole[until:], whole[:at] + more + whole[at:], whole[:until] + whole[at:]):
        if broken != whole:
            with pytest.raises(MalformedEvidence):
                verify(broken)


@given(st.binary(max_size=400))
def test_other_bytes_are_none(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        verify(data)


def test_what_does_not_contradict_is_refused() -> None:
    with pytest.raises(MalformedEvidence):
        SplitViewEvidence.of(note(9, b"\1" * 32), note(9, b"\1" * 32), LOG.key)
    with pytest.raises(MalformedEvidence):
        SplitViewEvidence.of(note(9, b"\1" * 32), note(8, b"\2" * 32), LOG.key)
    stranger = NoteSigner("else.example", b"\3" * 32)
    with pytest.raises(MalformedEvidence):
        SplitViewEvidence.of(note(9, b"\1" * 32), note(9, b"\2" * 32, stranger), LOG.key)
    with pytest.raises(MalformedEvidence):
        verify(ONE_SIZE.encoded, stranger.key)
    with pytest.raises(MalformedEvidence):
        verify(ONE_SIZE.encoded, replace(LOG.key, public_key=stranger.key.public_key))


def test_a_proof_of_something_else_is_refused() -> None:
    """The prefix must really be the larger tree's: otherwise anybody's honest growth could be called a split."""
    honest = tree(12)
    small, large = note(5, merkle.root(honest[:5])), note(12, merkle.root(honest))
    proof = tuple(merkle.consistency_proof(honest, 5, 12))
    for prefix in (b"\7" * 32, merkle.root(tree(5, b"other")), b""):
        with pytest.raises((MalformedEvidence, InvalidProof, InvalidSignature)):
            SplitViewEvidence.of_sizes(small, large, LOG.key, prefix=prefix, proof=proof)
