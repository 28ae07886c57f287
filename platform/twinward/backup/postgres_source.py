"""A PostgreSQL database, held still, then copied table by table with COPY out of one snapshot; and put back.

One connection keeps writers out for a moment (``LOCK TABLE … IN SHARE MODE`` on tables of which every writer touches
one), another begins a REPEATABLE READ transaction meanwhile, which then sees that moment for as long as the copy takes.
Every table of the database's schema is taken: it belongs to this hospital alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

from twinward.backup.archive import ArchiveWriter
from twinward.backup.errors import BackupDamaged, CannotFreeze, InTheWay, SourceLost
from twinward.backup.file_sources import Progress
from twinward.backup.manifest import POSTGRES, Part
from twinward.core.errors import Unavailable
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.storage.postgres_address import PostgresAddress, reason

_WRITERS_TOUCH = {
    "records": ("record_head", "segment"),
    "keyring": ("wrapped_twin_key", "wrapping_key"),
    "log": ("log_head",),
    "state": ("account_change", "consent_change", "policy_change", "anchors", "witnesses"),
}
_REVISIONS = "_schema_version"
_TABLES = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY c.relname ORDER BY c.relname
"""
_ADDED = {
    *("log_key_changes", "subscription", "subscriptions_schema_version"),
    *("sign_in", "used_once", "sign_ins_schema_version"),
    *("policy_record", "policy_change", "policies_schema_version"),
    *("log_schema_version", "map_schema_version"),
}
"""Tables that came without another revision: a backup made before has none, and they stay empty."""
_LATER = _ADDED | {"wrapping_key"}
"""Tables that a database which no node has opened since may lack."""
_NEEDS = """
SELECT child.relname, parent.relname FROM pg_constraint k
JOIN pg_class child ON child.oid = k.conrelid JOIN pg_class parent ON parent.oid = k.confrelid
WHERE k.contype = 'f' AND child.relnamespace = current_schema()::regnamespace
"""


class PostgresSource:
    """One database of a server; it may hold several of records, keyring and log."""

    def __init__(self, uri: str, name: str, roles: tuple[str, ...]) -> None:
        """Connect. ``name`` is what its tables stand under in the archive."""
        self.name = name
        self.roles = roles
        self._address = PostgresAddress(uri)
        with _translated(self._address):
            self._holder = self._address.connect(autocommit=False)
            self._reader = self._address.connect(autocommit=False)
            self._reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            self._reader.read_only = True

    def hold(self) -> None:
        """Keep writers out. Raises ``CannotFreeze`` if one is at work."""
        with _translated(self._address):
            self._holder.execute("SET LOCAL lock_timeout = '100ms'")
            for role in self.roles:
                touched = [one for one in _WRITERS_TOUCH[role] if one not in _LATER or self._has(one)]
                tables = sql.SQL(", ").join(map(sql.Identifier, touched))
                self._holder.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(tables))

    def _has(self, table: str) -> bool:
        """Whether a table that came later is there."""
        return self._holder.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone() == (True,)

    def pin(self) -> None:
        """Fix the moment that will be copied."""
        with _translated(self._address):
            self._reader.execute("SELECT 1 FROM pg_class LIMIT 1")

    def release(self) -> None:
        """Let writers go on."""
        with _translated(self._address):
            self._holder.rollback()

    def unpin(self) -> None:
        """Give the moment up, to try again."""
        with _translated(self._address):
            self._reader.rollback()

    def rows(self, text: str) -> list[tuple[object, ...]]:
        """What the moment shows."""
        with _translated(self._address):
            return self._reader.execute(text).fetchall()

    def save(self, archive: ArchiveWriter, staging: Path, progress: Progress) -> None:
        """Copy the moment into the archive, one part for each table."""
        tables = self.rows(_TABLES)
        file = staging / "table.copy"
        for done, (table, columns) in enumerate(tables):
            assert isinstance(table, str)  # noqa: S101 - narrows the type: the query's own columns
            assert isinstance(columns, list)  # noqa: S101 - as above
            progress(f"{self.name}/{table}", done, len(tables))
            with (
                _translated(self._address),
                file.open("wb") as out,
                self._reader.cursor().copy(_copy(table, columns, "TO STDOUT")) as copied,
            ):
                for chunk in copied:
                    out.write(chunk)
            roles = self.roles if done == 0 else ()
            name = f"{self.name}/{table}"
            archive.add(file, name, POSTGRES, roles=roles, columns=tuple(columns))
        progress(self.name, len(tables), len(tables))
        file.unlink(missing_ok=True)

    def close(self) -> None:
        """Give back the connections."""
        self._holder.close()
        self._reader.close()


def put_back(uri: str, parts: list[tuple[Part, Path]]) -> None:
    """Fill a database whose tables are laid and empty, in one transaction.

    Raises:
        InTheWay: a table holds something.
        BackupDamaged: the tables are not those of the backup: another revision.
        Unavailable: the server does not answer, or the account may not.
    """
    address = PostgresAddress(uri)
    with _translated(address), address.connect(autocommit=False) as connection:
        tables: dict[str, list[str]] = dict(connection.execute(_TABLES).fetchall())
        by_table = {part.name.rsplit("/", 1)[-1]: (part, path) for part, path in parts}
        for name in _ADDED - by_table.keys():
            tables.pop(name, None)
        if by_table.keys() != tables.keys() or any(tables[name] != one.columns for name, (one, _) in by_table.items()):
            raise BackupDamaged(
                "the backup's tables are not those this version of Twinward lays",
                hint="restore with the version of Twinward that made the backup, then upgrade",
            )
        _require_empty(connection, [name for name in tables if not name.endswith(_REVISIONS)])
        every = sql.SQL(", ").join([sql.Identifier(one) for one in tables])
        connection.execute(sql.SQL("TRUNCATE {}").format(every))
        for table in _parents_first(connection, list(tables)):
            part, path = by_table[table]
            with path.open("rb") as file, connection.cursor().copy(_copy(table, part.columns, "FROM STDIN")) as copied:
                while chunk := file.read(1 << 20):
                    copied.write(chunk)


def _require_empty(connection: psycopg.Connection[Any], tables: list[str]) -> None:
    for table in tables:
        found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
        # A log's or a map's head is one row from the start; what it heads is not.
        if found is not None and found[0] > (1 if table.endswith("_head") and table != "record_head" else 0):
            raise InTheWay(
                "the database that the settings name is not empty", hint="name an empty one: TWINWARD_RECORDS and so on"
            )


def _parents_first(connection: psycopg.Connection[Any], tables: list[str]) -> list[str]:
    needs: dict[str, set[str]] = {table: set() for table in tables}
    for child, parent in connection.execute(_NEEDS).fetchall():
        if child != parent:
            needs[child].add(parent)
    ordered: list[str] = []
    while len(ordered) < len(tables):
        ordered += [table for table in tables if table not in ordered and needs[table] <= set(ordered)]
    return ordered


def _copy(table: str, columns: list[str], way: Literal["TO STDOUT", "FROM STDIN"]) -> sql.Composed:
    names = sql.SQL(", ").join([sql.Identifier(one) for one in columns])
    return sql.SQL("COPY {} ({}) {} (FORMAT BINARY)").format(sql.Identifier(table), names, sql.SQL(way))


@contextmanager
def _translated(address: PostgresAddress) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise CannotFreeze(f"{address} is busy", hint="try again") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise SourceLost(f"{address} cannot be used: {reason(error)}", hint="check the server") from None
    except (psycopg.Error, LogUnavailable) as error:
        said = str(error) if isinstance(error, LogUnavailable) else reason(error)
        raise Unavailable(
            f"{address} cannot be used: {said}", hint="check the server and the account's rights"
        ) from None
