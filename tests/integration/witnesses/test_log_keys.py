"""A log changes its key: witnesses follow, its history goes on, and what was replaced speaks for it no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from twinward.consortium.witness.home import WitnessHome, WitnessSettings, create_witness
from twinward.core.clock import FixedClock
from twinward.core.errors import Conflict
from twinward_ledger import merkle
from twinward_ledger.errors import MalformedEvidence, NotSignedByLog, SplitView
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.formats.note import NoteSigner, VerifierKey
from twinward_ledger.witness import evidence
from twinward_ledger.witness.interfaces import Proposal

ORIGIN = "mercy.example/access"
FIRST, SECOND, THIRD = (NoteSigner(ORIGIN, bytes([number]) * 32) for number in (1, 2, 3))
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(9)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[WitnessHome]:
    made = create_witness(tmp_path / "w", WitnessSettings(name="lakeside"), clock=FixedClock())
    yield made
    made.close()


def proposal(size: int, *signers: NoteSigner, old: int = 0, root: bytes | None = None) -> Proposal:
    text = Checkpoint(ORIGIN, size, root or merkle.root(LEAVES[:size]))
    note = sign_checkpoint(text, signers[0])
    for signer in signers[1:]:
        note = note.with_signatures(signer.sign(note.text))
    proof = tuple(merkle.consistency_proof(LEAVES, old, size)) if old else ()
    return Proposal(note.encode(), old, proof, 0, None)


def follow(home: WitnessHome, *keys: VerifierKey, **options: Any) -> None:
    for key in keys:
        home.add_log(key, **options)
    home.refresh()


def cosigns(home: WitnessHome, size: int, *signers: NoteSigner, old: int = 0) -> None:
    home.witness.cosign(proposal(size, *signers, old=old))


def refused(home: WitnessHome, size: int, *signers: NoteSigner, old: int = 0) -> None:
    with pytest.raises(NotSignedByLog):
        home.witness.cosign(proposal(size, *signers, old=old))
    assert home.witness.last_size(ORIGIN) == old


def test_the_older_key_is_believed_until_the_newer_one_signed(home: WitnessHome) -> None:
    follow(home, FIRST.key)
    cosigns(home, 2, FIRST)
    refused(home, 3, SECOND, old=2)
    follow(home, SECOND.key)
    cosigns(home, 3, FIRST, old=2)
    cosigns(home, 4, SECOND, old=3)
    refused(home, 5, FIRST, old=4)
    cosigns(home, 5, SECOND, old=4)


def test_what_both_keys_signed_counts_for_the_newer(home: WitnessHome) -> None:
    follow(home, FIRST.key, SECOND.key)
    cosigns(home, 2, FIRST, SECOND)
    refused(home, 3, FIRST, old=2)


def test_a_bad_signature_of_either_key_is_none(home: WitnessHome) -> None:
    follow(home, FIRST.key, SECOND.key)
    note = sign_checkpoint(Checkpoint(ORIGIN, 2, merkle.root(LEAVES[:2])), SECOND)
    bad = note.with_signatures(FIRST.sign("another text\n"))
    with pytest.raises(NotSignedByLog):
        home.witness.cosign(Proposal(bad.encode(), 0, (), 0, None))


def test_a_log_that_knows_no_second_key_of_its_own_is_not_talked_into_one(home: WitnessHome) -> None:
    """Signatures of unknown keys under the log's name are ignored, as ever."""
    follow(home, FIRST.key)
    cosigns(home, 2, FIRST, SECOND)
    refused(home, 3, SECOND, old=2)


def test_a_key_that_was_stolen_is_refused_at_once(home: WitnessHome) -> None:
    follow(home, FIRST.key)
    cosigns(home, 2, FIRST)
    follow(home, SECOND.key, retire_older=True)
    refused(home, 3, FIRST, old=2)
    cosigns(home, 3, SECOND, old=2)
    with pytest.raises(Conflict, match="retired"):
        home.add_log(FIRST.key)


def test_keys_follow_one_another_any_number_of_times(home: WitnessHome) -> None:
    signers = [FIRST, SECOND, THIRD]
    for size, (old, new) in enumerate(pairwise([None, *signers]), 1):
        follow(home, new.key)
        cosigns(home, size, new, old=size - 1)
        if old is not None:
            refused(home, size + 1, old, old=size)


def test_naming_a_key_again_changes_nothing(home: WitnessHome) -> None:
    follow(home, FIRST.key, SECOND.key)
    before = (home.home / "logs").read_bytes()
    follow(home, SECOND.key, FIRST.key)
    assert (home.home / "logs").read_bytes() == before


@pytest.mark.parametrize("retire", [False, True])
def test_a_split_view_across_the_change_convicts_the_log(home: WitnessHome, retire: bool) -> None:
    follow(home, FIRST.key)
    cosigns(home, 4, FIRST)
    follow(home, SECOND.key, retire_older=retire)
    with pytest.raises(SplitView) as caught:
        home.witness.cosign(proposal(4, SECOND, root=b"\1" * 32))
    keys = home.witness.log_of(caught.value.offered).keys
    found = evidence.SplitViewEvidence.of(caught.value.seen, caught.value.offered, *keys)
    assert {key.name for key in found.signers} == {ORIGIN}
    assert set(found.signers) == {FIRST.key, SECOND.key}
    assert evidence.verify(found.encoded, FIRST.key, SECOND.key) == found == evidence.verify(found.encoded)


def test_nobody_is_convicted_by_a_key_that_another_put_beside_his() -> None:
    notes = [proposal(4, signer, root=bytes([number]) * 32).note for number, signer in enumerate((FIRST, THIRD), 1)]
    found = evidence.SplitViewEvidence.of(*notes, FIRST.key, THIRD.key)
    with pytest.raises(MalformedEvidence):
        evidence.verify(found.encoded, FIRST.key)
    with pytest.raises(MalformedEvidence):
        evidence.verify(found.encoded, FIRST.key, SECOND.key)
    same = found.encoded.replace(f"log {THIRD.key}".encode(), f"log {FIRST.key}".encode())
    with pytest.raises(MalformedEvidence):
        evidence.verify(same)


def test_one_key_is_enough_where_it_signed_both() -> None:
    notes = [
        proposal(4, signer, FIRST, root=bytes([number]) * 32).note for number, signer in enumerate((SECOND, THIRD))
    ]
    assert evidence.SplitViewEvidence.of(*notes, SECOND.key, THIRD.key, FIRST.key).signers == (FIRST.key,)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    def invoke(*words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(PROGRAM, ["witness", *words])
        assert done.exit_code == code, done.output
        return done.stdout

    invoke("create", "--name", "lakeside", "--home", str(tmp_path / "w"))
    return invoke


def test_the_command_follows_and_says_so(run: Callable[..., Any], tmp_path: Path) -> None:
    at = ("--home", str(tmp_path / "w"))
    run("add-log", str(FIRST.key), *at)
    said = run("add-log", str(SECOND.key), *at)
    assert f"its key {FIRST.key.key_id.hex()} is believed until it first signs with {SECOND.key.key_id.hex()}" in said
    told = json.loads(run("add-log", str(THIRD.key), "--retire-older", "--json", *at))
    assert (told["older_key_ids"], told["logs"]) == ([], [ORIGIN])
    run("add-log", str(FIRST.key), *at, code=4)


def test_evidence_of_two_keys_needs_both_to_be_given(run: Callable[..., Any], tmp_path: Path) -> None:
    notes = [proposal(4, signer, root=bytes([number]) * 32).note for number, signer in enumerate((FIRST, SECOND), 1)]
    file = tmp_path / "found.split-view"
    file.write_bytes(evidence.SplitViewEvidence.of(*notes, FIRST.key, SECOND.key).encoded)
    run("evidence", str(file), "--log", str(FIRST.key), code=2)
    told = json.loads(run("evidence", str(file), "--log", str(SECOND.key), "--log", str(FIRST.key), "--json"))
    assert told["signers"] == [str(FIRST.key), str(SECOND.key)]
