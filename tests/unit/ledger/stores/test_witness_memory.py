"""What is remembered of witnesses is what this node wrote, and not older than the log recorded."""

from __future__ import annotations

import hmac
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.stores.witness_memory import RECORD_AFTER_MS, Standing, WitnessMemory

GOOD, LYING = Standing.GOOD, Standing.LYING
NORTH, LAKE = "northgate+1+AA", "lakeside+2+BB"


@dataclass
class FakeLog:
    """Implements ``Voucher`` in memory."""

    heads: list[tuple[int, bytes]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    down: bool = False

    def mac(self, content: bytes) -> bytes:
        return hmac.digest(b"key", content, "sha256")

    def newest(self) -> tuple[int, bytes] | None:
        return self.heads[-1] if self.heads else None

    def record(self, changes: int, mac: bytes) -> None:
        if self.down:
            raise LogUnavailable("down")
        self.heads.append((changes, mac))

    def say(self, what: str) -> None:
        if self.down:
            raise LogUnavailable("down")
        self.said.append(what)


@pytest.fixture
def log() -> FakeLog:
    return FakeLog()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "witnesses.db"


def opened(path: Path, log: FakeLog | None) -> WitnessMemory:
    memory = WitnessMemory(path)
    if log is not None:
        memory.vouched_by(log)
    return memory


def filled(path: Path, log: FakeLog) -> None:
    """Two witnesses, the second caught lying at once, which the log records."""
    memory = opened(path, log)
    memory.note(NORTH, GOOD, at_ms=1000, size=7)
    memory.note(LAKE, GOOD, at_ms=1000, size=5)
    memory.note(LAKE, LYING, at_ms=2000, reason="a signature that does not verify")
    memory.close()


def storage(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def test_what_was_written_is_read_by_another_process(path: Path, log: FakeLog) -> None:
    filled(path, log)
    memory = opened(path, log)
    assert (memory.of(NORTH).size, memory.of(NORTH).standing) == (7, GOOD)
    assert (memory.of(LAKE).size, memory.of(LAKE).standing, memory.of(LAKE).since_ms) == (5, LYING, 2000)
    memory.note(NORTH, GOOD, at_ms=3000, size=3)
    assert (memory.of(NORTH).size, memory.of(NORTH).since_ms) == (7, 1000), "no size shrinks"
    assert log.said == ["the witness lakeside is lying: a signature that does not verify"]
    assert len(log.heads) == 1


TAMPERED: dict[str, Callable[[Path], None]] = {
    "altered row": lambda path: storage(path, "UPDATE witnesses SET standing = 'good' WHERE standing = 'lying'"),
    "larger size": lambda path: storage(path, f"UPDATE witnesses SET size = 99 WHERE key = '{NORTH}'"),
    "deleted row": lambda path: storage(path, f"DELETE FROM witnesses WHERE key = '{LAKE}'"),
    "added row": lambda path: storage(path, "INSERT INTO witnesses VALUES ('x', 1, 'good', '', 1, 1)"),
    "unknown standing": lambda path: storage(path, "UPDATE witnesses SET standing = 'saintly'"),
    "another type": lambda path: storage(path, "UPDATE witnesses SET reason = x'00ff'"),
    "another count": lambda path: storage(path, "UPDATE vouched SET changes = 9"),
    "never told": lambda path: storage(path, "UPDATE vouched SET since_ms = 99999999999999"),
    "no MAC": lambda path: storage(path, "UPDATE vouched SET mac = 5"),
    "chain deleted": lambda path: storage(path, "DELETE FROM vouched"),
    "emptied": lambda path: storage(path, "DELETE FROM vouched", "DELETE FROM witnesses"),
    "file deleted": lambda path: [one.unlink() for one in path.parent.glob("witnesses.db*")] and None,
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_storage_did_is_not_believed_and_the_log_says_so(path: Path, log: FakeLog, what: str) -> None:
    filled(path, log)
    TAMPERED[what](path)
    memory = opened(path, log)
    assert memory.all() == {}
    assert "not believed" in log.said[-1]
    assert log.heads[-1][0] > log.heads[0][0], "what was recorded before is taken never again"
    memory.note(NORTH, GOOD, at_ms=5000, size=8)
    memory.close()
    assert opened(path, log).of(NORTH).size == 8
    assert len(log.said) == 2


def test_an_older_copy_is_not_believed(path: Path, log: FakeLog, tmp_path: Path) -> None:
    memory = opened(path, log)
    memory.note(LAKE, GOOD, at_ms=1000, size=5)
    memory.close()
    shutil.copy(path, tmp_path / "older")
    filled(path, log)
    shutil.copy(tmp_path / "older", path)
    assert opened(path, log).all() == {}
    assert "older copy" in log.said[-1]


def test_changes_without_an_alarm_are_recorded_after_an_hour(path: Path, log: FakeLog) -> None:
    memory = opened(path, log)
    for minute in range(60):
        memory.note(NORTH, GOOD, at_ms=1000 + minute * 60_000, size=minute)
    assert log.heads == []
    memory.note(NORTH, GOOD, at_ms=1000 + RECORD_AFTER_MS, size=61)
    assert [changes for changes, _ in log.heads] == [61]
    memory.note(NORTH, GOOD, at_ms=2000 + RECORD_AFTER_MS, size=62)
    assert len(log.heads) == 1


def test_a_log_that_is_down_is_told_at_the_next_change(path: Path, log: FakeLog) -> None:
    log.down = True
    filled(path, log)
    memory = opened(path, log)
    memory.note(LAKE, GOOD, at_ms=2500)
    log.down = False
    memory.note(LAKE, LYING, at_ms=3000, reason="again")
    assert [changes for changes, _ in log.heads] == [5]


def test_rows_of_an_older_twinward_are_taken_over(path: Path, log: FakeLog) -> None:
    memory = opened(path, None)
    memory.note(NORTH, GOOD, at_ms=1000, size=7)
    memory.close()
    storage(path, "DROP TABLE vouched")
    memory = opened(path, log)
    memory.note(LAKE, GOOD, at_ms=2000, size=5)
    assert (memory.of(NORTH).size, memory.of(LAKE).size, log.said) == (7, 5, [])
