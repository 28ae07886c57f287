"""SQLite as the vault uses it: durable at commit, erasing what is deleted, readable by its owner only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from twinward.vault.errors import MalformedRecord, VaultUnavailable
from twinward.vault.storage.database import Schema
from twinward_ledger import sqlite_files

BUSY_TIMEOUT_S = 15
_WRITING = "twinward_writing"

PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # in WAL mode: every commit is on the disk before it returns
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # deleted content is overwritten with zeros
)


class SqliteFile:
    """One database file, its tables made on first use. Several threads and processes may share it."""

    def __init__(self, path: Path, schema: Schema) -> None:
        """Open or make the file.

        Raises:
            VaultUnavailable: it cannot be opened, or holds something else.
        """
        self.path = path
        self._engine = _engine(path)
        with translated(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A file that exists is SQLite's alone to open: closing a descriptor of it here would drop the locks that
            # other connections of this process hold (sqlite.org/howtocorrupt.html, 2.2).
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            with self.writing() as connection:
                stamped = (_pragma(connection, "application_id"), _pragma(connection, "user_version"))
                if stamped == (0, 0):
                    schema.metadata.create_all(connection)
                    connection.exec_driver_sql(f"PRAGMA application_id = {schema.application_id:d}")
                    connection.exec_driver_sql(f"PRAGMA user_version = {schema.version:d}")
                elif stamped[0] == schema.application_id and 0 < stamped[1] < schema.version:
                    from twinward.vault.storage import (
                        migrations,  # alembic takes a third of a second: only where it is needed
                    )

                    migrations.upgrade_file(connection, schema, stamped[1])
                    connection.exec_driver_sql(f"PRAGMA user_version = {schema.version:d}")
                elif stamped != (schema.application_id, schema.version):
                    raise VaultUnavailable(
                        f"{path} is another kind of database, or of another version of Twinward",
                        hint="check the path in the settings",
                    )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with translated(self.path), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start: committed durably at the end, or not at all."""
        with (
            translated(self.path),
            self._engine.connect().execution_options(**{_WRITING: True}) as connection,
            connection.begin(),
        ):
            yield connection

    def forget_deleted(self) -> None:
        """Write the file anew without its free space, and empty the write-ahead log: deleted rows lingered in both.

        ``secure_delete`` zeroes what a deletion frees, but pages that were split or moved long before may hold copies.
        """
        with translated(self.path), self._engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            if raw is not None:
                cursor = raw.cursor()
                for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):  # VACUUM itself goes through the log
                    cursor.execute(statement)
                cursor.close()

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn a backend's errors into ``VaultUnavailable``; their parameters (ids, ciphertext) stay out of the message."""
    try:
        yield
    except UnicodeEncodeError:
        raise MalformedRecord("an id is not Unicode text: it holds a lone surrogate") from None
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        reason = getattr(cause, "strerror", None) or (str(cause) if isinstance(cause, sqlite3.Error) else "")
        raise VaultUnavailable(
            f"{path} cannot be used: {reason or type(cause).__name__}", hint="check the disk and the file's rights"
        ) from None


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=lambda: sqlite_files.connect(path, timeout_s=BUSY_TIMEOUT_S),
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that will write takes the lock at once: upgrading later may fail with SQLITE_BUSY.
        writing = connection.get_execution_options().get(_WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
