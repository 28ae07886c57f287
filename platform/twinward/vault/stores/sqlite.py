"""Sealed rows in SQLite: write-ahead log, ``synchronous=FULL``, one transaction per ``put``."""

from __future__ import annotations

from pathlib import Path

from twinward.vault.database import Schema
from twinward.vault.sqlite_engine import SqliteFile
from twinward.vault.stores.relational import RelationalRecordStore


class SqliteRecordStore(RelationalRecordStore):
    """A ``RecordStore`` in one file. Safe to share between threads; several processes may open the same file."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises ``VaultUnavailable``."""
        super().__init__(SqliteFile(path, Schema.RECORDS))
