"""py-evm's key-value database in one SQLite file.

Every write happens inside ``transaction``: one SQL transaction a block, so that a block, its state, its receipts and
the index over its logs become durable together or not at all, whatever kills the process.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eth.abc import AtomicWriteBatchAPI
from eth.db.atomic import AtomicDBWriteBatch
from eth.db.backends.base import BaseAtomicDB

from twinward_ledger.chains._tables import CHAIN
from twinward_ledger.storage.sqlite import connect_raw

_BUSY_TIMEOUT_S = 10.0


class SqliteDb(BaseAtomicDB):
    """Keys and values in a file. Raises ``sqlite3.Error``, which the chain above translates.

    Usable from several threads, one at a time, and from several processes: a writer holds the file's write lock from
    reading the head to committing the block.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        # Rows and contracts' storage are for the node's own account; the side files SQLite makes are as the file is.
        self._connection = connect_raw(path, CHAIN, timeout_s=_BUSY_TIMEOUT_S)

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[None]:
        """One consistent view; with ``write``, everything inside is kept together or not at all. Not nested."""
        with self._lock:
            if self._depth:
                raise sqlite3.ProgrammingError("transactions of the chain file do not nest")
            self._connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            self._depth = 1
            try:
                yield
                self._connection.execute("COMMIT" if write else "ROLLBACK")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def meta(self, name: str) -> bytes | None:
        """A fact about the whole chain."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def set_meta(self, name: str, value: bytes) -> None:
        """Write a fact about the whole chain."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def add_log(self, block: int, position: int, address: bytes, topics: tuple[bytes, ...], data: bytes) -> None:
        """Index one log of a block. Logs without a topic (anonymous events) are not looked up and not kept."""
        if topics:
            row = (block, position, address, b"".join(topics), topics[0], data)
            self._connection.execute("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?)", row)

    def logs(self, address: bytes, topic: bytes, from_block: int) -> list[tuple[tuple[bytes, ...], bytes]]:
        """Topics and data of one event's logs, oldest first."""
        rows = self._connection.execute(
            "SELECT topics, data FROM logs WHERE address = ? AND topic = ? AND block >= ? ORDER BY block, position",
            (address, topic, from_block),
        ).fetchall()
        return [(tuple(joined[at : at + 32] for at in range(0, len(joined), 32)), bytes(data)) for joined, data in rows]

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()

    def __getitem__(self, key: bytes) -> bytes:
        row = self._connection.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def __setitem__(self, key: bytes, value: bytes) -> None:
        if not self._depth:
            raise sqlite3.ProgrammingError("the chain file is written inside a transaction only")
        self._connection.execute("INSERT OR REPLACE INTO kv VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        if not self._depth:
            raise sqlite3.ProgrammingError("the chain file is written inside a transaction only")
        if not self._connection.execute("DELETE FROM kv WHERE key = ?", (key,)).rowcount:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        return self._connection.execute("SELECT 1 FROM kv WHERE key = ?", (key,)).fetchone() is not None

    @contextmanager
    def atomic_batch(self) -> Iterator[AtomicWriteBatchAPI]:
        """A batch of writes inside the surrounding transaction, which alone makes them durable."""
        with AtomicDBWriteBatch._commit_unless_raises(self) as batch:
            yield batch
