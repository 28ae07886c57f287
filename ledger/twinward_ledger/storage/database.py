"""What a store needs of a database, whichever it is, and which one a URI names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection, Table
from sqlmodel import SQLModel

from twinward_ledger.storage.schema import Schema


class Watch(Protocol):
    """Tells cheaply whether anything was committed, by whomever."""

    def version(self) -> tuple[object, object]:
        """Which database it is, and how far: another one if anything was committed since, perhaps also elsewhere."""
        ...

    def close(self) -> None:
        """Give back its connection, as closing the database does too."""
        ...


class Database(Protocol):
    """A database whose commits are durable. Errors come out as its schema's.

    Attributes:
        is_own: whether nothing but this store is in it, so that its ``watch`` tells of nobody else.
    """

    is_own: bool

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection that sees one state of the database."""
        ...

    def writing(self, *, wait: bool = True) -> AbstractContextManager[Connection]:
        """A transaction alone in writing: committed durably at the end, or not at all.

        Without ``wait`` it fails where another one is at work.
        """
        ...

    def table(self, model: type[SQLModel]) -> Table:
        """A model's table as it is called here."""
        ...

    def lay_missing(self) -> None:
        """Make anew, empty, what tables are missing: whoever took one away is found by what vouches for its rows."""
        ...

    def watch(self) -> Watch:
        """A connection of its own that only looks whether anything changed."""
        ...

    def forget_deleted(self) -> None:
        """Put what was deleted out of reach, as far as the backend can."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...


def open_database(uri: str, schema: Schema) -> Database:
    """Open the database that a URI names, its tables made or brought up to date.

    Args:
        uri: ``sqlite:PATH`` or ``postgresql://user@host/database``.
        schema: whose database it is.

    Raises:
        schema.unavailable: none is known for this URI, it cannot be used, or a newer version of Twinward was there.
    """
    opener = _OPENERS.get(uri.partition(":")[0].lower())
    if opener is None:  # the rest of the URI stays out of the message: it might hold a secret
        raise schema.unavailable(
            "no database is known for this URI", "use sqlite:PATH or postgresql://user@host/database"
        )
    return opener(uri, schema)


def _open_sqlite(uri: str, schema: Schema) -> Database:
    from twinward_ledger.storage.sqlite import SqliteFile

    path = uri.partition(":")[2]
    if not path:
        raise schema.unavailable("sqlite: needs the path of its file", f"e.g. sqlite:{schema.name}.db")
    return SqliteFile(Path(path), schema)


def _open_postgres(uri: str, schema: Schema) -> Database:
    try:
        from twinward_ledger.storage.postgres import PostgresDatabase
    except ImportError:
        raise schema.unavailable("PostgreSQL needs its driver", "pip install 'twinward[postgres]'") from None
    return PostgresDatabase(uri, schema)


_OPENERS: Final[dict[str, Callable[[str, Schema], Database]]] = {
    "sqlite": _open_sqlite,
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
}
