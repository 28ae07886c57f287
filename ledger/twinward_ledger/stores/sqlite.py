"""The embedded log store: one SQLite file, WAL, ``synchronous=FULL``.

Invariants:

* Entries, tags, tiles and the size change in one transaction; ``append`` returns after its fsync.
* Concurrent appends share an fsync: whoever holds the write lock commits everything that queued up meanwhile.
* The size in ``head`` is compared inside the write transaction, so a second process may append to the same file.
* Leaves and bodies lie in separate tables: re-hashing the log does not page through ciphertext, and a body can be
  overwritten (``secure_delete``, then a truncated WAL) while its leaf stays.

What erasing cannot reach: copies of the file made before, and blocks an SSD or a copy-on-write file system keeps.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from twinward_ledger import merkle
from twinward_ledger.errors import KeyReplaced, LogCorrupt, LogUnavailable, NoSuchEntry, Rollback
from twinward_ledger.log import tiles
from twinward_ledger.log.store import Entry, KeyChange, entries_of, picked_of
from twinward_ledger.storage import sqlite_files
from twinward_ledger.storage.sqlite import connect_raw, stamp
from twinward_ledger.stores import postings
from twinward_ledger.stores.group_commit import GroupCommit
from twinward_ledger.stores.tables import LOG_FILE

BUSY_TIMEOUT_S = 10.0
_CHUNK_ROWS = 4096
_ROWS_A_STATEMENT = 128
_WAL_PAGES = 2000  # 8 MB: pages that many appends change are copied into the file once; little to read when reopening
_OF_ONE_KEY = 2  # the version before a log's key could be changed: nothing else differs, so it is read as it is
_TILE_LEVEL_SHIFT = 56  # a tile's key is level << 56 | index: one integer key keeps the table a plain B-tree


class SqliteLogStore:
    """A ``LogStore`` in one SQLite file."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Open or create the file. Raises ``LogUnavailable`` if that cannot be done or it is another kind of file."""
        self._path = Path(path)
        self._read_only = read_only
        self._group = GroupCommit(self._append_durably)
        self._read_lock = threading.Lock()
        self._edge: tiles.RightEdge | None = None
        self._is_of_one_key = False
        with _translated(self._path):
            self._reader = self._connect()
            self._writer = self._reader if read_only else self._connect()

    # --- writing -------------------------------------------------------------------------------------------------
    def append(self, entries: Sequence[Entry]) -> range:
        """Append all entries in one durable step, all or none; return their indices."""
        return self._group.append(entries)

    def _append_durably(self, groups: Sequence[Sequence[Entry]]) -> list[range]:
        try:
            with self._transaction():
                return self._write(groups)
        except BaseException:
            self._edge = None  # it may have run ahead of the file
            raise

    def _write(self, groups: Sequence[Sequence[Entry]]) -> list[range]:
        edge = self._current_edge()
        start = edge.size
        ranges: list[range] = []
        entries: list[Entry] = []
        for group in groups:
            ranges.append(range(start, start + len(group)))
            entries.extend(group)
            start += len(group)
        if not entries:
            return ranges
        numbered = list(enumerate(entries, edge.size))
        write = self._insert
        write("leaves", [(index, entry.leaf) for index, entry in numbered])
        write("bodies", [(index, entry.body, b"".join(entry.tags)) for index, entry in numbered])
        write("postings", postings.of_entries(numbered))
        changed = edge.extend(merkle.leaf_hash(entry.leaf) for entry in entries)
        tile_rows = [(_tile_key(key), row) for key, row in changed.items()]
        self._writer.executemany("INSERT OR REPLACE INTO tiles VALUES (?, ?)", tile_rows)
        self._writer.execute("UPDATE head SET size = ?", (edge.size,))
        return ranges

    def _insert(self, table: str, rows: Sequence[Sequence[object]]) -> None:
        """Many rows a statement: SQLite then works through them in one go, while other threads seal their events."""
        if not rows:
            return
        whole, marks = len(rows) - len(rows) % _ROWS_A_STATEMENT, f"({', '.join('?' * len(rows[0]))})"
        many = f"INSERT INTO {table} VALUES {', '.join([marks] * _ROWS_A_STATEMENT)}"  # noqa: S608 - own table names
        for start in range(0, whole, _ROWS_A_STATEMENT):
            self._writer.execute(many, [value for row in rows[start : start + _ROWS_A_STATEMENT] for value in row])
        self._writer.executemany(f"INSERT INTO {table} VALUES {marks}", rows[whole:])  # noqa: S608

    def _current_edge(self) -> tiles.RightEdge:
        """The right edge of the tree as it is in this transaction; reloaded if another process has appended."""
        size = self._writer.execute("SELECT size FROM head").fetchone()[0]
        if self._edge is None or self._edge.size != size:
            self._edge = tiles.RightEdge.load(size, lambda key: _read_tile(self._writer, key))
        if self._edge is None:
            raise LogUnavailable(f"{self._path.name}: tiles of the tree's right edge are missing; verify the log")
        return self._edge

    def erase_body(self, index: int) -> None:
        """Overwrite one entry's body and cut it out of the WAL. The leaf, its tags and every proof stand."""
        self._require(index)
        with self._group.lock:
            with self._transaction():
                self._writer.execute("UPDATE bodies SET body = x'' WHERE idx = ?", (index,))
            with _translated(self._path), self._read_lock:
                busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise LogUnavailable("erased, but another reader keeps the old page in the write-ahead log: try again")

    def save_checkpoint(self, size: int, note: bytes, *, key_changes: int | None = None) -> None:
        """Keep a signed checkpoint; one of the same size replaces it."""
        with self._group.lock, self._transaction():
            if key_changes is not None:
                self._require_changes(key_changes)
            self._put_checkpoint(size, note)

    def change_key(self, change: KeyChange) -> None:
        """Keep a change of the log's key together with its checkpoint."""
        with self._group.lock, self._transaction():
            self._require_changes(change.number - 1)
            self._put_checkpoint(change.size, change.note)
            row = (change.number, change.size, change.key, change.note)
            self._writer.execute("INSERT INTO key_changes VALUES (?, ?, ?, ?)", row)

    def _require_changes(self, known: int) -> None:
        kept = self._writer.execute("SELECT count(*) FROM key_changes").fetchone()[0]
        if kept != known:
            raise KeyReplaced(f"the log's key was changed {kept} times, not {known}")

    def _put_checkpoint(self, size: int, note: bytes) -> None:
        newest = self._writer.execute("SELECT max(size) FROM checkpoints").fetchone()[0]
        if newest is not None and size < newest:
            raise Rollback(f"a checkpoint of size {size}, the newest one kept has {newest}")
        held = self._writer.execute("SELECT size FROM head").fetchone()[0]
        if not 0 <= size <= held:
            raise Rollback(f"a checkpoint of size {size}, the log has {held} entries")
        self._writer.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (size, note))

    # --- reading -------------------------------------------------------------------------------------------------
    def size(self) -> int:
        """How many entries the log holds."""
        return int(self._row("SELECT size FROM head")[0])

    def root(self) -> bytes:
        """The RFC 6962 root over all leaves (32 bytes)."""
        return merkle.root_at(self.size(), self.node)

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree. Raises ``NoSuchEntry`` where there is none."""
        found = None
        if 0 <= level < 64 and index >= 0 and (index + 1) << level <= merkle.MAX_SIZE:
            with _translated(self._path), self._read_lock:
                found = tiles.node(level, index, lambda key: _read_tile(self._reader, key))
        if found is None:
            raise NoSuchEntry(f"the tree has no complete node {index} at level {level}")
        return found

    def tile(self, tile: tiles.TileId) -> bytes:
        """A tile's hashes, as far as there are any."""
        with _translated(self._path), self._read_lock:
            return _read_tile(self._reader, tile)

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        """The exact leaf bytes of ``start <= index < stop``, as far as there are any.

        Raises ``LogCorrupt`` at a row below the log's size that is missing, or holds no bytes.
        """
        position, stop = max(0, start), min(stop, merkle.MAX_SIZE)
        while position < stop:
            rows = self._rows(
                "SELECT idx, leaf FROM leaves WHERE idx >= ? AND idx < ? ORDER BY idx",
                (position, min(stop, position + _CHUNK_ROWS)),
            )
            for index, leaf in rows:
                if index != position or not isinstance(leaf, bytes):
                    break
                yield leaf
                position += 1
            if not rows or index != position - 1 or len(rows) < _CHUNK_ROWS:
                break
        if position < min(stop, self.size()):
            raise LogCorrupt(f"leaf {position} is missing", first_bad_index=position)

    def entry(self, index: int) -> Entry:
        """One entry; its body is empty where it was erased."""
        self._require(index)
        return self.entries(index, index + 1)[0]

    def entries(self, start: int, stop: int) -> list[Entry]:
        """The entries of ``start <= index < stop``, as far as there are any, in one look."""
        start, stop = max(0, start), min(stop, self.size())
        sql = (
            "SELECT idx, leaf, body, tags FROM leaves LEFT JOIN bodies USING (idx) WHERE idx >= ? AND idx < ? ORDER BY"
            " idx"
        )
        rows = self._rows(sql, (start, stop)) if start < stop else []
        return entries_of(rows, start, stop)

    def picked(self, indices: Sequence[int]) -> list[Entry]:
        """The entries at rising indices, in few looks."""
        sql = (
            "SELECT idx, leaf, body, tags FROM leaves LEFT JOIN bodies USING (idx)"
            " WHERE idx IN (SELECT value FROM json_each(?))"
        )
        return picked_of(lambda wanted: self._rows(sql, (json.dumps(wanted),)), indices, self.size())

    def find(self, tag: bytes, *, before: int | None = None, limit: int = 100) -> list[int]:
        """Indices that carry a tag, newest first, below ``before``."""
        sql = "SELECT first, distances FROM postings WHERE tag = ? AND first < ? ORDER BY first DESC"
        below = merkle.MAX_SIZE if before is None else max(0, min(before, merkle.MAX_SIZE))
        found: list[int] = []
        with _translated(self._path), self._read_lock, closing(self._reader.execute(sql, (tag, below))) as rows:
            for first, distances in rows:
                if len(found) >= limit:
                    break
                found += [index for index in reversed(postings.unpack(first, distances)) if index < below]
        return found[: max(0, limit)]

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint, whole."""
        rows = self._rows("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return bytes(rows[0][0]) if rows else None

    def checkpoints(self) -> list[tuple[int, bytes]]:
        """Every size a checkpoint was kept for, with its note, oldest first."""
        return [(size, bytes(note)) for size, note in self._rows("SELECT size, note FROM checkpoints ORDER BY size")]

    def key_changes(self) -> list[KeyChange]:
        """Every change of the log's key, the oldest first."""
        if self._is_of_one_key:
            return []
        rows = self._rows("SELECT number, size, key, note FROM key_changes ORDER BY number")
        return [KeyChange(number, size, key, bytes(note)) for number, size, key, note in rows]

    def close(self) -> None:
        """Give back every file and connection; closing twice is harmless."""
        with self._group.lock, self._read_lock, _translated(self._path):
            self._writer.close()
            self._reader.close()

    # --- plumbing ------------------------------------------------------------------------------------------------
    def _connect(self) -> sqlite3.Connection:
        if self._read_only:
            connection = sqlite_files.connect(self._path, timeout_s=BUSY_TIMEOUT_S, mode="ro")
            application, version = stamp(connection)
            self._is_of_one_key = version == _OF_ONE_KEY
            if application != LOG_FILE.application_id or version not in (LOG_FILE.version, _OF_ONE_KEY):
                connection.close()
                raise LogUnavailable(f"{self._path.name} is not a log of version {LOG_FILE.version}")
            return connection
        connection = connect_raw(self._path, LOG_FILE, timeout_s=BUSY_TIMEOUT_S)
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated(self._path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def _require(self, index: int) -> None:
        size = self.size()
        if not 0 <= index < size:
            raise NoSuchEntry(f"there is no entry {index}: the log holds {size}")

    def _row(self, sql: str) -> tuple[int, ...]:
        rows = self._rows(sql)
        if not rows:
            raise LogCorrupt("the log's head is missing", first_bad_index=None)
        row: tuple[int, ...] = rows[0]
        return row

    def _rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        with _translated(self._path), self._read_lock:
            return self._reader.execute(sql, parameters).fetchall()


def _tile_key(tile: tiles.TileId) -> int:
    level, index = tile
    return level << _TILE_LEVEL_SHIFT | index


def _read_tile(connection: sqlite3.Connection, tile: tiles.TileId) -> bytes:
    row = connection.execute("SELECT hashes FROM tiles WHERE id = ?", (_tile_key(tile),)).fetchone()
    return bytes(row[0]) if row else b""


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn whatever SQLite or the file system says into ``LogUnavailable``."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LogUnavailable(f"{path.name}: {error}") from error
