"""Every store's schema over time, with alembic: one folder of revisions for each.

Revisions are numbered (``0001``), and a schema's version is the number of its newest one. A server keeps it in a table
of alembic's, a SQLite file in ``user_version`` (ADRs 6 and 38). An upgrade is applied whole or not at all, by one
process: under the file's write lock, or in one transaction under an advisory lock. A process that is killed in the
midst leaves what was there. Alembic takes a third of a second to import: nobody does before there is work for it.
"""

from __future__ import annotations

import io
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.pool import StaticPool

from twinward_ledger.storage import sqlite_files
from twinward_ledger.storage.schema import Schema

if TYPE_CHECKING:
    from alembic.config import Config

_ALEMBIC = threading.Lock()
"""Alembic's ``op`` and ``context`` are one for the whole process."""

NOTHING = "base"
"""The revision before the first one: no tables."""


# --- a server ------------------------------------------------------------------------------------------------------
def revision(connection: Connection, schema: Schema) -> str:
    """The revision a database is at; ``NOTHING`` for one without the tables."""
    table = schema.version_table
    if not inspect(connection).has_table(table):
        return NOTHING
    found = connection.execute(text(f"SELECT version_num FROM {table}")).scalar_one_or_none()  # noqa: S608 - our own
    return str(found) if found is not None else NOTHING


def bring_up_to_date(connection: Connection, schema: Schema) -> None:
    """Lay or upgrade a server's tables, within the caller's transaction.

    Raises:
        schema.unavailable: a newer version of Twinward has upgraded this database, or something else has been there.
    """
    found = revision(connection, schema)
    if found == schema.newest:
        return
    if found != NOTHING and not (found.isdecimal() and found < schema.newest):
        raise _too_new(f"the {schema.name} database", found, schema)
    upgrade(connection, schema, schema.newest)


def upgrade(connection: Connection, schema: Schema, to: str) -> None:
    """Apply every revision up to one."""
    from alembic import command

    with _ALEMBIC:
        command.upgrade(config(connection, schema), to)


def downgrade(connection: Connection, schema: Schema, to: str) -> None:
    """Take back every revision after one. Whatever only newer tables hold is deleted."""
    from alembic import command

    with _ALEMBIC:
        command.downgrade(config(connection, schema), to)


# --- a file --------------------------------------------------------------------------------------------------------
def bring_file_up_to_date(db: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Lay or upgrade a SQLite file's tables and write its number, all in one transaction.

    A file without a number is an earlier release's (``Schema.unnumbered``), or empty. One that cannot be written is
    read as it lies where its tables are those of the newest revision.

    Raises:
        schema.unavailable: as ``bring_up_to_date``.
        sqlite3.Error: it cannot be written.
    """
    engine = create_engine("sqlite://", creator=lambda: db, poolclass=StaticPool, pool_reset_on_return=None)
    with engine.begin() as connection:  # it commits or rolls back what begins here
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if _needs_work(connection, path, schema):
            _lay_or_upgrade(connection, schema)
            connection.exec_driver_sql(f"PRAGMA application_id = {schema.application_id:d}")
            connection.exec_driver_sql(f"PRAGMA user_version = {schema.version:d}")


def _needs_work(connection: Connection, path: Path, schema: Schema) -> bool:
    kind, number = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if (kind, number) == (schema.application_id, schema.version):
        return False  # another process was faster
    if kind == schema.application_id and number > schema.version:
        raise _too_new(str(path), f"{number:04d}", schema)
    empty = _is_empty(connection)
    if kind != schema.application_id and not ((kind, number) == (0, 0) and (empty or schema.unnumbered)):
        raise schema.unavailable(f"{path} is another kind of database", "check the path in the settings")
    if empty or not sqlite_files.is_read_only(path):
        return True
    if (number or schema.unnumbered) == schema.version:
        return False
    raise schema.unavailable(
        f"{path} is at revision {number:04d} and cannot be upgraded where nobody may write",
        "copy the home to where it can be written, and open the copy",
    )


def _lay_or_upgrade(connection: Connection, schema: Schema) -> None:
    if _is_empty(connection):  # the models are what the revisions come to, and need no alembic
        schema.tables(server=False).create_all(connection)
    else:
        _apply(connection, schema, _pragma(connection, "user_version"))


def _is_empty(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql("SELECT count(*) = 0 FROM sqlite_master").scalar_one())


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _apply(connection: Connection, schema: Schema, found: int) -> None:
    """The same scripts as on a server, without alembic's own table: a file's header keeps its number."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with _ALEMBIC:
        scripts = ScriptDirectory.from_config(config(connection, schema))
        with Operations.context(MigrationContext.configure(connection)):
            for number in range(found + 1, schema.version + 1):
                scripts.get_revision(f"{number:04d}").module.upgrade()


def config(connection: Connection, schema: Schema) -> Config:
    """Alembic's settings for one schema over an open connection."""
    from alembic.config import Config

    made = Config(stdout=io.StringIO(), attributes={"connection": connection, "schema": schema})
    made.set_main_option("path_separator", "newline")
    made.set_main_option("script_location", str(Path(__file__).parent / "alembic_environment").replace("%", "%%"))
    made.set_main_option("version_locations", str(schema.revisions).replace("%", "%%"))
    return made


def _too_new(what: str, found: str, schema: Schema) -> Exception:
    return schema.unavailable(
        f"{what} is at revision {found}, this version of Twinward knows {schema.newest}",
        "run the version of Twinward that upgraded it, or a newer one",
    )
