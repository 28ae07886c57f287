"""A thousand writers killed at random moments under load: nothing acknowledged is lost, the log always consistent."""

from __future__ import annotations

import hashlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.ledger.fork_server import SIGNER, WORKERS, group
from tests.kills import kills
from tests.postgres import running_postgres
from tests.tools import ROOT
from twinward_ledger import merkle
from twinward_ledger.log.fsck import fsck
from twinward_ledger.log.log import Log
from twinward_ledger.log.store import LogStore
from twinward_ledger.stores import open_store
from twinward_ledger.stores.sqlite import SqliteLogStore

pytestmark = pytest.mark.slow

SQLITE_KILLS = kills(200, 1000)
POSTGRES_KILLS = kills(40, 100)
SERVER_KILLS = kills(4, 10)
MOST_DELAY_S = 0.08
MOST_WAL_BYTES = 16 << 20
"""What SQLite has to read again when it opens a log that was killed."""
MOST_STATEMENTS = 60
"""To open a log, read its root, append and sign: a handful a tile level, however long the log is."""


@pytest.fixture(scope="module")
def fork_server() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.integration.ledger.fork_server"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


@dataclass
class Counter6962:
    """The root of a growing tree by the simplest means: a binary counter of complete subtrees, largest first."""

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)

    def add(self, leaf: bytes) -> None:
        self.peaks.append(hashlib.sha256(b"\0" + leaf).digest())
        self.size += 1
        size = self.size
        while size % 2 == 0:
            right, left = self.peaks.pop(), self.peaks.pop()
            self.peaks.append(hashlib.sha256(b"\1" + left + right).digest())
            size //= 2

    def root(self) -> bytes:
        result = self.peaks[-1] if self.peaks else hashlib.sha256(b"").digest()
        for left in reversed(self.peaks[:-1]):
            result = hashlib.sha256(b"\1" + left + result).digest()
        return result


@dataclass
class Rounds:
    """The log at one URI, and all that was ever said about it, kept by plain means."""

    fork_server: subprocess.Popen[str]
    uri: str
    report: Path
    tree: Counter6962 = field(default_factory=Counter6962)
    acknowledged: int = 0

    def begin(self, round_: int, delay_s: float) -> None:
        self.report.unlink(missing_ok=True)
        assert self.fork_server.stdin is not None
        self.fork_server.stdin.write(f"{self.uri} {self.report} {round_} {delay_s}\n")
        self.fork_server.stdin.flush()

    def end(self) -> None:
        assert self.fork_server.stdout is not None
        assert self.fork_server.stdout.readline() == "killed\n"

    def check(self, store: LogStore) -> None:
        """What was there is there, what was acknowledged is there, every group is whole, the root is the leaves'."""
        before, size = self.tree.size, store.size()
        assert before <= size
        assert merkle.root_at(before, store.node) == self.tree.root()
        new = list(store.leaves(before, size))
        for line in self.report.read_bytes().splitlines() if self.report.exists() else []:
            index, leaf = line.split(b" ", 1)
            assert new[int(index) - before] == leaf
            assert store.entry(int(index)).body.endswith(leaf)
            self.acknowledged += 1
        self._require_whole_groups(new)
        for leaf in new:
            self.tree.add(leaf)
        # Not its root of now: the server may still be committing what the killed writer had sent.
        assert merkle.root_at(size, store.node) == self.tree.root()
        Log(store, SIGNER).checkpoint()  # refuses a log that no longer extends what it signed

    def _require_whole_groups(self, new: list[bytes]) -> None:
        position = 0
        while position < len(new):
            round_, worker, turn, _ = new[position].split(b"/")
            whole = [entry.leaf for entry in group(int(round_), int(worker), int(turn))]
            assert new[position : position + len(whole)] == whole
            position += len(whole)


class CountingStore(SqliteLogStore):
    """Counts the statements it runs."""

    statements = 0

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()

        def count(_: str) -> None:
            self.statements += 1

        connection.set_trace_callback(count)
        return connection


def require_cheap_opening(path: Path) -> float:
    """Reopening after a kill is bounded work, whatever the log's length. Returns the seconds it took."""
    wal = path.with_name(path.name + "-wal")
    assert not wal.exists() or wal.stat().st_size <= MOST_WAL_BYTES
    started = time.perf_counter()
    store = CountingStore(path)
    store.root()
    took_s = time.perf_counter() - started
    assert store.statements <= MOST_STATEMENTS
    store.close()
    return took_s


@pytest.mark.timeout(900)
def test_kills_under_load(
    tmp_path: Path, fork_server: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    dice, path = random.Random(20261122), tmp_path / "log.db"
    rounds, slowest_s = Rounds(fork_server, f"sqlite:{path}", tmp_path / "acknowledged"), 0.0
    for round_ in range(SQLITE_KILLS):
        rounds.begin(round_, dice.uniform(0, MOST_DELAY_S))
        rounds.end()
        slowest_s = max(slowest_s, require_cheap_opening(path))
        store = SqliteLogStore(path)
        rounds.check(store)
        if round_ % (SQLITE_KILLS // 4) == SQLITE_KILLS // 4 - 1:
            assert fsck(store, SIGNER.key).size == rounds.tree.size
        store.close()
    assert rounds.acknowledged > SQLITE_KILLS
    _require_tags(SqliteLogStore(path), rounds)
    with capsys.disabled():
        print(  # noqa: T201 - the figure is the point
            f"\n{SQLITE_KILLS} kills, {rounds.acknowledged} events acknowledged, {rounds.tree.size} in the log, none"
            f" lost; slowest reopening {slowest_s * 1e3:.0f} ms"
        )


def _require_tags(store: LogStore, rounds: Rounds) -> None:
    """The index of tags is as whole as the leaves."""
    workers = Counter(leaf.split(b"/")[1] for leaf in store.leaves(0, rounds.tree.size))
    for worker in range(WORKERS):
        assert len(store.find(b"worker%10d" % worker, limit=10**9)) == workers[b"%d" % worker]
    store.close()


@pytest.mark.timeout(900)
def test_kills_on_postgresql_of_writers_and_of_the_server(tmp_path: Path, fork_server: subprocess.Popen[str]) -> None:
    dice = random.Random(20261123)
    with running_postgres() as server:
        uri = server.database()
        open_store(uri).close()
        rounds = Rounds(fork_server, uri, tmp_path / "acknowledged")
        for round_ in range(POSTGRES_KILLS):
            delay_s = dice.uniform(0, 2 * MOST_DELAY_S)
            rounds.begin(round_, delay_s)
            if round_ % (POSTGRES_KILLS // SERVER_KILLS) == 5:
                time.sleep(delay_s / 2)
                server.stop(signal.SIGKILL if round_ % 20 == 5 else signal.SIGQUIT)
                rounds.end()
                server.start()
            else:
                rounds.end()
            store = open_store(uri)
            rounds.check(store)
            store.close()
        store = open_store(uri)
        rounds.report.unlink(missing_ok=True)
        rounds.check(store)
        assert fsck(store, SIGNER.key).size == rounds.tree.size
        _require_tags(store, rounds)
    assert rounds.acknowledged > POSTGRES_KILLS
