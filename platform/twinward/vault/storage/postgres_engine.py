"""PostgreSQL as the vault uses it: durable at commit, its schema at the newest revision, nothing shown in errors.

What deleting cannot reach here: PostgreSQL keeps the old row in dead space, in its write-ahead log, in replicas and
archives. A shredded twin's wrapped key is out of reach for good once ``Keyring.rotate`` and ``retire`` have followed,
as with any backup.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError

from twinward.vault.errors import MalformedRecord, VaultUnavailable
from twinward.vault.storage import migrations
from twinward.vault.storage.database import Schema
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.postgres import PostgresAddress, reason

POOL_CONNECTIONS = 8
"""Connections a process holds to one database at most; further threads wait."""


class PostgresDatabase:
    """One database on a server, its tables made or brought up to date on first use. Threads and processes share it."""

    def __init__(self, uri: str, schema: Schema, *, serial: bool = True) -> None:
        """Connect, and bring the tables to the newest revision.

        Args:
            uri: ``postgresql://user@host/database``; see ``twinward_ledger.postgres``.
            schema: which of the vault's databases it is.
            serial: whether ``writing`` admits one transaction at a time. Without, rows are what conflicts.

        Raises:
            VaultUnavailable: it cannot be reached or may not be used, or a newer version of Twinward has been there.
        """
        self._schema = schema
        self._serial = serial
        try:
            self.address = PostgresAddress(uri)
        except LogUnavailable as error:
            raise VaultUnavailable(str(error), hint="check the URI in the settings") from None
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
            translated(self.address),
            self._engine.connect().execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            ) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction, committed durably at the end or not at all.

        Should the connection break during the commit itself, whether it came through is open: ``VaultUnavailable``.
        """
        with self._transaction() as connection:
            if self._serial:
                self._lock(connection)
            yield connection

    def forget_deleted(self) -> None:
        """Nothing: a server's files are out of reach from here. See the module's head."""

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with translated(self.address), self._engine.begin() as connection:
            yield connection

    def _lock(self, connection: Connection) -> None:
        """Wait until no other process writes; the lock goes with the transaction."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._schema.application_id})


@contextmanager
def translated(address: PostgresAddress) -> Iterator[None]:
    """Turn a backend's errors into the vault's; the values that a server repeats stay out of the message."""
    try:
        yield
    except UnicodeEncodeError:
        raise MalformedRecord("an id is not Unicode text: it holds a lone surrogate") from None
    except (DataError, psycopg.DataError):
        raise MalformedRecord("an id holds a NUL character, or a number is beyond its column's range") from None
    except (SQLAlchemyError, psycopg.Error, LogUnavailable) as error:
        raise VaultUnavailable(f"{address} cannot be used: {_said(error)}", hint="check the server") from None


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
