"""A log changes its key: everything before it stands, nothing after it bears the old one, and no step leaves none."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kills import kills
from tests.tools import ROOT
from twinward_crypto.errors import InvalidSignature, MalformedKey
from twinward_ledger.errors import KeyReplaced, LedgerError, LogCorrupt, NotSignedByLog, Rollback
from twinward_ledger.formats.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from twinward_ledger.formats.cosignature import cosign
from twinward_ledger.formats.key_history import MAX_EARLIER_KEYS
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log.fsck import fsck
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import Entry, KeyChange
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.testing.consortium import StillClock, seeded
from twinward_ledger.witness.evidence import SplitViewEvidence, verify
from twinward_ledger.witness.interfaces import Proposal
from twinward_ledger.witness.witness import Witness

ORIGIN = "mercy.example/access"


def signer_of(generation: int = 1) -> NoteSigner:
    return NoteSigner(ORIGIN, bytes([generation]) * 32)


def opened(folder: Path) -> Log:
    return Log(SqliteLogStore(folder / "log.db"), signer_of(), signer_of)


def grow(log: Log, count: int = 1) -> None:
    start = log.store.size()
    log.append([Entry(b"leaf %d" % number, b"") for number in range(start, start + count)])


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = opened(tmp_path)
    grow(made, 3)
    made.checkpoint()
    grow(made)
    return made


def test_the_first_checkpoint_under_the_new_key_bears_both(log: Log) -> None:
    history = log.change_key(log.next_key)
    assert [one.until for one in history.earlier] == [4]
    checkpoint, note = log.checkpoint()
    assert checkpoint.size == 4
    for generation in (1, 2):
        assert open_checkpoint(note.encode(), signer_of(generation).key)[0] == checkpoint
    grow(log)
    _, later = log.checkpoint()
    open_checkpoint(later.encode(), signer_of(2).key)
    with pytest.raises(InvalidSignature):
        open_checkpoint(later.encode(), signer_of(1).key)
    grow(log)
    assert [one.until for one in log.change_key(log.next_key).earlier] == [4, 6]
    assert log.key == signer_of(3).key
    assert fsck(log.store, log.history).checkpoints == 4


def test_cosignatures_of_a_checkpoint_that_is_signed_stay_on_it(log: Log) -> None:
    _, note = log.checkpoint()
    line = cosign(note.text, 1, seeded("a").signer)
    log.keep_cosignatures(note.with_signatures(line))
    log.change_key(log.next_key)
    _, both = log.checkpoint()
    assert line in both.signatures
    assert len(both.signatures) == 3


def test_another_process_follows_with_its_next_checkpoint(tmp_path: Path, log: Log) -> None:
    other = opened(tmp_path)
    _, before = other.checkpoint()
    log.change_key(log.next_key)
    other.keep_cosignatures(before.with_signatures(cosign(before.text, 1, seeded("a").signer)))
    _, kept = log.checkpoint()
    assert len(kept.signatures) == 3, "neither the new signature nor the cosignature is lost"
    grow(other)
    _, note = other.checkpoint()
    open_checkpoint(note.encode(), signer_of(2).key)


def test_a_signer_that_does_not_know_of_the_change_keeps_nothing(log: Log) -> None:
    log.change_key(log.next_key)
    grow(log)
    size, root = log.store.size(), log.store.root()
    stale = sign_checkpoint(Checkpoint(ORIGIN, size, root), signer_of(1)).encode()
    with pytest.raises(KeyReplaced):
        log.store.save_checkpoint(size, stale, key_changes=0)
    log.store.save_checkpoint(size, stale)  # whoever writes the file past the log: a thief of the old key
    for ask in (log.checkpoint, log.latest, lambda: fsck(log.store, log.history)):
        with pytest.raises(LogCorrupt):
            ask()


def test_two_changes_at_one_moment_are_one(tmp_path: Path, log: Log) -> None:
    other, to = opened(tmp_path), log.next_key
    assert other.next_key == to
    log.change_key(to)
    with pytest.raises(KeyReplaced):
        other.change_key(to)
    with pytest.raises(Rollback):
        log.change_key(log.next_key)
    assert other.key == to


@pytest.mark.parametrize("how", ["no old signature", "another new key", "no new signature", "another size", "gone"])
def test_a_change_that_both_keys_did_not_sign_is_refused(tmp_path: Path, log: Log, how: str) -> None:
    log.change_key(log.next_key)
    grow(log)
    log.checkpoint()
    (change,) = log.store.key_changes()
    checkpoint = Checkpoint.parse(change.note.decode().partition("\n\n")[0] + "\n")
    thief = NoteSigner(ORIGIN, b"t" * 32)

    def signed(*signers: NoteSigner) -> bytes:
        note = sign_checkpoint(checkpoint, signers[0])
        return note.with_signatures(*(one.sign(note.text) for one in signers)).encode()

    forged = {
        "no old signature": replace(change, note=signed(signer_of(2))),
        "another new key": KeyChange(1, change.size, str(thief.key), signed(signer_of(1), thief)),
        "no new signature": replace(change, note=signed(signer_of(1))),
        "another size": replace(change, size=change.size - 1),
    }.get(how)
    with contextlib.closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as db:
        db.execute("DELETE FROM key_changes")
        if forged is not None:
            row = (forged.number, forged.size, forged.key, forged.note)
            db.execute("INSERT INTO key_changes VALUES (?, ?, ?, ?)", row)
    again = opened(tmp_path)
    with pytest.raises(LogCorrupt):
        again.checkpoint()


def witness_of(folder: Path, *logs: NoteSigner) -> Witness:
    return Witness(seeded("w"), [one.key for one in logs], WitnessState(folder / "w.db"), StillClock())


def test_two_different_new_keys_are_no_continuation_and_two_histories_are_evidence(tmp_path: Path, log: Log) -> None:
    """A thief of the old key signs a change to a key of his own; witnesses have followed to the hospital's."""
    witness = witness_of(tmp_path, signer_of(1), signer_of(2))
    log.change_key(log.next_key)
    _, note = log.checkpoint()
    witness.cosign(Proposal(note.encode(), 0, (), 0, None))
    thief = NoteSigner(ORIGIN, b"t" * 32)
    same = sign_checkpoint(Checkpoint.parse(note.text), signer_of(1))
    with pytest.raises(NotSignedByLog, match="has replaced"):
        witness.cosign(Proposal(same.with_signatures(thief.sign(same.text)).encode(), 4, (), 0, None))
    other = sign_checkpoint(Checkpoint(ORIGIN, 4, b"\7" * 32), signer_of(1))
    theirs = other.with_signatures(thief.sign(other.text)).encode()
    with pytest.raises(NotSignedByLog):
        witness.cosign(Proposal(theirs, 4, (), 0, None))
    found = SplitViewEvidence.of(note.encode(), theirs, *log.history.keys, thief.key)
    assert verify(found.encoded, *log.history.keys).origin == ORIGIN, "the old key signed both: its holder is caught"


KILLS = kills(10, 25)
_CHILD = """
import sys
from pathlib import Path
from tests.integration.ledger.test_key_change import grow, opened
log = opened(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1000):
    grow(log)
    if number < 8:
        log.change_key(log.next_key)
    grow(log)
    log.checkpoint()
"""


@pytest.mark.slow
def test_killed_at_any_moment_one_key_is_in_force(tmp_path: Path) -> None:
    """Real processes, kill -9; each leaves a log that opens, is sound, and signs on."""
    grow(opened(tmp_path))
    seen = 0
    for number in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.075 * number / KILLS)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        log = opened(tmp_path)
        changes = log.store.key_changes()
        assert len(changes) >= seen
        seen = len(changes)
        assert log.key == signer_of(seen + 1).key
        fsck(log.store, log.history)
        grow(log)
        log.checkpoint()
        log.store.close()
    assert seen, "no change came about before a kill"


@pytest.mark.slow
def test_changes_have_an_end_and_the_key_before_it_stays_in_force(tmp_path: Path) -> None:
    with contextlib.closing(SqliteLogStore(tmp_path / "log.db")) as store:
        log = Log(store, signer_of(), lambda generation: NoteSigner(ORIGIN, generation.to_bytes(32, "big")))
        for _ in range(MAX_EARLIER_KEYS):
            grow(log)
            log.change_key(log.next_key)
        grow(log)
        with pytest.raises(MalformedKey):
            log.change_key(log.next_key)
        log.checkpoint()


def test_a_log_of_one_key_does_not_take_up_another(log: Log) -> None:
    alone = Log(log.store, signer_of())
    with pytest.raises(LedgerError):
        alone.change_key(signer_of(2).key)
    log.change_key(log.next_key)
    with pytest.raises(LogCorrupt):
        alone.checkpoint()
