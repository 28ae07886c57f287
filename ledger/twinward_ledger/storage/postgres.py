"""PostgreSQL as every store uses it: durable at commit, its schema at the newest revision, nothing shown in errors.

What deleting cannot reach here: PostgreSQL keeps the old row in dead space, in its write-ahead log, in replicas and
archives. A shredded twin's wrapped key is out of reach for good once ``Keyring.rotate`` and ``retire`` have followed,
as with any backup.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from sqlalchemy import Connection, Engine, Table, create_engine, text
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from sqlmodel import SQLModel

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.storage import migrations
from twinward_ledger.storage.postgres_address import PostgresAddress, reason
from twinward_ledger.storage.schema import Schema

POOL_CONNECTIONS: Final = 8
"""Connections a process holds to one database at most; further threads wait."""
_SNAPSHOT: Final = "SELECT pg_current_snapshot()::text"


class PostgresDatabase:
    """One database on a server, its tables made or brought up to date on first use. Threads and processes share it."""

    is_own = False

    def __init__(self, uri: str, schema: Schema, *, serial: bool = True) -> None:
        """Connect, and bring the tables to the newest revision.

        Args:
            uri: ``postgresql://user@host/database``; see ``postgres_address``.
            schema: whose database it is.
            serial: whether ``writing`` admits one transaction at a time. Without, rows are what conflicts.

        Raises:
            schema.unavailable: it cannot be reached or may not be used, or a newer version of Twinward has been there.
        """
        self._schema = schema
        self._serial = serial
        self._closed = False
        self._watches: list[ServerWatch] = []
        try:
            self.address = PostgresAddress(uri)
        except LogUnavailable as error:
            raise schema.unavailable(str(error), "check the URI in the settings") from None
        self._engine = _engine(self.address)
        try:
            with self._transaction() as connection:
                self._lock(connection)
                migrations.bring_up_to_date(connection, schema)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with (
            translated(self.address, self._schema),
            self._open()
            .connect()
            .execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def writing(self, *, wait: bool = True) -> Iterator[Connection]:
        """A transaction, committed durably at the end or not at all.

        Should the connection break during the commit itself, whether it came through is open: ``schema.unavailable``.
        """
        with self._transaction() as connection:
            if self._serial:
                self._lock(connection, wait=wait)
            yield connection

    def table(self, model: type[SQLModel]) -> Table:
        """A model's table."""
        return self._schema.table(model, server=True)

    def lay_missing(self) -> None:
        """Nothing: laying tables is their owner's, and the node's account may be another."""

    def watch(self) -> ServerWatch:
        """A connection of its own that looks at the server's snapshots."""
        self._watches.append(ServerWatch(self.address, self._schema))
        return self._watches[-1]

    def forget_deleted(self) -> None:
        """Nothing: a server's files are out of reach from here. See the module's head."""

    def close(self) -> None:
        """Give back every connection; nothing is read or written any more. Closing twice is harmless."""
        self._closed = True
        for watch in self._watches:
            watch.close()
        self._engine.dispose()

    def _open(self) -> Engine:
        if self._closed:
            raise self._schema.unavailable(f"{self.address} is closed", "")
        return self._engine

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(self.address, self._schema), self._open().begin() as connection:
            yield connection

    def _lock(self, connection: Connection, *, wait: bool = True) -> None:
        """Wait until no other process writes; the lock goes with the transaction."""
        key = {"key": self._schema.application_id}
        if wait:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), key)
        elif not connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), key).scalar_one():
            raise self._schema.unavailable(f"{self.address} is being written to by another process", "try again")


class ServerWatch:
    """What the server's newest snapshot holds: another one after any commit, of whichever database and table."""

    def __init__(self, address: PostgresAddress, schema: Schema) -> None:
        self._address, self._schema = address, schema
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._closed = False

    def version(self) -> tuple[object, object]:
        """The snapshot. A connection that broke since the last look is made anew."""
        with self._lock, translated(self._address, self._schema):
            fresh = self._connection is None or self._connection.closed
            try:
                return self._look()
            except psycopg.OperationalError:
                if fresh or self._connection is None or not self._connection.broken:
                    raise
                return self._look()

    def close(self) -> None:
        """Give back the connection."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()

    def _look(self) -> tuple[object, object]:
        if self._closed:
            raise self._schema.unavailable(f"{self._address} is closed", "")
        if self._connection is None or self._connection.closed:
            self._connection = self._address.connect()
        return str(self._address), self._connection.execute(_SNAPSHOT).fetchone()


@contextmanager
def translated(address: PostgresAddress, schema: Schema) -> Iterator[None]:
    """Turn a backend's errors into a store's; the values that a server repeats stay out of the message."""
    try:
        yield
    except UnicodeEncodeError:
        raise schema.refuse("an id is not Unicode text: it holds a lone surrogate") from None
    except (DataError, psycopg.DataError):
        raise schema.refuse("an id holds a NUL character, or a number is beyond its column's range") from None
    except (SQLAlchemyError, psycopg.Error, LogUnavailable) as error:
        raise schema.unavailable(f"{address} cannot be used: {_said(error)}", "check the server") from None


def _said(error: Exception) -> str:
    if isinstance(error, LogUnavailable):
        return str(error)
    cause = error.orig if isinstance(error, DBAPIError) else error
    return reason(cause or error)


def _engine(address: PostgresAddress) -> Engine:
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: address.connect(autocommit=False),
        pool_size=POOL_CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,  # a server that restarted costs a reconnection, not an error
        hide_parameters=True,
    )
