"""Sealed rows in SQLite: write-ahead log, ``synchronous=FULL``, one transaction per ``put``.

What every single read and write asks is asked of the driver itself: SQLAlchemy costs some 200 µs a statement, SQLite
ten, and one create asks half a dozen times. That is only done where it is certain: rows, a twin read whole, new records
and versions that follow the newest one in its row. Wherever else a segment may have a say, or there is a conflict,
``RelationalRecordStore`` is asked instead; what segments mean stands in ``storage.segments`` alone.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import RecordDamaged
from twinward.vault.models import Found, IndexState, SealedRow, SealedSegment, StoredVersion
from twinward.vault.storage.relational_records import RelationalRecordStore
from twinward.vault.storage.schemas import RECORDS
from twinward.vault.storage.search_blocks import state_asked
from twinward.vault.storage.segments import SEGMENT_COLUMNS, current, segment_of
from twinward.vault.storage.tables import SEALED_COLUMNS, head_values, runs_of, sealed_values
from twinward_crypto.blind_index import TAG_BYTES
from twinward_ledger.storage import sqlite_files
from twinward_ledger.storage.sqlite import BUSY_TIMEOUT_S, PRAGMAS, SqliteFile, translated

_FEW = 64
"""Rows that one create or a small transaction writes; more are worth the other way's set-up."""


class SqliteRecordStore(RelationalRecordStore):
    """A ``RecordStore`` in one file. Safe to share between threads; several processes may open the same file."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises ``VaultUnavailable``."""
        super().__init__(SqliteFile(path, RECORDS))
        self._reader = SqliteReader(path)
        self._writer = SqliteWriter(path)

    def put(
        self, rows: Sequence[SealedRow], segments: Sequence[SealedSegment] = (), absent: Sequence[bytes] = ()
    ) -> None:
        """Store new versions durably, all or none. Raises as ``RelationalRecordStore.put``."""
        if segments or not 0 < len(rows) <= _FEW or not self._writer.put(runs_of(rows), absent):
            super().put(rows, segments, absent)

    def latest(self, record_id: RecordId) -> StoredVersion | None:
        """The newest version of a record."""
        return self._reader.latest(record_id) or super().latest(record_id)

    def of_twin(self, twin: TwinId, category_tags: Sequence[bytes] = ()) -> Iterator[StoredVersion]:
        """The newest version of each of a twin's records, of the given categories or of all, by record id."""
        return iter(self._reader.of_twin(twin, category_tags))

    def newest(self, record_ids: Collection[RecordId]) -> list[StoredVersion]:
        """The newest versions of these records, by record id; those that are not kept are left out."""
        return self._reader.newest(record_ids) or super().newest(record_ids)

    def index_state(self, twin: TwinId, category_tags: Sequence[bytes]) -> IndexState:
        """One state of a twin's search index of these categories, and of what it is of."""
        return self._reader.index_state(twin, category_tags)

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


MAX_TAGS = 16
MAX_IDS = 256

_NEWEST = (
    "SELECT s.record_id, s.version, s.twin, s.category_tag, s.type_tag, s.generation, s.previous_hash,"
    " s.committed_at_ms, s.tags, s.sealed, s.mark FROM sealed_record AS s"
    " JOIN record_head AS h ON h.record_id = s.record_id AND h.version = s.version"
)
_FOUND = (
    "SELECT t.tag, h.twin, t.record_id, h.version, h.category_tag, s.mark FROM record_tag AS t"
    " JOIN record_head AS h ON h.record_id = t.record_id"
    " JOIN sealed_record AS s ON s.record_id = h.record_id AND s.version = h.version"
)
_PACKED = 0
"""Stands in each column of the one row that says that a tag leads into a segment."""
_SEGMENTS = f"SELECT {', '.join(SEGMENT_COLUMNS[1:])} FROM segment"  # noqa: S608 - the models' names
_HEADS = "SELECT record_id, version FROM record_head WHERE twin = ?"
_Row = tuple[str, int, str, bytes, bytes, int, bytes, int, bytes, bytes, bytes | None]


class SqliteReader:
    """Read-only connections, one for each thread that asks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[sqlite3.Connection] = []

    def find_many(self, tags: Sequence[bytes]) -> dict[bytes, Found] | None:
        """As ``RecordStore.find_many``; None where there are too many tags or one leads into a segment."""
        if not 0 < len(tags) <= MAX_TAGS:
            return None
        rows = self._asked(_found_or_packed(len(tags)), (*tags, *tags))
        if (_PACKED,) * 6 in rows:
            return None
        found: dict[bytes, Found] = {}
        for tag, twin, record_id, version, category_tag, fingerprint in rows:
            _require((version,), (tag, category_tag, fingerprint))
            found[tag] = Found(TwinId(twin), RecordId(record_id), version, category_tag, fingerprint)
        return found

    def find(self, tag: bytes) -> list[RecordId] | None:
        """As ``RecordStore.find``; None where the tag leads into a segment."""
        with self._snapshot() as db:
            if db.execute("SELECT 1 FROM segment_tag WHERE tag = ? LIMIT 1", (tag,)).fetchone():
                return None
            statement = "SELECT record_id FROM record_tag WHERE tag = ? ORDER BY record_id"
            return [RecordId(one) for (one,) in db.execute(statement, (tag,))]

    def latest(self, record_id: RecordId) -> SealedRow | None:
        """The newest version of a record that stands in a row; None where it does not, or there is no such record."""
        rows = self._asked(f"{_NEWEST} WHERE h.record_id = ?", (record_id,))
        return _sealed(rows[0]) if rows else None

    def newest(self, record_ids: Collection[RecordId]) -> list[StoredVersion]:
        """As ``RecordStore.newest``; empty where one of them stands in no row, or there are too many."""
        if not 0 < len(record_ids) <= MAX_IDS:
            return []
        among = f"h.record_id IN ({', '.join('?' * len(record_ids))})"
        rows = self._asked(f"{_NEWEST} WHERE {among} ORDER BY h.record_id", tuple(record_ids))
        return [_sealed(row) for row in rows] if len(rows) == len(record_ids) else []

    def index_state(self, twin: TwinId, category_tags: Sequence[bytes]) -> IndexState:
        """As ``RecordStore.index_state``."""
        with self._snapshot() as db:
            return state_asked(lambda words, given: db.execute(words, given).fetchall(), twin, category_tags)

    def of_twin(self, twin: TwinId, category_tags: Sequence[bytes]) -> list[StoredVersion]:
        """As ``RecordStore.of_twin``."""
        among = f"category_tag IN ({', '.join('?' * len(category_tags))})"
        rows_of, segments_of = f"{_NEWEST} WHERE h.twin = ?", f"{_SEGMENTS} WHERE twin = ?"
        if category_tags:
            rows_of, segments_of = f"{rows_of} AND h.{among}", f"{segments_of} AND {among}"
        wanted = (twin, *category_tags)
        with self._snapshot() as db:
            rows = db.execute(f"{rows_of} ORDER BY h.record_id", wanted).fetchall()
            segments = db.execute(segments_of, wanted).fetchall()
            heads = dict(db.execute(_HEADS, (twin,)).fetchall()) if segments else {}
        places: list[StoredVersion] = [_sealed(row) for row in rows]
        if segments:
            places += current(heads, [segment_of(*values) for values in segments])
            places.sort(key=lambda place: place.record_id)
        return places

    def close(self) -> None:
        """Give back every connection."""
        with self._lock:
            while self._open:
                self._open.pop().close()
        self._local = threading.local()

    def _asked(self, statement: str, given: Sequence[object]) -> list[Any]:
        """The rows of one statement: one state of the database by itself, so without a transaction around it."""
        with translated(self._path, RECORDS):
            db = getattr(self._local, "db", None) or self._connect()
            return list(db.execute(statement, given))

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """One state of the database for the statements of a block."""
        with translated(self._path, RECORDS):
            db = getattr(self._local, "db", None) or self._connect()
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        db = sqlite_files.connect(self._path, timeout_s=BUSY_TIMEOUT_S, mode="ro")
        with self._lock:
            self._open.append(db)
        self._local.db = db
        return db


@lru_cache(maxsize=MAX_TAGS)
def _found_or_packed(tags: int) -> str:
    """What so many tags find, by record id, and a row of ``_PACKED`` if one leads into a segment. Takes them twice."""
    among = f"({', '.join('?' * tags)})"
    packed = f"SELECT {', '.join([str(_PACKED)] * 6)} WHERE EXISTS (SELECT 1 FROM segment_tag WHERE tag IN {among})"  # noqa: S608
    return f"{packed} UNION ALL {_FOUND} WHERE t.tag IN {among} ORDER BY 3"


def _sealed(row: _Row) -> SealedRow:
    record_id, version, twin, category_tag, type_tag, generation, previous_hash, at_ms, tags, sealed, fingerprint = row
    _require((version, generation, at_ms), (category_tag, type_tag, previous_hash, tags, sealed, fingerprint))
    return SealedRow(
        record_id=RecordId(record_id),
        version=version,
        twin=TwinId(twin),
        category_tag=category_tag,
        type_tag=type_tag,
        generation=generation,
        previous_hash=previous_hash,
        committed_at_ms=at_ms,
        sealed=sealed,
        tags=tuple(tags[start : start + TAG_BYTES] for start in range(0, len(tags), TAG_BYTES)),
        fingerprint=fingerprint,
    )


def _require(numbers: tuple[object, ...], blobs: tuple[object, ...]) -> None:
    if not all(isinstance(one, int) for one in numbers):
        raise RecordDamaged("a column of numbers holds something else: the database was altered")
    if not all(isinstance(one, bytes | None) for one in blobs):
        raise RecordDamaged("a column of bytes holds something else: the database was altered")


_INSERT_HEAD = "INSERT INTO record_head (record_id, version, twin, category_tag) VALUES (?, ?, ?, ?)"
_INSERT_TAG = "INSERT INTO record_tag (tag, record_id) VALUES (?, ?)"
_INSERT_SEALED = (
    f"INSERT INTO sealed_record ({', '.join(SEALED_COLUMNS)}) VALUES ({', '.join('?' * len(SEALED_COLUMNS))})"  # noqa: S608
)
_ADVANCE = (
    "UPDATE record_head SET version = ?, category_tag = ?, indexed = 0 WHERE record_id = ? AND version = ? AND twin = ?"
)


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
        with self._lock, translated(self._path, RECORDS):
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
