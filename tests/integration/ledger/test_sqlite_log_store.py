"""What is SQLite's own about the log store: its file, its errors, what erasing leaves on disk, and a killed writer."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from twinward_ledger import merkle
from twinward_ledger.errors import LogCorrupt, LogUnavailable
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore


def test_erased_bytes_are_gone_from_every_file(tmp_path: Path) -> None:
    secrets = [os.urandom(40), os.urandom(9000)]  # within a page, and over several
    with_files = SqliteLogStore(tmp_path / "log.db")
    with_files.append([Entry(b"a", secrets[0]), Entry(b"b", secrets[1]), Entry(b"c", b"stays here")])
    assert on_disk(tmp_path, secrets[0])
    with_files.erase_body(0)
    with_files.erase_body(1)
    assert on_disk(tmp_path, b"stays here")
    for secret in secrets:
        assert not any(on_disk(tmp_path, secret[i : i + 16]) for i in range(0, len(secret) - 16, 16))
    with_files.close()


def on_disk(folder: Path, needle: bytes) -> bool:
    return any(needle in file.read_bytes() for file in folder.iterdir())


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    SqliteLogStore(tmp_path / "log.db").close()
    assert (tmp_path / "log.db").stat().st_mode & 0o077 == 0


def test_every_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """A killed process cannot show it, only a power cut could: so it is asked."""
    store = SqliteLogStore(tmp_path / "log.db")
    full = 2
    assert store._writer.execute("PRAGMA synchronous").fetchone() == (full,)
    assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "log.db"
    if content is None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE other (x)")
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(LogUnavailable):
        SqliteLogStore(path)
    if content is not None:
        assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable):
        SqliteLogStore(tmp_path / "no" / "log.db")
    with pytest.raises(LogUnavailable):
        SqliteLogStore(tmp_path / "no.db", read_only=True)
    assert not (tmp_path / "no.db").exists()


def test_read_only_reads_and_refuses_to_write(tmp_path: Path) -> None:
    writer = SqliteLogStore(tmp_path / "log.db")
    writer.append([Entry(b"a", b"b")])
    reader = SqliteLogStore(tmp_path / "log.db", read_only=True)
    assert reader.entry(0) == Entry(b"a", b"b")
    with pytest.raises(LogUnavailable):
        reader.append([Entry(b"c", b"d")])
    with pytest.raises(LogUnavailable):
        reader.save_checkpoint(1, b"n")
    reader.close()
    writer.close()


def test_a_locked_file_is_unavailable_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinward_ledger.stores.sqlite.BUSY_TIMEOUT_S", 0.05)
    store = SqliteLogStore(tmp_path / "log.db")
    store.append([Entry(b"a", b"")])
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable):
        store.append([Entry(b"b", b"")])
    other.execute("ROLLBACK")
    other.close()
    assert store.append([Entry(b"b", b"")]) == range(1, 2)
    assert store.root() == merkle.root([merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")])
    store.close()


def test_a_full_disk_is_unavailable_and_the_log_goes_on(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "log.db")
    store.append([Entry(b"a", b"")])
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LogUnavailable):
        store.append([Entry(b"b", b"x" * 100_000)])
    assert store.size() == 1
    store._writer.execute("PRAGMA max_page_count = 1000000")
    assert store.append([Entry(b"b", b"")]) == range(1, 2)
    assert store.root() == merkle.root([merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")])
    store.close()


def test_a_failed_append_is_forgotten_even_if_another_process_fills_its_place(tmp_path: Path) -> None:
    """The failure comes last of all, at the head: what the store remembered of the tree must not outlive it."""
    store, other = SqliteLogStore(tmp_path / "log.db"), SqliteLogStore(tmp_path / "log.db")
    store.append([Entry(b"a", b"")])
    other._writer.execute("CREATE TRIGGER full BEFORE UPDATE ON head BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(LogUnavailable):
        store.append([Entry(b"lost", b"")])
    other._writer.execute("DROP TRIGGER full")
    other.append([Entry(b"b", b"")])
    store.append([Entry(b"c", b"")])
    assert store.root() == merkle.root([merkle.leaf_hash(leaf) for leaf in (b"a", b"b", b"c")])
    store.close()
    other.close()


def test_a_missing_row_is_named(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "log.db")
    store.append([Entry(b"%d" % n, b"") for n in range(10)])
    store._writer.execute("DELETE FROM leaves WHERE idx = 4")
    with pytest.raises(LogCorrupt) as caught:
        list(store.leaves(0, 10))
    assert caught.value.first_bad_index == 4
    with pytest.raises(LogCorrupt) as caught:
        store.entry(4)
    assert caught.value.first_bad_index == 4
    store.close()


def test_a_log_of_version_1_is_brought_up_to_date(tmp_path: Path) -> None:
    """Version 1 kept a row for every tag of every entry."""
    common, rare = b"c" * 16, b"r" * 16
    store = SqliteLogStore(tmp_path / "log.db")
    store.append([Entry(b"%d" % n, b"", (common, rare) if n % 700 == 0 else (common,)) for n in range(3000)])
    root = store.root()
    store.close()
    connection = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    connection.execute("DROP TABLE postings")
    connection.execute("DROP TABLE key_changes")
    connection.execute(
        "CREATE TABLE tags (tag BLOB NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (tag, idx)) WITHOUT ROWID"
    )
    rows = [(common, n) for n in range(3000)] + [(rare, n) for n in range(0, 3000, 700)]
    connection.executemany("INSERT INTO tags VALUES (?, ?)", rows)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(LogUnavailable, match="version 3"):
        SqliteLogStore(tmp_path / "log.db", read_only=True)
    again = SqliteLogStore(tmp_path / "log.db")
    assert again.find(rare) == [2800, 2100, 1400, 700, 0]
    assert again.find(common, before=2048, limit=3) == [2047, 2046, 2045]
    assert again.find(common, limit=5000) == list(range(2999, -1, -1))
    assert again.append([Entry(b"new", b"", (common,))]) == range(3000, 3001)
    assert again.find(common, limit=1) == [3000]
    assert again.root() != root
    again.close()


def test_concurrent_appends_share_transactions(tmp_path: Path) -> None:
    store = SqliteLogStore(tmp_path / "log.db")
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    store._writer.set_trace_callback(count)
    threads = [threading.Thread(target=store.append, args=([Entry(b"%d" % n, b"")],)) for n in range(64)]
    with store._group.lock:  # everyone queues up behind it
        for thread in threads:
            thread.start()
        while len(store._group._queue) < 64:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert store.size() == 64
    assert commits == 1
    store.close()
