"""Types of columns that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Connection, Insert, Integer, LargeBinary, String, Table
from sqlmodel import SQLModel

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Name: Final = String().with_variant(String(collation="C"), "postgresql")
"""An id. Compared byte by byte on every backend, so that lists have one order."""

Long: Final = BigInteger().with_variant(Integer(), "sqlite")
"""Milliseconds since 1970, sizes, indices. SQLite's INTEGER has 64 bits already."""

WITHOUT_ROWID: Final = {"sqlite_with_rowid": False}
"""Arguments of a table that SQLite keeps by its primary key alone."""

COUNTED: Final = {"autoincrement": False}
"""Arguments of a key's column whose numbers the store gives out."""


class AsStored(LargeBinary):
    """Bytes in, whatever lies there out: an intruder can store text or a number, and the store says what that is."""

    def bind_processor(self, dialect: Any) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        """Drivers take bytes as they are."""
        return

    def result_processor(self, dialect: Any, coltype: Any) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        """Nothing is made of what is found: ``bytes(1_000_000)`` would be a million zeros."""
        return


def upsert(connection: Connection, table: Table, **values: object) -> None:
    """Put a row in the place of the one with the same key, if there is one."""
    connection.execute(_upsert_of(connection.dialect.name, table, tuple(values)), values)


def upsert_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """The same of many rows, which all have the same columns."""
    if rows:
        connection.execute(_upsert_of(connection.dialect.name, table, tuple(rows[0])), [dict(one) for one in rows])


@lru_cache(maxsize=256)
def _upsert_of(dialect: str, table: Table, names: tuple[str, ...]) -> Insert:
    """The statement, made once: making it takes as long as doing it. The other database's dialect is not loaded."""
    made: sqlite.Insert | postgresql.Insert
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        made = sqlite.insert(table)
    else:
        from sqlalchemy.dialects import postgresql

        made = postgresql.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: made.excluded[name] for name in names if name not in keys}
    return made.on_conflict_do_update(index_elements=keys, set_=changed)


def table_of(model: type[SQLModel]) -> Table:
    """A model's table, for SQLAlchemy Core."""
    return model.metadata.tables[str(model.__tablename__)]
