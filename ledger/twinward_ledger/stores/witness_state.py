"""What a witness has cosigned, in one SQLite file: it must survive a power cut, or the witness could be made to forget.

Every checkpoint is kept whole, so that a later contradiction of *any* of them is provable with both signed notes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.storage import sqlite_files

_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    origin TEXT NOT NULL, size INTEGER NOT NULL, note BLOB NOT NULL, PRIMARY KEY (origin, size)
) WITHOUT ROWID
"""
_ACCEPTED = """
CREATE TABLE IF NOT EXISTS accepted_times (
    chain_id TEXT NOT NULL, contract BLOB NOT NULL, time_s INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (chain_id, contract)
) WITHOUT ROWID
"""

Seen = tuple[int, bytes]
"""A size and the whole signed checkpoint of that size."""


class WitnessState:
    """The checkpoints one witness has cosigned. Safe to share between threads and processes."""

    def __init__(self, path: Path | str) -> None:
        """Open or create the file. Raises ``LogUnavailable``."""
        self._lock = threading.RLock()  # re-entered by the check that runs inside ``advance``
        try:
            self._connection = sqlite_files.connect(path)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_SCHEMA)
            self._connection.execute(_ACCEPTED)
        except sqlite3.Error as error:
            raise LogUnavailable(f"the witness's state cannot be opened: {error}") from error

    def newest(self, origin: str) -> Seen | None:
        """The largest checkpoint of a log."""
        return self._one("SELECT size, note FROM seen WHERE origin = ? ORDER BY size DESC LIMIT 1", (origin,))

    def at(self, origin: str, size: int) -> Seen | None:
        """The checkpoint of a log at one size, if that very size was ever cosigned."""
        return self._one("SELECT size, note FROM seen WHERE origin = ? AND size = ?", (origin, size))

    def advance(self, origin: str, size: int, note: bytes, check: Callable[[], None]) -> None:
        """Run ``check`` (which reads this state and may refuse by raising) and keep the checkpoint, as one atomic step.

        Durable on return. Without the atomicity two requests could pass their checks side by side and the smaller one
        roll the larger one back (c2sp.org/tlog-witness, "add-checkpoint").
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    check()
                    self._connection.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (origin, size, note))
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise LogUnavailable(f"the witness's state cannot be written: {error}") from error

    def accept_time(self, chain_id: int, contract: bytes, time_s: int, at_ms: int) -> None:
        """Keep that the operator had anchors of a contract dated ``time_s``, ahead of the clock, and when. Durable."""
        try:
            with self._lock:
                row = (str(chain_id), contract, time_s, at_ms)
                self._connection.execute("INSERT OR REPLACE INTO accepted_times VALUES (?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise LogUnavailable(f"the witness's state cannot be written: {error}") from error

    def accepted_time(self, chain_id: int, contract: bytes) -> int:
        """The time ahead of the clock that anchors of a contract may bear, Unix seconds; 0 if none was accepted."""
        sql = "SELECT time_s, x'' FROM accepted_times WHERE chain_id = ? AND contract = ?"
        found = self._one(sql, (str(chain_id), contract))
        return found[0] if found else 0

    def close(self) -> None:
        """Give back the file."""
        self._connection.close()

    def _one(self, sql: str, parameters: tuple[object, ...]) -> Seen | None:
        try:
            with self._lock:
                row = self._connection.execute(sql, parameters).fetchone()
        except sqlite3.Error as error:
            raise LogUnavailable(f"the witness's state cannot be read: {error}") from error
        return (int(row[0]), bytes(row[1])) if row else None
