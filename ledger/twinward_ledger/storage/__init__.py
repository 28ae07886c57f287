"""The one base under every relational store: how a database is opened, made durable, versioned and migrated.

A store declares a ``Schema``: its tables as SQLModel classes, and its own line of alembic revisions. It opens its
database by URI and gets a ``Database``, a SQLite file or PostgreSQL, whose transactions it writes once. Stores whose
hot paths speak to the driver (log, completeness map, chain) open a raw connection of the same kind.

This room imports neither alembic nor a driver before one is needed: see ``migrations``.
"""

from twinward_ledger.storage.columns import COUNTED, WITHOUT_ROWID, AsStored, Long, Name, table_of, upsert, upsert_all
from twinward_ledger.storage.database import Database, Watch, open_database
from twinward_ledger.storage.schema import Schema

__all__ = [
    "COUNTED",
    "WITHOUT_ROWID",
    "AsStored",
    "Database",
    "Long",
    "Name",
    "Schema",
    "Watch",
    "open_database",
    "table_of",
    "upsert",
    "upsert_all",
]
