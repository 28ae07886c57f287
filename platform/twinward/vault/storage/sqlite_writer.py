"""A durable write of a few rows into the record store's SQLite file, by the driver itself: what one create needs.

Only what is certain is done here: new records, and versions that follow the newest one in its row. Anything else
(a conflict, a newest version that stands in a segment) is undone and left to ``RelationalRecordStore``, which knows
what it is and says so.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from twinward.vault.interfaces import SealedRow
from twinward.vault.storage.rows import SEALED_COLUMNS, head_values, sealed_values
from twinward.vault.storage.sqlite_engine import BUSY_TIMEOUT_S, PRAGMAS, translated
from twinward_ledger import sqlite_files

_INSERT_HEAD = "INSERT INTO record_head (record_id, version, twin, category_tag) VALUES (?, ?, ?, ?)"
_INSERT_TAG = "INSERT INTO record_tag (tag, record_id) VALUES (?, ?)"
_INSERT_SEALED = (
    f"INSERT INTO sealed_record ({', '.join(SEALED_COLUMNS)}) VALUES ({', '.join('?' * len(SEALED_COLUMNS))})"  # noqa: S608
)
_ADVANCE = "UPDATE record_head SET version = ?, category_tag = ? WHERE record_id = ? AND version = ? AND twin = ?"


class SqliteWriter:
    """One connection that writes, shared by the threads of this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def put(self, runs: Sequence[Sequence[SealedRow]], absent: Sequence[bytes] = ()) -> bool:
        """Store runs of versions, one record's each, durably and all or none. False where nothing was stored here.

        Nothing is stored where anything carries one of the tags that are said to be absent.
        """
        with self._lock, translated(self._path):
            db = self._db or self._connect()
            db.execute("BEGIN IMMEDIATE")
            try:
                stored = not _any_found(db, absent) and self._write(db, runs)
                db.execute("COMMIT" if stored else "ROLLBACK")
            except BaseException as error:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if not isinstance(error, sqlite3.IntegrityError):
                    raise
                stored = False
            return stored

    def close(self) -> None:
        """Give back the connection."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _write(self, db: sqlite3.Connection, runs: Sequence[Sequence[SealedRow]]) -> bool:
        db.executemany(_INSERT_HEAD, [head_values(run[-1]) for run in runs if run[0].version == 1])
        for run in runs:
            first, last = run[0], run[-1]
            if first.version == 1:
                continue
            place = (last.version, last.category_tag, first.record_id, first.version - 1, first.twin)
            if db.execute(_ADVANCE, place).rowcount != 1:
                return False
            db.execute("DELETE FROM record_tag WHERE record_id = ?", (first.record_id,))
        db.executemany(_INSERT_SEALED, [sealed_values(row) for run in runs for row in run])
        tags = [(tag, run[-1].record_id) for run in runs for tag in dict.fromkeys(run[-1].tags)]
        db.executemany(_INSERT_TAG, tags)
        return True

    def _connect(self) -> sqlite3.Connection:
        db = sqlite_files.connect(self._path, timeout_s=BUSY_TIMEOUT_S)
        for pragma in PRAGMAS:
            db.execute(pragma)
        self._db = db
        return db


def _any_found(db: sqlite3.Connection, tags: Sequence[bytes]) -> bool:
    if not tags:
        return False
    among = f"({', '.join('?' * len(tags))})"
    found = f"SELECT 1 FROM record_tag WHERE tag IN {among} UNION ALL SELECT 1 FROM segment_tag WHERE tag IN {among}"  # noqa: S608
    return db.execute(f"{found} LIMIT 1", (*tags, *tags)).fetchone() is not None
