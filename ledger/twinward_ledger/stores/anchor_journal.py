"""The anchors one log has made or is about to make, in one SQLite file.

An anchor is written here *before* it is sent and confirmed after, so a crash in between is found again: the next run
asks the chain whether it arrived. The note is kept beside it, because a proof bundle needs the very checkpoint that
was anchored. Why anchoring waits, and when the chain last took anchors back, is kept too, for whoever asks later.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinward_crypto.canonical import canonicalize
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.formats.anchor_record import AnchorRecord
from twinward_ledger.storage import sqlite_files

_SCHEMA = """
CREATE TABLE IF NOT EXISTS anchors (
    size INTEGER PRIMARY KEY, note BLOB NOT NULL, record BLOB NOT NULL, confirmed INTEGER NOT NULL
)
"""
_TROUBLE = "CREATE TABLE IF NOT EXISTS trouble (kind TEXT PRIMARY KEY, since_ms INTEGER NOT NULL, text TEXT NOT NULL)"
_WAITS, _TAKEN_BACK = "waits", "taken back"
_CLOCK_ACCEPTED, _TIME_ACCEPTED = "clock accepted", "time accepted"
_MAX_TEXT = 500

Anchored = tuple[bytes, AnchorRecord]
"""A whole signed checkpoint and its anchor."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong with the chain: what, in a sentence, and since when (milliseconds since the epoch)."""

    since_ms: int
    text: str


class AnchorJournal:
    """Durable record of one log's anchors. Safe to share between threads. Raises ``LogUnavailable``."""

    def __init__(self, path: Path | str) -> None:
        """Open or create the file."""
        self._lock = threading.Lock()
        try:
            self._connection = sqlite_files.connect(path)
        except sqlite3.Error as error:
            raise LogUnavailable(f"the anchor journal cannot be opened: {error}") from error
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _SCHEMA, _TROUBLE):
            self._run(statement)

    def prepare(self, note: bytes, record: AnchorRecord) -> None:
        """Keep an anchor that is about to be sent."""
        size, data = record.statement.size, canonicalize(record.to_json())
        self._run("INSERT OR REPLACE INTO anchors VALUES (?, ?, ?, 0)", size, note, data)

    def confirm(self, record: AnchorRecord) -> None:
        """An anchor is on the chain."""
        size, data = record.statement.size, canonicalize(record.to_json())
        self._run("UPDATE anchors SET record = ?, confirmed = 1 WHERE size = ?", data, size)

    def drop(self, size: int) -> None:
        """An anchor never arrived and a larger one has overtaken it."""
        self._run("DELETE FROM anchors WHERE size = ? AND confirmed = 0", size)

    def retract(self, beyond: int, at_ms: int) -> int:
        """The chain no longer holds anchors of more than ``beyond`` entries: they wait again. Returns how many."""
        (count,) = self._run("SELECT count(*) FROM anchors WHERE confirmed = 1 AND size > ?", beyond)[0]
        if count:
            self._run("UPDATE anchors SET confirmed = 0 WHERE confirmed = 1 AND size > ?", beyond)
            text = f"the chain was reorganised: it kept {beyond} anchored entries; what it lost is anchored again"
            self._run("INSERT OR REPLACE INTO trouble VALUES (?, ?, ?)", _TAKEN_BACK, at_ms, text)
        return int(count)

    def note_problem(self, problem: str, at_ms: int) -> None:
        """Keep why anchoring waits, and since its first failure; an empty text says that it no longer does."""
        if not problem:
            self._run("DELETE FROM trouble WHERE kind = ?", _WAITS)
            return
        sql = "INSERT INTO trouble VALUES (?, ?, ?) ON CONFLICT (kind) DO UPDATE SET text = excluded.text"
        self._run(sql, _WAITS, at_ms, problem[:_MAX_TEXT])

    def problem(self) -> Trouble | None:
        """Why anchoring waits; None where it does not."""
        return self._trouble(_WAITS)

    def taken_back(self) -> Trouble | None:
        """The last time that the chain lost anchors it had confirmed; None if it never did."""
        return self._trouble(_TAKEN_BACK)

    def accept_clock(self, clock_s: int, at_ms: int) -> None:
        """The operator says that the clock is right, however long the log has rested."""
        self._run("INSERT OR REPLACE INTO trouble VALUES (?, ?, ?)", _CLOCK_ACCEPTED, at_ms, str(clock_s))

    def accept_time(self, anchored_s: int, at_ms: int) -> None:
        """The operator wants anchors dated as the last one, which is ahead of the clock, until that time has come."""
        self._run("INSERT OR REPLACE INTO trouble VALUES (?, ?, ?)", _TIME_ACCEPTED, at_ms, str(anchored_s))

    def accepted_clock(self) -> int:
        """The newest clock that was accepted, Unix seconds; 0 if none was."""
        found = self._trouble(_CLOCK_ACCEPTED)
        return int(found.text) if found else 0

    def accepted_time(self) -> int:
        """The time that anchors may be dated ahead, Unix seconds; 0 if none was accepted."""
        found = self._trouble(_TIME_ACCEPTED)
        return int(found.text) if found else 0

    def unconfirmed(self) -> list[Anchored]:
        """Anchors that were or were not sent, smallest first."""
        return self._anchors("SELECT note, record FROM anchors WHERE confirmed = 0 ORDER BY size")

    def newest(self) -> Anchored | None:
        """The largest confirmed anchor."""
        found = self._anchors("SELECT note, record FROM anchors WHERE confirmed = 1 ORDER BY size DESC LIMIT 1")
        return found[0] if found else None

    def largest(self) -> bytes | None:
        """The signed checkpoint of the largest anchor, sent or not."""
        found = self._run("SELECT note FROM anchors ORDER BY size DESC LIMIT 1")
        return bytes(found[0][0]) if found else None

    def notes(self) -> list[bytes]:
        """The signed checkpoints of all anchors, sent or not, smallest first."""
        return [bytes(note) for (note,) in self._run("SELECT note FROM anchors ORDER BY size")]

    def covering(self, index: int) -> Anchored | None:
        """The first confirmed anchor whose tree holds an entry: its proof never changes again."""
        sql = "SELECT note, record FROM anchors WHERE confirmed = 1 AND size > ? ORDER BY size LIMIT 1"
        found = self._anchors(sql, index)
        return found[0] if found else None

    def close(self) -> None:
        """Give back the file."""
        self._connection.close()

    def _trouble(self, kind: str) -> Trouble | None:
        rows = self._run("SELECT since_ms, text FROM trouble WHERE kind = ?", kind)
        return Trouble(*rows[0]) if rows else None

    def _anchors(self, sql: str, *parameters: object) -> list[Anchored]:
        return [
            (bytes(note), AnchorRecord.from_json(json.loads(record))) for note, record in self._run(sql, *parameters)
        ]

    def _run(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise LogUnavailable(f"the anchor journal does not answer: {error}") from error
