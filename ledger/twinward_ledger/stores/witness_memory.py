"""What a log remembers of its witnesses, in one SQLite file: how far each got, and what it last did wrong.

The size matters for safety: a witness that holds less than it has cosigned was restored from a backup, and only
somebody else's memory can tell. The rest is for people: who is down, behind or lying, and since when.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from twinward_ledger.errors import LogUnavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS witnesses (
    key TEXT PRIMARY KEY, size INTEGER NOT NULL, standing TEXT NOT NULL, reason TEXT NOT NULL,
    since_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL
) WITHOUT ROWID
"""


class Standing(StrEnum):
    """What a witness did when it was last asked."""

    UNKNOWN = "not asked yet"
    GOOD = "good"
    DOWN = "down"
    SLOW = "slow"
    REFUSES = "refuses"
    LYING = "lying"
    ROLLED_BACK = "rolled back"
    SPLIT_VIEW = "split view"


@dataclass(frozen=True, slots=True)
class WitnessRecord:
    """One witness as this log knows it.

    Attributes:
        size: the largest size it cosigned; 0 for none.
        standing: what it did when last asked.
        reason: what it said, or why its answer was refused; empty where it is good.
        since_ms: since when it stands like that.
        at_ms: when it was last asked.
    """

    size: int = 0
    standing: Standing = Standing.UNKNOWN
    reason: str = ""
    since_ms: int = 0
    at_ms: int = 0


class WitnessMemory:
    """The records of all witnesses of one log. Safe to share between threads and processes."""

    def __init__(self, path: Path | str) -> None:
        """Open or create the file. Raises ``LogUnavailable``."""
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A record lost in a power cut is asked for again; the checkpoint itself keeps the cosignature.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise LogUnavailable(f"what is known of the witnesses cannot be opened: {error}") from error

    def of(self, key: str) -> WitnessRecord:
        """The record of the witness with this verifier key."""
        return self._read("WHERE key = ?", (key,)).get(key, WitnessRecord())

    def all(self) -> dict[str, WitnessRecord]:
        """Every record, by verifier key."""
        return self._read("", ())

    def note(self, key: str, standing: Standing, *, at_ms: int, size: int = 0, reason: str = "") -> None:
        """Write down what a witness did. Its size never shrinks."""
        sql = """
            INSERT INTO witnesses VALUES (:key, :size, :standing, :reason, :at, :at)
            ON CONFLICT (key) DO UPDATE SET size = max(size, :size), reason = :reason, at_ms = :at,
                since_ms = CASE WHEN standing = :standing THEN since_ms ELSE :at END, standing = :standing
        """
        values = {"key": key, "size": size, "standing": standing.value, "reason": reason, "at": at_ms}
        try:
            with self._lock:
                self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise LogUnavailable(f"what is known of the witnesses cannot be written: {error}") from error

    def close(self) -> None:
        """Give back the file; closing twice is harmless."""
        with self._lock:
            self._connection.close()

    def _read(self, where: str, parameters: tuple[object, ...]) -> dict[str, WitnessRecord]:
        try:
            with self._lock:
                rows = self._connection.execute(f"SELECT * FROM witnesses {where}", parameters).fetchall()  # noqa: S608
        except sqlite3.Error as error:
            raise LogUnavailable(f"what is known of the witnesses cannot be read: {error}") from error
        return {key: WitnessRecord(size, Standing(what), why, since, at) for key, size, what, why, since, at in rows}
