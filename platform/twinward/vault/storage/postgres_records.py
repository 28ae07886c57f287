"""Sealed rows in PostgreSQL: durable at commit, written with binary COPY, conflicts told by rows, not by one lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import psycopg
from psycopg import sql
from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, String, Table, text

from twinward.vault.storage.relational_records import RelationalRecordStore
from twinward.vault.storage.schemas import RECORDS
from twinward_ledger.storage.postgres import PostgresDatabase

# What binary COPY must be told, since it converts nothing: the first that a column's type is one of.
_WIRE_TYPES: Final = ((LargeBinary, "bytea"), (BigInteger, "int8"), (Integer, "int4"), (String, "text"))

_SEGMENT_LOCK: Final = RECORDS.application_id + 1
"""Held by who numbers segments."""

_NAME_LOCKS: Final = RECORDS.application_id
"""With a byte: held by who makes records whose names must be new."""


class PostgresRecordStore(RelationalRecordStore):
    """A ``RecordStore`` in one database on a server. Safe to share between threads and processes.

    Two writers wait for each other only where they touch the same record; the second then is a ``VersionConflict``.
    """

    DUPLICATE: ClassVar[type[Exception]] = psycopg.errors.UniqueViolation

    def __init__(self, uri: str) -> None:
        """Connect, and lay or upgrade the tables. Raises ``VaultUnavailable``."""
        super().__init__(PostgresDatabase(uri, RECORDS, serial=False))

    def _insert(
        self, connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[object, ...]]
    ) -> None:
        driver = connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("COPY needs psycopg's connection")
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types([_wire_type(table, name) for name in columns])
            for row in rows:
                copy.write_row(row)

    def _hold(self, connection: Connection, tags: Sequence[bytes]) -> None:
        # Several may write at once, and what is absent has no row to lock: they take turns by the tag's first byte, so
        # that however many tags there are, there are few locks; always in one order.
        statement = text("SELECT pg_advisory_xact_lock(:kind, :byte)")
        for byte in sorted({tag[0] for tag in tags}):
            connection.execute(statement, {"kind": _NAME_LOCKS, "byte": byte})

    def _segment_numbers(self, connection: Connection, count: int) -> range:
        # Several may write at once: they take turns from here to their commit, which only bulk writers do.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SEGMENT_LOCK})
        return super()._segment_numbers(connection, count)


def _wire_type(table: Table, column: str) -> str:
    kind = table.c[column].type
    return next(name for sort, name in _WIRE_TYPES if isinstance(kind, sort))
