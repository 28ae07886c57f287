"""Checkpoints, cosignatures and leaves: the exact bytes, and everything that must not be read as one."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.ledger.generate import vectors
from twinward_contracts.bindings import cosigned_message
from twinward_crypto import bls
from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import MalformedCheckpoint, MalformedLeaf
from twinward_ledger.formats.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from twinward_ledger.formats.cosignature import (
    ANCHOR_LINE_BYTES,
    AnchorDomain,
    AnchorStatement,
    anchor_key_id,
    cosign,
    cosign_bls,
    log_id,
    verify_cosignature,
)
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.formats.note import Note, NoteSigner, Signature
from twinward_ledger.merkle import EMPTY_ROOT

SIGNER = NoteSigner("st-anna.example/access", bytes(range(32)))
WITNESS = NoteSigner("witness.example", bytes(range(1, 33)))
ROOT = bytes(range(32))
CHECKPOINT = Checkpoint(SIGNER.key.name, 7, ROOT)
NOTE = sign_checkpoint(CHECKPOINT, SIGNER)
DOMAIN = AnchorDomain(31337, bytes(range(20)), 2)
RECORDED = json.loads((Path(__file__).parents[3] / "vectors" / "ledger" / "formats.json").read_text())


def test_formats_are_the_recorded_ones() -> None:
    """A change here is a change of a wire format: SPEC.md, the contract and every log there is would have to follow."""
    assert vectors() == RECORDED


@pytest.mark.parametrize("case", RECORDED["refused_checkpoint_texts"], ids=lambda case: str(case["desc"]))
def test_recorded_bad_checkpoints_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedCheckpoint):
        Checkpoint.parse(case["text"])


@pytest.mark.parametrize("case", RECORDED["refused_leaves"], ids=lambda case: str(case["desc"]))
def test_recorded_bad_leaves_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedLeaf):
        Leaf.decode(bytes.fromhex(case["leaf"]))


@given(st.sampled_from(LeafKind), st.integers(0, 2**32 - 1), st.binary(min_size=32, max_size=32))
def test_leaves_round_trip(kind: LeafKind, minute: int, commitment: bytes) -> None:
    leaf = Leaf(kind, minute, commitment)
    assert Leaf.decode(leaf.encode()) == leaf


@given(st.binary(max_size=60))
def test_what_decodes_as_a_leaf_encodes_back(data: bytes) -> None:
    try:
        leaf = Leaf.decode(data)
    except MalformedLeaf:
        return
    assert leaf.encode() == data


@pytest.mark.parametrize(
    "leaf", [Leaf(LeafKind.ACCESS, -1, ROOT), Leaf(LeafKind.ACCESS, 2**32, ROOT), Leaf(LeafKind.NODE, 0, b"")]
)
def test_leaves_without_an_encoding_are_refused(leaf: Leaf) -> None:
    with pytest.raises(MalformedLeaf):
        leaf.encode()


def test_a_leaf_keeps_the_minute_only() -> None:
    assert Leaf.at(120_000, LeafKind.ACCESS, ROOT) == Leaf.at(179_999, LeafKind.ACCESS, ROOT)


def test_a_checkpoint_opens_and_names_its_log() -> None:
    assert open_checkpoint(NOTE.encode(), SIGNER.key) == (CHECKPOINT, NOTE)


def test_anothers_checkpoint_does_not_open() -> None:
    with pytest.raises(InvalidSignature):
        open_checkpoint(NOTE.encode(), WITNESS.key)
    text = Checkpoint("another.example", 7, ROOT).text()
    with pytest.raises(MalformedCheckpoint):
        open_checkpoint(Note(text, (SIGNER.sign(text),)).encode(), SIGNER.key)
    with pytest.raises(MalformedCheckpoint):
        sign_checkpoint(Checkpoint("another.example", 7, ROOT), SIGNER)


@pytest.mark.parametrize(
    "bad",
    [
        Checkpoint("a\nb", 7, ROOT),
        Checkpoint("a", -1, ROOT),
        Checkpoint("a", 2**63, ROOT),
        Checkpoint("a", 7, ROOT[:31]),
        Checkpoint("", 7, ROOT),
        Checkpoint("a", 0, ROOT),
        Checkpoint("a", 7, ROOT, ("",)),
    ],
)
def test_checkpoints_without_a_text_are_refused(bad: Checkpoint) -> None:
    with pytest.raises(MalformedCheckpoint):
        bad.text()


def test_an_empty_log_has_a_checkpoint() -> None:
    assert Checkpoint.parse(Checkpoint("a", 0, EMPTY_ROOT).text()).size == 0


def test_the_largest_log_has_a_checkpoint() -> None:
    assert Checkpoint.parse(Checkpoint("a", 2**63 - 1, ROOT).text()).size == 2**63 - 1


def test_extension_lines_of_others_are_kept() -> None:
    text = f"a\n7\n{base64.b64encode(ROOT).decode()}\nextension\n"
    assert Checkpoint.parse(text).text() == text


def test_a_cosignature_states_its_time() -> None:
    note = NOTE.with_signatures(cosign(NOTE.text, 1_679_315_147, WITNESS))
    assert verify_cosignature(note, WITNESS.cosigner_key) == 1_679_315_147
    assert open_checkpoint(note.encode(), SIGNER.key)[0] == CHECKPOINT


def test_a_cosignatures_time_is_below_two_to_the_63() -> None:
    last = NOTE.with_signatures(cosign(NOTE.text, 2**63 - 1, WITNESS))
    assert verify_cosignature(last, WITNESS.cosigner_key) == 2**63 - 1
    with pytest.raises(InvalidSignature, match="range"):
        verify_cosignature(NOTE.with_signatures(cosign(NOTE.text, 2**63, WITNESS)), WITNESS.cosigner_key)


def test_a_cosignature_is_bound_to_text_time_key_and_kind() -> None:
    line = cosign(NOTE.text, 100, WITNESS)
    other_text = Checkpoint(SIGNER.key.name, 8, ROOT).text()
    later = Signature(line.name, line.key_id, (101).to_bytes(8, "big") + line.blob[8:])
    plain = Signature(line.name, WITNESS.cosigner_key.key_id, bytes(8) + WITNESS.sign(NOTE.text).blob)
    short = Signature(line.name, line.key_id, line.blob[:-1])
    far = Signature(line.name, line.key_id, b"\xff" * 8 + line.blob[8:])
    for note in (Note(other_text, (line,)), *(Note(NOTE.text, (bad,)) for bad in (later, plain, short, far))):
        with pytest.raises(InvalidSignature):
            verify_cosignature(note, WITNESS.cosigner_key)
    for key in (SIGNER.cosigner_key, WITNESS.key):
        with pytest.raises(InvalidSignature):
            verify_cosignature(NOTE.with_signatures(line), key)


def test_the_anchor_statement_is_what_the_contracts_bindings_say() -> None:
    statement = AnchorStatement.of(DOMAIN, CHECKPOINT, 1_767_225_600)
    assert statement.message() == cosigned_message(
        chain_id=31337,
        contract="0x" + bytes(range(20)).hex(),
        log_id=log_id(SIGNER.key.name),
        epoch=2,
        size=7,
        root=ROOT,
        time_s=1_767_225_600,
    )


def test_an_anchor_line_is_named_by_four_bytes_and_holds_a_time_and_a_signature() -> None:
    named = hashlib.sha256(b"w\n\xfftwinward/bls-anchor/v1" + bytes(48)).digest()
    assert anchor_key_id("w", bytes(48)) == named[:4]
    assert ANCHOR_LINE_BYTES == 8 + 96


def test_no_two_statements_share_a_signature() -> None:
    secret = bls.secret_key_from_seed(bytes(32))
    signature = cosign_bls(AnchorStatement.of(DOMAIN, CHECKPOINT, 5), secret)
    others = [
        AnchorStatement.of(AnchorDomain(1, DOMAIN.contract, 2), CHECKPOINT, 5),
        AnchorStatement.of(AnchorDomain(31337, bytes(20), 2), CHECKPOINT, 5),
        AnchorStatement.of(AnchorDomain(31337, DOMAIN.contract, 3), CHECKPOINT, 5),
        AnchorStatement.of(DOMAIN, Checkpoint("other", 7, ROOT), 5),
        AnchorStatement.of(DOMAIN, Checkpoint(CHECKPOINT.origin, 8, ROOT), 5),
        AnchorStatement.of(DOMAIN, Checkpoint(CHECKPOINT.origin, 7, EMPTY_ROOT), 5),
        AnchorStatement.of(DOMAIN, CHECKPOINT, 6),
    ]
    bls.verify(bls.public_key(secret), AnchorStatement.of(DOMAIN, CHECKPOINT, 5).message(), signature)
    for other in others:
        with pytest.raises(InvalidSignature):
            bls.verify(bls.public_key(secret), other.message(), signature)


@pytest.mark.parametrize(
    "statement",
    [
        AnchorStatement(AnchorDomain(-1, bytes(20), 0), "a", 1, ROOT, 0),
        AnchorStatement(AnchorDomain(1, bytes(19), 0), "a", 1, ROOT, 0),
        AnchorStatement(AnchorDomain(1, bytes(20), 2**64), "a", 1, ROOT, 0),
        AnchorStatement(DOMAIN, "a", 2**64, ROOT, 0),
        AnchorStatement(DOMAIN, "a", 1, ROOT[1:], 0),
        AnchorStatement(DOMAIN, "a", 1, ROOT, -1),
        AnchorStatement(DOMAIN, "a", 1, ROOT, 2**64),
    ],
)
def test_statements_out_of_range_are_refused(statement: AnchorStatement) -> None:
    with pytest.raises(MalformedCheckpoint):
        statement.message()
