"""Sealed rows in SQLite: write-ahead log, ``synchronous=FULL``, one transaction per ``put``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.interfaces import Found, Place, SealedRow, SealedSegment
from twinward.vault.storage.database import Schema
from twinward.vault.storage.relational_records import RelationalRecordStore
from twinward.vault.storage.rows import runs_of
from twinward.vault.storage.sqlite_engine import SqliteFile
from twinward.vault.storage.sqlite_reader import SqliteReader
from twinward.vault.storage.sqlite_writer import SqliteWriter

_FEW = 64
"""Rows that one create or a small transaction writes; more are worth the other way's set-up."""


class SqliteRecordStore(RelationalRecordStore):
    """A ``RecordStore`` in one file. Safe to share between threads; several processes may open the same file."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises ``VaultUnavailable``."""
        super().__init__(SqliteFile(path, Schema.RECORDS))
        self._reader = SqliteReader(path)
        self._writer = SqliteWriter(path)

    def put(
        self, rows: Sequence[SealedRow], segments: Sequence[SealedSegment] = (), absent: Sequence[bytes] = ()
    ) -> None:
        """Store new versions durably, all or none. Raises as ``RelationalRecordStore.put``."""
        if segments or not 0 < len(rows) <= _FEW or not self._writer.put(runs_of(rows), absent):
            super().put(rows, segments, absent)

    def latest(self, record_id: RecordId) -> Place | None:
        """The newest version of a record."""
        return self._reader.latest(record_id) or super().latest(record_id)

    def of_twin(self, twin: TwinId, category_tags: Sequence[bytes] = ()) -> Iterator[Place]:
        """The newest version of each of a twin's records, of the given categories or of all, by record id."""
        return iter(self._reader.of_twin(twin, category_tags))

    def find(self, tag: bytes) -> list[RecordId]:
        """Records whose newest version carries a blind tag, by record id."""
        found = self._reader.find(tag)
        return super().find(tag) if found is None else found

    def find_many(self, tags: Sequence[bytes]) -> dict[bytes, Found]:
        """For each tag that is found, the last by id of the records whose newest version carries it."""
        found = self._reader.find_many(tags)
        return super().find_many(tags) if found is None else found

    def close(self) -> None:
        """Give back files and connections."""
        self._reader.close()
        self._writer.close()
        super().close()
