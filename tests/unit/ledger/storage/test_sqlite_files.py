from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.read_only import read_only
from twinward_ledger.storage.sqlite_files import connect


def laid(path: Path) -> sqlite3.Connection:
    db = connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (x)")
    db.execute("INSERT INTO t VALUES (1)")
    return db


@pytest.mark.parametrize("unwritten", [False, True])
def test_a_file_on_a_read_only_disk_shows_all_that_was_committed(tmp_path: Path, unwritten: bool) -> None:
    live, still = tmp_path / "live", tmp_path / "still"
    live.mkdir()
    with closing(laid(live / "a.db")) as db:
        if unwritten:
            shutil.copytree(live, still)  # the write-ahead log and its index with it
            assert (still / "a.db-wal").stat().st_size > 0
        db.execute("INSERT INTO t VALUES (2)")
    if not unwritten:
        shutil.copytree(live, still)
    with read_only(still, tmp_path / "mounted") as folder, closing(connect(folder / "a.db")) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE IF NOT EXISTS t (x)")
        assert db.execute("SELECT count(*) FROM t").fetchone() == (1 if unwritten else 2,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("INSERT INTO t VALUES (3)")


def test_a_name_with_signs_of_a_uri_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "50% ?mode=ro#.db"
    with closing(laid(path)):
        assert path.is_file()
    with pytest.raises(sqlite3.OperationalError):
        connect(tmp_path / "none.db", mode="rw")
    with closing(connect(":memory:")) as db:
        db.execute("CREATE TABLE t (x)")
