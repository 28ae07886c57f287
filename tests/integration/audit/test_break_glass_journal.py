"""The break-glass journal as a file: bounded, signed, chained, replayed exactly once, careful with what was altered."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools import ROOT
from twinward.audit.break_glass import journal as module
from twinward.audit.break_glass.journal import BreakGlassJournal
from twinward.audit.errors import LogNotWritten
from twinward.audit.status import Replayed
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore

SIGNER = NoteSigner("st-anna.example/access", b"j" * 32)


def entry(number: int) -> Entry:
    return Entry(b"leaf %d" % number, b"sealed %d" % number, (b"t" * 16, b"%16d" % number))


class Log:
    """A log in memory that may be down."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.down = False

    def append(self, entries: Sequence[Entry]) -> range:
        if self.down:
            raise LogNotWritten("down")
        self.entries += entries
        return range(len(self.entries) - len(entries), len(self.entries))

    def known(self, one: Entry) -> int | None:
        return self.entries.index(one) if one in self.entries else None

    def replay(self, journal: BreakGlassJournal) -> int:
        return journal.replay(self.append, self.known)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "break-glass.journal"


@pytest.fixture
def journal(path: Path) -> BreakGlassJournal:
    return BreakGlassJournal(path, SIGNER)


def test_what_is_kept_is_replayed_once_in_order(path: Path, journal: BreakGlassJournal) -> None:
    log = Log()
    assert not journal.waiting()
    assert log.replay(journal) == 0
    assert journal.append([entry(0)], 1000) == range(1)
    assert journal.append([entry(1), entry(2)], 2000) == range(1, 3)
    state = journal.state()
    assert (state.waiting, state.from_ms, state.to_ms, state.lost, state.evidence) == (3, 1000, 2000, 0, ())
    log.down = True
    with pytest.raises(LogNotWritten):
        log.replay(journal)
    log.down = False
    assert log.replay(BreakGlassJournal(path, SIGNER)) == 3
    assert log.entries == [entry(0), entry(1), entry(2)]
    assert log.replay(journal) == 0
    replayed = journal.state().replayed
    assert replayed is not None
    assert (replayed.count, replayed.first_index, replayed.last_index, replayed.from_ms) == (3, 0, 2, 1000)
    assert journal.append([entry(3)], 3000) == range(3, 4), "numbers never come twice"
    assert log.replay(journal) == 1
    assert len(log.entries) == 4


def test_a_crash_after_the_append_replays_nothing_twice(path: Path, journal: BreakGlassJournal) -> None:
    log = Log()
    journal.append([entry(0), entry(1)], 1000)
    before = path.read_bytes()
    log.replay(journal)
    path.write_bytes(before)  # as if the process had died before it began anew
    journal.append([entry(2)], 2000)
    assert log.replay(journal) == 3
    assert log.entries == [entry(0), entry(1), entry(2)]


def test_it_is_its_owners_alone_and_bounded(
    path: Path, journal: BreakGlassJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 3)
    journal.append([entry(0), entry(1)], 0)
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}
    before = path.read_bytes()
    with pytest.raises(LogNotWritten, match="full: 2 accesses"):
        journal.append([entry(2), entry(3)], 0)
    assert path.read_bytes() == before
    journal.append([entry(2)], 0)
    log = Log()
    log.replay(journal)
    journal.append([entry(3)], 0)
    monkeypatch.setattr(module, "MAX_JOURNAL_BYTES", path.stat().st_size + 10)
    with pytest.raises(LogNotWritten, match="full"):
        journal.append([entry(4)], 0)


@pytest.mark.parametrize("kept", [1, 10, 60, 250])
def test_half_a_record_was_never_acknowledged(path: Path, journal: BreakGlassJournal, kept: int) -> None:
    journal.append([entry(0)], 0)
    whole = path.read_bytes()
    journal.append([entry(1)], 0)
    torn = path.read_bytes()[: len(whole) + kept]
    for content in (torn, whole + bytes(kept)):
        path.write_bytes(content)
        again, log = BreakGlassJournal(path, SIGNER), Log()
        assert (again.state().waiting, again.state().evidence) == (1, ())
        again.append([entry(2)], 0)
        assert log.replay(again) == 2
        assert log.entries == [entry(0), entry(2)]
        assert again.state().evidence == ()


def test_an_altered_journal_is_kept_as_evidence_and_its_sound_part_replayed(
    path: Path, journal: BreakGlassJournal
) -> None:
    for number in range(4):
        journal.append([entry(number)], number)
    altered = bytearray(path.read_bytes())
    altered[altered.index(b'"seq":2') + 6] = ord("7")
    path.write_bytes(altered)
    log = Log()
    assert journal.state().evidence == (path,)
    assert log.replay(journal) == 2
    assert log.entries == [entry(0), entry(1)]
    (evidence,) = journal.state().evidence
    assert evidence.read_bytes() == altered
    assert journal.state().replayed == Replayed(2, 0, 1, 0, 1, 2)
    journal.append([entry(4)], 4)  # care goes on
    assert log.replay(journal) == 1
    assert journal.state().evidence == (evidence,)


@settings(max_examples=80)
@given(st.data())
def test_no_altered_byte_gets_anything_else_into_the_log(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    journal = BreakGlassJournal(path, SIGNER)
    journal.append([entry(0), entry(1)], 0)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    log = Log()
    log.replay(journal)
    assert log.entries in ([], [entry(0)])
    state = journal.state()
    assert state.evidence or state.lost or (state.replayed and state.replayed.lost), "it shows"


def test_another_keys_records_spliced_or_swapped_ones_are_refused(path: Path, journal: BreakGlassJournal) -> None:
    forger = BreakGlassJournal(path, NoteSigner("st-anna.example/access", b"f" * 32))
    forger.append([entry(0)], 0)
    log = Log()
    assert journal.state().evidence == (path,)
    assert log.replay(journal) == 0
    assert log.entries == []
    journal.append([entry(1)], 0)
    first = path.read_bytes()
    log.replay(journal)
    journal.append([entry(2)], 0)
    second = path.read_bytes()
    path.write_bytes(first + second)  # a beginning in the middle
    log.replay(journal)
    assert log.entries == [entry(1)], "what was replayed before is not taken in again"


def test_a_record_of_another_journal_does_not_fit_in_whatever_its_number(path: Path) -> None:
    """Signed by the very same key, and of the right number: it follows another record."""
    halves: list[tuple[bytes, bytes]] = []
    for start in (0, 10):
        journal = BreakGlassJournal(path, SIGNER)
        journal.append([entry(start)], 0)
        first = path.read_bytes()
        journal.append([entry(start + 1)], 0)
        halves.append((first, path.read_bytes()[len(first) :]))
        path.unlink()
    path.write_bytes(halves[0][0] + halves[1][1])
    log = Log()
    assert log.replay(BreakGlassJournal(path, SIGNER)) == 1
    assert log.entries == [entry(0)]
    assert len(BreakGlassJournal(path, SIGNER).state().evidence) == 1


def test_records_cut_off_show_as_a_gap(path: Path, journal: BreakGlassJournal) -> None:
    journal.append([entry(0)], 0)
    short = path.read_bytes()
    journal.append([entry(1), entry(2)], 0)
    path.write_bytes(short)
    assert journal.state().lost == 2
    journal.append([entry(3)], 0)
    log = Log()
    again = BreakGlassJournal(path, SIGNER)
    assert again.state().lost == 2, "what is written later carries the gap"
    log.replay(again)
    assert log.entries == [entry(0), entry(3)]
    replayed = again.state().replayed
    assert replayed is not None
    assert replayed.lost == 2
    path.unlink()
    journal.append([entry(4)], 0)
    assert journal.state().waiting == 1


def test_threads_and_objects_share_a_file(path: Path) -> None:
    log, numbers, lock = Log(), [], threading.Lock()

    def work(worker: int) -> None:
        journal = BreakGlassJournal(path, SIGNER)
        for turn in range(10):
            given = journal.append([entry(100 * worker + turn)], 0)
            with lock:
                numbers.extend(given)
            if turn % 5 == 4:
                journal.replay(log.append, log.known)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.replay(BreakGlassJournal(path, SIGNER))
    assert sorted(numbers) == list(range(40))
    assert sorted(one.leaf for one in log.entries) == sorted(
        entry(100 * w + t).leaf for w in range(4) for t in range(10)
    )


def test_a_place_that_cannot_be_written_refuses(tmp_path: Path) -> None:
    journal = BreakGlassJournal(tmp_path / "nowhere" / "j", SIGNER)
    with pytest.raises(LogNotWritten):
        journal.append([entry(0)], 0)


WRITER = """
import os, sys
from pathlib import Path
from tests.integration.audit.test_break_glass_journal import SIGNER, entry
from twinward.audit.break_glass.journal import BreakGlassJournal
from twinward_ledger.stores.sqlite import SqliteLogStore

def known(store, one):
    found = store.find(one.tags[1], limit=1)
    return found[0] if found else None

def write(path, log, start):
    store, journal = SqliteLogStore(log), BreakGlassJournal(Path(path), SIGNER)
    number = start
    while True:
        journal.append([entry(number)], number)
        os.write(1, b"%d\\n" % number)
        number += 1
        if number % 3 == 0:
            journal.replay(store.append, lambda one: known(store, one))

for line in sys.stdin:
    path, log, start = line.split()
    child = os.fork()
    if child == 0:
        write(path, log, int(start))
    os.write(1, b"pid %d\\n" % child)
    os.waitpid(child, 0)
    os.write(1, b"gone\\n")
"""


@pytest.mark.slow
def test_kill_9_between_any_two_steps_loses_and_doubles_nothing(tmp_path: Path, path: Path) -> None:
    """A hundred and fifty writers that journal and replay in turn, each killed in the middle of it."""
    dice, acknowledged = random.Random(20261122), set[int]()
    log = tmp_path / "log.db"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as fork_server:
        assert fork_server.stdin is not None
        assert fork_server.stdout is not None
        for round_ in range(150):
            fork_server.stdin.write(f"{path} {log} {1000 * round_}\n")
            fork_server.stdin.flush()
            said: list[str] = []
            pid = 0
            # Half of them are killed once they have written at all, however busy the machine is.
            while not pid or (round_ % 2 and len(said) < 2):
                said.append(fork_server.stdout.readline())
                if said[-1].startswith("pid"):
                    pid = int(said[-1].split()[1])
            time.sleep(dice.uniform(0, 0.06))
            os.kill(pid, signal.SIGKILL)
            while said[-1] != "gone\n":
                said.append(fork_server.stdout.readline())
            acknowledged |= {int(line) for line in said if line[:-1].isdigit()}
        fork_server.stdin.close()
    store, journal = SqliteLogStore(log), BreakGlassJournal(path, SIGNER)
    journal.replay(store.append, lambda one: next(iter(store.find(one.tags[1], limit=1)), None))
    leaves = list(store.leaves(0, store.size()))
    assert len(leaves) == len(set(leaves)), "nothing twice"
    assert {entry(number).leaf for number in acknowledged} <= set(leaves), "nothing lost"
    assert len(acknowledged) >= 75
    assert journal.state().evidence == ()
    store.close()
