"""A SQLite file as every store opens it: durable at commit, erasing what is deleted, readable by its owner only."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool
from sqlmodel import SQLModel

from twinward_ledger.storage import sqlite_files
from twinward_ledger.storage.schema import Schema

BUSY_TIMEOUT_S: Final = 15.0
PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # in WAL mode: every commit is on the disk before it returns
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # deleted content is overwritten with zeros
)
_WRITING: Final = "twinward_writing"


class SqliteFile:
    """One database file, its tables made or upgraded on first use. Several threads and processes may share it."""

    is_own = True

    def __init__(self, path: Path, schema: Schema) -> None:
        """Open or make the file; ``:memory:`` is gone with this object, and one thread's at a time.

        Raises:
            schema.unavailable: it cannot be opened, holds something else, or was upgraded by a newer Twinward.
        """
        self.path = path
        self._schema = schema
        self._closed = False
        self._turn = threading.RLock()
        self._watches: list[FileWatch] = []
        self._engine = _engine(path)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with translated(self.path, self._schema), self._open().begin() as connection:
            yield connection

    @contextmanager
    def writing(self, *, wait: bool = True) -> Iterator[Connection]:
        """A transaction that holds the write lock from its start: committed durably at the end, or not at all.

        Threads of one process take turns before any of them has a connection: what the one at work reads meanwhile
        finds one, however many wait.
        """
        with (
            translated(self.path, self._schema),
            self._alone(wait=wait),
            self._open().connect().execution_options(**{_WRITING: wait}) as connection,
            connection.begin(),
        ):
            yield connection

    def table(self, model: type[SQLModel]) -> Table:
        """A model's table as it is called in a file."""
        return self._schema.table(model, server=False)

    def lay_missing(self) -> None:
        """Make anew, empty, what tables are missing."""
        tables = self._schema.tables(server=False)
        with self.reading() as connection:
            there = set(inspect(connection).get_table_names())
        if not tables.tables.keys() <= there and not sqlite_files.is_read_only(self.path):
            with self.writing() as connection:
                tables.create_all(connection)

    def watch(self) -> FileWatch:
        """A connection of its own: one that also wrote would not see its own commits."""
        self._watches.append(FileWatch(self))
        return self._watches[-1]

    def forget_deleted(self) -> None:
        """Write the file anew without its free space, and empty the write-ahead log: deleted rows lingered in both.

        ``secure_delete`` zeroes what a deletion frees, but pages that were split or moved long before may hold copies.
        """
        with translated(self.path, self._schema), self._open().connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):  # VACUUM itself goes through the log
                driver.execute(statement).close()

    def reopen(self) -> None:
        """Let go of a file that was replaced, and open what lies there now."""
        self._engine.dispose()
        self._prepare()

    def close(self) -> None:
        """Give back every connection; nothing is read or written any more. Closing twice is harmless."""
        self._closed = True
        for watch in self._watches:
            watch.close()
        self._engine.dispose()

    @contextmanager
    def _alone(self, *, wait: bool) -> Iterator[None]:
        """Alone in writing, among this process's threads."""
        if not (self._turn.acquire(timeout=BUSY_TIMEOUT_S) if wait else self._turn.acquire(blocking=False)):
            raise self._schema.unavailable(f"{self.path} is being written to by another thread", "try again")
        try:
            yield
        finally:
            self._turn.release()

    def _open(self) -> Engine:
        if self._closed:
            raise self._schema.unavailable(f"{self.path} is closed", "")
        return self._engine

    def _prepare(self) -> None:
        with translated(self.path, self._schema):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private(self.path)
            with self._engine.connect() as connection:
                driver: Any = connection.connection.dbapi_connection
                require_current(driver, self.path, self._schema)


class FileWatch:
    """SQLite's ``data_version`` of one file. A file that was replaced is opened anew."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connect()

    def version(self) -> tuple[object, object]:
        """Which file it is, and the number of commits by other connections, as this one counts them."""
        with self._lock:
            try:
                return self._looked()
            except Exception:  # this is asked many times a request: what translates is set up for errors only
                with translated(self._file.path, self._file._schema):
                    raise

    def close(self) -> None:
        """Give back the connection."""
        with self._lock:
            self._db.close()

    def _looked(self) -> tuple[object, object]:
        if _identity(self._file.path) != self._of:
            self._db.close()
            self._file.reopen()
            self._connect()
        return self._of, self._db.execute("PRAGMA data_version").fetchone()[0]

    def _connect(self) -> None:
        with translated(self._file.path, self._file._schema):
            self._db = sqlite_files.connect(self._file.path, timeout_s=BUSY_TIMEOUT_S)
            self._of = _identity(self._file.path)


def connect_raw(path: Path | str, schema: Schema, *, timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """A connection of the driver's own to a store's file (or ``:memory:``), at the newest revision, owner's alone.

    Raises:
        schema.unavailable: it cannot be opened, holds something else, or was upgraded by a newer Twinward.
    """
    with translated(Path(path), schema):
        make_private(Path(path))
        connection = sqlite_files.connect(path, timeout_s=timeout_s)
        try:
            for pragma in PRAGMAS:
                connection.execute(pragma)
            require_current(connection, Path(path), schema)
        except BaseException:
            connection.close()
            raise
    return connection


def make_private(path: Path) -> None:
    """Make a file that is not there, for nobody but its owner to read.

    A file that exists is SQLite's alone to open: closing a descriptor of it here would drop the locks that other
    connections of this process hold (sqlite.org/howtocorrupt.html, 2.2).
    """
    if str(path) == sqlite_files.IN_MEMORY:
        return
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def require_current(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Lay or upgrade a file's tables, whole or not at all, unless it is at the newest revision.

    Raises:
        schema.unavailable: it is another kind of database, or at a revision that this version does not know.
    """
    if stamp(connection) != (schema.application_id, schema.version):
        from twinward_ledger.storage.migrations import bring_file_up_to_date

        bring_file_up_to_date(connection, path, schema)


def stamp(connection: sqlite3.Connection) -> tuple[int, int]:
    """What a file's header says it is, and at which revision."""
    kind = connection.execute("PRAGMA application_id").fetchone()[0]
    return int(kind), int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def translated(path: Path, schema: Schema) -> Iterator[None]:
    """Turn a backend's errors into a store's; their parameters (ids, ciphertext) stay out of the message."""
    try:
        yield
    except UnicodeEncodeError:
        raise schema.refuse("an id is not Unicode text: it holds a lone surrogate") from None
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        reason = getattr(cause, "strerror", None) or (str(cause) if isinstance(cause, sqlite3.Error) else "")
        raise schema.unavailable(
            f"{path} cannot be used: {reason or type(cause).__name__}", "check the disk and the file's rights"
        ) from None


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        creator=lambda: sqlite_files.connect(path, timeout_s=BUSY_TIMEOUT_S),
        hide_parameters=True,
        poolclass=StaticPool if str(path) == sqlite_files.IN_MEMORY else QueuePool,
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
        waits = connection.get_execution_options().get(_WRITING)
        if waits is None:
            connection.exec_driver_sql("BEGIN")
            return
        if not waits:
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        finally:
            if not waits:
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")

    return engine
