"""The vault's schemas over time, with alembic: one folder of revisions for each of its databases.

Revisions are numbered (``0001``), and a schema's version is the number of its newest one. A server keeps it in a table
of alembic's, a SQLite file in ``user_version`` (see ADR 6). On a server an upgrade is applied whole or not at all.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from twinward.vault.errors import VaultUnavailable
from twinward.vault.storage.database import Schema

if TYPE_CHECKING:
    from alembic.config import Config

_ALEMBIC = threading.Lock()
"""Alembic's ``op`` and ``context`` are one for the whole process."""

NOTHING = "base"
"""The revision before the first one: no tables."""


def version_table(schema: Schema) -> str:
    """The table in which alembic keeps a schema's revision; two schemas may then share a database."""
    return f"{schema.value}_schema_version"


def newest(schema: Schema) -> str:
    """The revision that this version of Twinward works with."""
    return f"{schema.version:04d}"


def revision(connection: Connection, schema: Schema) -> str:
    """The revision a database is at; ``NOTHING`` for one without the tables."""
    table = version_table(schema)
    if not inspect(connection).has_table(table):
        return NOTHING
    found = connection.execute(text(f"SELECT version_num FROM {table}")).scalar_one_or_none()  # noqa: S608 - an enum's
    return str(found) if found is not None else NOTHING


def bring_up_to_date(connection: Connection, schema: Schema) -> None:
    """Lay or upgrade the tables, within the caller's transaction.

    Raises:
        VaultUnavailable: a newer version of Twinward has upgraded this database, or something else has been there.
    """
    found = revision(connection, schema)
    if found == newest(schema):
        return
    if found != NOTHING and not (found.isdecimal() and found < newest(schema)):
        raise VaultUnavailable(
            f"the {schema.value} database is at revision {found}, this version of Twinward knows {newest(schema)}",
            hint="run the version of Twinward that upgraded it, or a newer one",
        )
    upgrade(connection, schema, newest(schema))


def upgrade(connection: Connection, schema: Schema, to: str) -> None:
    """Apply every revision up to one."""
    from alembic import command  # a third of a second, needed once in a database's life

    with _ALEMBIC:
        command.upgrade(config(connection, schema), to)


def upgrade_file(connection: Connection, schema: Schema, found: int) -> None:
    """Bring a SQLite file's tables from one numbered revision to the newest; its number is the caller's to write.

    The same scripts as on a server, without alembic's own table: a file's header keeps its number (ADR 6).
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with _ALEMBIC:
        scripts = ScriptDirectory.from_config(config(connection, schema))
        with Operations.context(MigrationContext.configure(connection)):
            for number in range(found + 1, schema.version + 1):
                scripts.get_revision(f"{number:04d}").module.upgrade()


def downgrade(connection: Connection, schema: Schema, to: str) -> None:
    """Take back every revision after one. Whatever only newer tables hold is deleted."""
    from alembic import command

    with _ALEMBIC:
        command.downgrade(config(connection, schema), to)


def config(connection: Connection, schema: Schema) -> Config:
    """Alembic's settings for one schema over an open connection."""
    from alembic.config import Config

    here = Path(__file__).parent
    made = Config(stdout=io.StringIO(), attributes={"connection": connection, "schema": schema})
    made.set_main_option("path_separator", "newline")
    made.set_main_option("script_location", str(here).replace("%", "%%"))
    made.set_main_option("version_locations", str(here / schema.value).replace("%", "%%"))
    return made
