"""What the vault needs of a database, whichever it is, and which one a URI names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection, MetaData

from twinward.vault.errors import VaultUnavailable
from twinward.vault.storage.tables import KeyringBase, RecordsBase


class Schema(Enum):
    """The vault's two databases. Each is versioned by itself: ``migrations/<name>/``."""

    RECORDS = "records"
    KEYRING = "keyring"

    @property
    def metadata(self) -> MetaData:
        """The tables as the models declare them."""
        return RecordsBase.metadata if self is Schema.RECORDS else KeyringBase.metadata

    @property
    def application_id(self) -> int:
        """What marks a SQLite file as this database, and numbers its lock on a server."""
        return 0x54575652 if self is Schema.RECORDS else 0x54574B52  # "TWVR", "TWKR"

    @property
    def version(self) -> int:
        """The newest revision in ``migrations/<name>/``."""
        return 2


class Database(Protocol):
    """A database whose commits are durable. Errors come out as ``VaultUnavailable`` and ``MalformedRecord``."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection that sees one state of the database."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction alone in writing: committed durably at the end, or not at all."""
        ...

    def forget_deleted(self) -> None:
        """Put what was deleted out of reach, as far as the backend can."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...


def open_database(uri: str, schema: Schema) -> Database:
    """Open the database that a URI names: ``sqlite:PATH`` or ``postgresql://user@host/database``.

    Raises:
        VaultUnavailable: none is known for this URI, or it cannot be used.
    """
    opener = _OPENERS.get(uri.partition(":")[0].lower())
    if opener is None:  # the rest of the URI stays out of the message: it might hold a secret
        raise VaultUnavailable(
            "no database is known for this URI", hint="use sqlite:PATH or postgresql://user@host/database"
        )
    return opener(uri, schema)


def _open_sqlite(uri: str, schema: Schema) -> Database:
    from twinward.vault.storage.sqlite_engine import SqliteFile

    path = uri.partition(":")[2]
    if not path:
        raise VaultUnavailable("sqlite: needs the path of its file", hint="e.g. sqlite:vault.db")
    return SqliteFile(Path(path), schema)


def _open_postgres(uri: str, schema: Schema) -> Database:
    try:
        from twinward.vault.storage.postgres_engine import PostgresDatabase
    except ImportError:
        raise VaultUnavailable("PostgreSQL needs its driver", hint="pip install 'twinward[postgres]'") from None

    return PostgresDatabase(uri, schema)


_OPENERS: Final[dict[str, Callable[[str, Schema], Database]]] = {
    "sqlite": _open_sqlite,
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
}
