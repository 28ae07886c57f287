"""What a store says of its database: which tables, at which revision, and in which words it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import MetaData, Table
from sqlmodel import SQLModel

from twinward_ledger.errors import LogUnavailable


def _log_unavailable(message: str, _hint: str) -> Exception:
    return LogUnavailable(message)


@dataclass(frozen=True)
class Schema:
    """One store's tables over time.

    Attributes:
        name: the store's; on a server it names the table that holds the revision.
        application_id: marks a SQLite file as this store's, and numbers its lock on a server.
        version: the newest revision there is.
        revisions: the folder of alembic's scripts, ``0001_….py`` and so on.
        models: the tables of the newest revision, as the models declare them.
        in_files: tables that are called otherwise in a SQLite file, which is the store's alone.
        unnumbered: the revision of files of releases that did not number them; 0 where every release did.
        unavailable: the store's error for a database that cannot be used, of a message and a hint.
        malformed: the store's error for values that no database takes; else they are ``unavailable``.
    """

    name: str
    application_id: int
    version: int
    revisions: Path
    models: Callable[[], MetaData]
    in_files: Mapping[str, str] = field(default_factory=dict)
    unnumbered: int = 0
    unavailable: Callable[[str, str], Exception] = _log_unavailable
    malformed: Callable[[str], Exception] | None = None

    @property
    def version_table(self) -> str:
        """The table in which a server keeps the revision; several stores may then share a database."""
        return f"{self.name}_schema_version"

    @property
    def newest(self) -> str:
        """The revision that this version of Twinward works with."""
        return f"{self.version:04d}"

    def tables(self, *, server: bool) -> MetaData:
        """The tables of the newest revision as they are called on a server, or in a file."""
        models = self.models()
        if server or not self.in_files:
            return models
        named = MetaData()
        for table in models.tables.values():
            table.to_metadata(named, name=self.in_files.get(table.name, table.name))
        return named

    def table(self, model: type[SQLModel], *, server: bool) -> Table:
        """A model's table as it is called on a server, or in a file."""
        name = str(model.__tablename__)
        return self.tables(server=server).tables[name if server else self.in_files.get(name, name)]

    def refuse(self, message: str) -> Exception:
        """The error for a value that no database takes."""
        return self.unavailable(message, "") if self.malformed is None else self.malformed(message)
