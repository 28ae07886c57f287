"""The log on a PostgreSQL server, with the driver directly.

Invariants, beside those of ``stores/sqlite.py``:

* The one row of ``log_head`` is locked (``SELECT … FOR UPDATE``) for as long as a transaction appends, so any number
  of processes write one log, one after the other.
* ``synchronous_commit=on`` for the session, and a server with ``fsync=off`` is refused: ``append`` returns once its
  write-ahead log is on the disk (and on the synchronous standbys, if the server has any).
* A connection that broke is made anew at the next call. One that breaks during a commit leaves open whether it came
  through; then ``append`` raises, and the next one reads the size that is true.

What erasing cannot reach here: PostgreSQL writes a new row version and keeps the old one in dead space of its pages,
in its write-ahead log and in every replica and archive of it. So an erased body is gone from every query at once, but
out of reach for good only when its key is destroyed, which is what erasing a patient does.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg

from twinward_ledger import merkle
from twinward_ledger.errors import KeyReplaced, LogCorrupt, LogUnavailable, NoSuchEntry, Rollback
from twinward_ledger.log import tiles
from twinward_ledger.log.store import Entry, KeyChange, entries_of, picked_of
from twinward_ledger.storage.laid_tables import lay_tables
from twinward_ledger.storage.postgres_address import PostgresAddress, reason
from twinward_ledger.stores.group_commit import GroupCommit
from twinward_ledger.stores.server_tables import LOG_ON_SERVER

SCHEMA_VERSION: Final = 1
_OF_SEVERAL_KEYS: Final = 2  # from the first change of the log's key on: a release that knows one key only stays away
_CHUNK_ROWS: Final = 4096
_TILE_LEVEL_SHIFT: Final = 56  # a tile's key is level << 56 | index, as in SQLite

_COPY_LEAVES: Final = "COPY log_leaves (idx, leaf) FROM STDIN (FORMAT BINARY)"
_COPY_BODIES: Final = "COPY log_bodies (idx, body, tags) FROM STDIN (FORMAT BINARY)"
_COPY_TAGS: Final = "COPY log_tags (tag, idx) FROM STDIN (FORMAT BINARY)"
_PUT_TILE: Final = "INSERT INTO log_tiles VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET hashes = excluded.hashes"
_PUT_CHECKPOINT: Final = (
    "INSERT INTO log_checkpoints VALUES (%s, %s) ON CONFLICT (size) DO UPDATE SET note = excluded.note"
)


class PostgresLogStore:
    """A ``LogStore`` in one PostgreSQL database. Safe to share between threads and processes."""

    def __init__(self, uri: str, *, read_only: bool = False) -> None:
        """Open the database, and lay the log's tables if there are none.

        Args:
            uri: ``postgresql://user@host/database``; see ``twinward_ledger.storage.postgres_address``.
            read_only: never write, and refuse a database without a log.

        Raises:
            LogUnavailable: it cannot be reached, may not be used, or holds another version's log.
        """
        address = PostgresAddress(uri)
        if not read_only:
            lay_tables(uri, LOG_ON_SERVER)
        self._group = GroupCommit(self._append_durably)
        self._edge: tiles.RightEdge | None = None
        self._is_of_one_key = False
        self._reader = _Session(address, read_only=read_only)
        self._writer = self._reader if read_only else _Session(address, read_only=False)
        try:
            self._require_known()
        except BaseException:
            self.close()
            raise

    # --- writing -------------------------------------------------------------------------------------------------
    def append(self, entries: Sequence[Entry]) -> range:
        """Append all entries in one durable step, all or none; return their indices."""
        return self._group.append(entries)

    def erase_body(self, index: int) -> None:
        """Empty one entry's body. The leaf, its tags and every proof stand. What remains: see the module's head."""
        self._require(index)
        with self._group.lock, self._writer.transaction() as cursor:
            cursor.execute("UPDATE log_bodies SET body = '' WHERE idx = %s", (index,))

    def save_checkpoint(self, size: int, note: bytes, *, key_changes: int | None = None) -> None:
        """Keep a signed checkpoint; one of the same size replaces it."""
        with self._group.lock, self._writer.transaction() as cursor:
            held = _locked_size(cursor)
            if key_changes is not None:
                self._require_changes(cursor, key_changes)
            _put_checkpoint(cursor, size, note, held)

    def change_key(self, change: KeyChange) -> None:
        """Keep a change of the log's key together with its checkpoint."""
        with self._group.lock, self._writer.transaction() as cursor:
            held = _locked_size(cursor)
            if self._is_of_one_key:
                raise LogUnavailable("there is no table for changes of the key: the owner runs `twinward node tables`")
            self._require_changes(cursor, change.number - 1)
            _put_checkpoint(cursor, change.size, change.note, held)
            row = (change.number, change.size, change.key, change.note)
            cursor.execute("INSERT INTO log_key_changes VALUES (%s, %s, %s, %s)", row)
            cursor.execute("UPDATE log_head SET schema_version = %s", (_OF_SEVERAL_KEYS,))

    def _require_changes(self, cursor: psycopg.Cursor[Any], known: int) -> None:
        if self._is_of_one_key:
            if cursor.execute("SELECT schema_version FROM log_head").fetchone() != (SCHEMA_VERSION,):
                raise LogUnavailable("the log's key was changed since it was opened here: open it again")
            return
        row = cursor.execute("SELECT count(*) FROM log_key_changes").fetchone()
        if row != (known,):
            raise KeyReplaced(f"the log's key was changed {row[0] if row else 0} times, not {known}")

    def _append_durably(self, groups: Sequence[Sequence[Entry]]) -> list[range]:
        try:
            with self._writer.transaction() as cursor:
                return self._write(cursor, groups)
        except BaseException:
            self._edge = None  # it may have run ahead of the database
            raise

    def _write(self, cursor: psycopg.Cursor[Any], groups: Sequence[Sequence[Entry]]) -> list[range]:
        edge = self._current_edge(cursor)
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
        _copy(cursor, _COPY_LEAVES, ("int8", "bytea"), ((index, entry.leaf) for index, entry in numbered))
        bodies = ((index, entry.body, b"".join(entry.tags)) for index, entry in numbered)
        _copy(cursor, _COPY_BODIES, ("int8", "bytea", "bytea"), bodies)
        tags = sorted({(tag, index) for index, entry in numbered for tag in entry.tags})
        if tags:
            _copy(cursor, _COPY_TAGS, ("bytea", "int8"), tags)
        changed = edge.extend(merkle.leaf_hash(entry.leaf) for entry in entries)
        cursor.executemany(_PUT_TILE, [(_tile_key(key), row) for key, row in changed.items()])
        cursor.execute("UPDATE log_head SET size = %s", (edge.size,))
        return ranges

    def _current_edge(self, cursor: psycopg.Cursor[Any]) -> tiles.RightEdge:
        """The right edge of the tree as it is in this transaction; reloaded if another process has appended."""
        size = _locked_size(cursor)
        if self._edge is None or self._edge.size != size:
            self._edge = tiles.RightEdge.load(size, lambda key: _read_tile(cursor, key))
        if self._edge is None:
            raise LogUnavailable("tiles of the tree's right edge are missing; verify the log")
        return self._edge

    # --- reading -------------------------------------------------------------------------------------------------
    def size(self) -> int:
        """How many entries the log holds."""
        rows = self._reader.rows("SELECT size FROM log_head")
        if not rows:
            raise LogCorrupt("the log's head is missing", first_bad_index=None)
        return int(rows[0][0])

    def root(self) -> bytes:
        """The RFC 6962 root over all leaves (32 bytes)."""
        return merkle.root_at(self.size(), self.node)

    def node(self, level: int, index: int) -> bytes:
        """The hash of a complete subtree. Raises ``NoSuchEntry`` where there is none."""
        found = None
        if 0 <= level < 64 and index >= 0 and (index + 1) << level <= merkle.MAX_SIZE:
            found = tiles.node(level, index, self.tile)
        if found is None:
            raise NoSuchEntry(f"the tree has no complete node {index} at level {level}")
        return found

    def tile(self, tile: tiles.TileId) -> bytes:
        """A tile's hashes, as far as there are any."""
        rows = self._reader.rows("SELECT hashes FROM log_tiles WHERE id = %s", (_tile_key(tile),))
        return bytes(rows[0][0]) if rows else b""

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        """The exact leaf bytes of ``start <= index < stop``, as far as there are any.

        Raises ``LogCorrupt`` at a row below the log's size that is missing.
        """
        position, stop = max(0, start), min(stop, merkle.MAX_SIZE)
        while position < stop:
            rows = self._reader.rows(
                "SELECT idx, leaf FROM log_leaves WHERE idx >= %s AND idx < %s ORDER BY idx",
                (position, min(stop, position + _CHUNK_ROWS)),
            )
            for index, leaf in rows:
                if index != position:
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
        sql: Final = (
            "SELECT idx, leaf, body, tags FROM log_leaves LEFT JOIN log_bodies USING (idx)"
            " WHERE idx >= %s AND idx < %s ORDER BY idx"
        )
        return entries_of(self._reader.rows(sql, (start, stop)) if start < stop else [], start, stop)

    def picked(self, indices: Sequence[int]) -> list[Entry]:
        """The entries at rising indices, in few looks."""
        sql: Final = "SELECT idx, leaf, body, tags FROM log_leaves LEFT JOIN log_bodies USING (idx) WHERE idx = ANY(%s)"
        return picked_of(lambda wanted: self._reader.rows(sql, (list(wanted),)), indices, self.size())

    def find(self, tag: bytes, *, before: int | None = None, limit: int = 100) -> list[int]:
        """Indices that carry a tag, newest first, below ``before``."""
        sql: Final = "SELECT idx FROM log_tags WHERE tag = %s AND idx < %s ORDER BY idx DESC LIMIT %s"
        below = merkle.MAX_SIZE if before is None else max(0, min(before, merkle.MAX_SIZE))
        rows = self._reader.rows(sql, (tag, below, max(0, min(limit, merkle.MAX_SIZE))))
        return [index for (index,) in rows]

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint, whole."""
        rows = self._reader.rows("SELECT note FROM log_checkpoints ORDER BY size DESC LIMIT 1")
        return bytes(rows[0][0]) if rows else None

    def checkpoints(self) -> list[tuple[int, bytes]]:
        """Every size a checkpoint was kept for, with its note, oldest first."""
        return list(self._reader.rows("SELECT size, note FROM log_checkpoints ORDER BY size"))

    def key_changes(self) -> list[KeyChange]:
        """Every change of the log's key, the oldest first."""
        if self._is_of_one_key:
            return []
        rows = self._reader.rows("SELECT number, size, key, note FROM log_key_changes ORDER BY number")
        return [KeyChange(*row) for row in rows]

    def close(self) -> None:
        """Give back every connection; closing twice is harmless."""
        with self._group.lock:
            self._writer.close()
            self._reader.close()

    # --- plumbing ------------------------------------------------------------------------------------------------
    def _require_known(self) -> None:
        found = self._reader.rows("SELECT schema_version FROM log_head")
        if found not in ([(SCHEMA_VERSION,)], [(_OF_SEVERAL_KEYS,)]):
            raise LogUnavailable(f"{self._reader.address} does not hold a log of version {SCHEMA_VERSION}")
        self._is_of_one_key = self._reader.rows("SELECT to_regclass('log_key_changes') IS NULL") == [(True,)]

    def _require(self, index: int) -> None:
        size = self.size()
        if not 0 <= index < size:
            raise NoSuchEntry(f"there is no entry {index}: the log holds {size}")


class _Session:
    """One connection, shared between threads one at a time, and made anew after it broke."""

    def __init__(self, address: PostgresAddress, *, read_only: bool) -> None:
        self.address = address
        self._read_only = read_only
        self._lock = threading.Lock()
        self._closed = False
        self._connection: psycopg.Connection | None = None

    def rows(self, sql: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a query gives. It is asked a second time if the connection had broken since the last one."""
        with self._lock, _translated(self.address):
            fresh = self._connection is None
            try:
                return self._open().execute(sql, parameters, binary=True).fetchall()
            except psycopg.OperationalError:
                if fresh or self._connection is None or not self._connection.broken:
                    raise
                return self._open().execute(sql, parameters, binary=True).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Cursor[Any]]:
        """A transaction, committed durably at the end or not at all. It is never tried twice."""
        with self._lock, _translated(self.address):
            connection = self._open(probe=True)
            with connection.transaction(), connection.cursor(binary=True) as cursor:
                yield cursor

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()

    def _open(self, *, probe: bool = False) -> psycopg.Connection:
        if self._closed:
            raise LogUnavailable(f"{self.address}: the log store is closed")
        if probe and self._connection is not None:
            with contextlib.suppress(psycopg.OperationalError):
                self._connection.execute("")  # a server that restarted meanwhile shows here, before anything is sent
        if self._connection is None or self._connection.closed:
            self._connection = self.address.connect()
            self._connection.read_only = self._read_only or None
        return self._connection


def _copy(
    cursor: psycopg.Cursor[Any], statement: LiteralString, types: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    with cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _locked_size(cursor: psycopg.Cursor[Any]) -> int:
    """The log's size, nobody else's to change until this transaction ends."""
    row = cursor.execute("SELECT size FROM log_head WHERE id = 1 FOR UPDATE").fetchone()
    if row is None:
        raise LogUnavailable("the log's head is missing; verify the log")
    return int(row[0])


def _put_checkpoint(cursor: psycopg.Cursor[Any], size: int, note: bytes, held: int) -> None:
    row = cursor.execute("SELECT max(size) FROM log_checkpoints").fetchone()
    newest = row[0] if row else None
    if newest is not None and size < newest:
        raise Rollback(f"a checkpoint of size {size}, the newest one kept has {newest}")
    if not 0 <= size <= held:
        raise Rollback(f"a checkpoint of size {size}, the log has {held} entries")
    cursor.execute(_PUT_CHECKPOINT, (size, note))


def _tile_key(tile: tiles.TileId) -> int:
    level, index = tile
    return level << _TILE_LEVEL_SHIFT | index


def _read_tile(cursor: psycopg.Cursor[Any], tile: tiles.TileId) -> bytes:
    row = cursor.execute("SELECT hashes FROM log_tiles WHERE id = %s", (_tile_key(tile),)).fetchone()
    return bytes(row[0]) if row else b""


@contextmanager
def _translated(address: PostgresAddress) -> Iterator[None]:
    """Turn whatever the driver or the server says into ``LogUnavailable``."""
    try:
        yield
    except psycopg.Error as error:
        raise LogUnavailable(f"{address}: {reason(error)}") from None
