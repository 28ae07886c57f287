"""Filters of the access log that an officer keeps under a name: sealed, one row each, one truth for every process.

A row (``core.sealed_rows``) holds an opaque id, a blind tag of the account and sealed bytes, bound to both under the
label ``"twinward/saved-filter/1" 0x00``. A filter names people and patients, so nothing of it is in the clear. Rows are
not held against the log: a filter shows nobody anything by itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, MetaData, Row, delete, select
from sqlmodel import Field, SQLModel

from twinward.audit.queries import AccessQuery
from twinward.core.errors import BadInput, Conflict, store_unavailable
from twinward.core.sealed_rows import SealedRows
from twinward.core.sentences import sentence
from twinward.core.visible_text import visible
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Name, Schema, table_of

MOST_OF_ACCOUNT: Final = 30
MAX_NAME: Final = 60


class _Base(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


class SavedFilterRow(_Base, table=True):
    """One filter."""

    __tablename__ = "saved_filter"
    __table_args__ = WITHOUT_ROWID

    id: str = Field(sa_type=Name, primary_key=True)
    owner: bytes = Field(sa_type=AsStored, index=True)
    sealed: bytes = Field(sa_type=AsStored)


SAVED_FILTERS: Final = Schema(
    name="saved_filters",
    application_id=0x54575346,  # "TWSF"
    version=1,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: _Base.metadata,
    unavailable=store_unavailable,
    malformed=BadInput,
)
_rows = table_of(SavedFilterRow)


class SavedFilter(msgspec.Struct, frozen=True):
    """A filter under its name; ``parameters`` as ``AccessQuery.of`` reads them."""

    id: str
    name: str
    parameters: dict[str, str]


class SavedFilters(SealedRows):
    """The rows."""

    schema, row = SAVED_FILTERS, SavedFilterRow
    bound = ("id", "owner")
    key_label, row_label = b"twinward/saved-filter-store/1", b"twinward/saved-filter/1\x00"
    owner_label = "saved-filter-owner"
    altered = ("saved_filters.db holds a filter that this node did not write", "delete the row, or the file")

    def of(self, account: str) -> list[SavedFilter]:
        """An officer's own, by name. Raises ``StoreAltered``, ``Unavailable``."""
        with self._database.reading() as connection:
            return self._of(connection, self.owner(account))

    def keep(self, account: str, name: str, query: AccessQuery) -> None:
        """Keep a filter under a name; one of that name is replaced.

        Raises:
            BadInput: no name, or one too long.
            Conflict: the officer keeps as many as may be kept.
            StoreAltered, Unavailable: see ``of``.
        """
        name = visible(" ".join(name.split()))
        if not 0 < len(name) <= MAX_NAME:
            raise BadInput(
                sentence("a filter's name has 1 to {most} characters", most=MAX_NAME), hint="give it a short name"
            )
        owner, kept_id = self.owner(account), secrets.token_hex(8)
        kept = msgspec.json.encode(SavedFilter(kept_id, name, query.parameters()))
        with self._database.writing() as connection:
            found = self._of(connection, owner)
            same = [one.id for one in found if one.name == name]
            if not same and len(found) >= MOST_OF_ACCOUNT:
                raise Conflict(
                    sentence("an officer keeps {most} filters at most", most=MOST_OF_ACCOUNT), hint="delete one first"
                )
            connection.execute(delete(_rows).where(_rows.c.id.in_(same)))
            self._insert(connection, kept, id=kept_id, owner=owner)

    def drop(self, account: str, name: str) -> None:
        """Forget one of an officer's own by its id; one that is none of them is left alone."""
        with self._database.writing() as connection:
            connection.execute(delete(_rows).where(_rows.c.id == name, _rows.c.owner == self.owner(account)))

    def _of(self, connection: Connection, owner: bytes) -> list[SavedFilter]:
        rows = connection.execute(select(_rows).where(_rows.c.owner == owner)).all()
        return sorted(map(self._filter, rows), key=lambda one: one.name)

    def _filter(self, row: Row[Any]) -> SavedFilter:
        try:
            return msgspec.json.decode(self._opened(row), type=SavedFilter)
        except msgspec.MsgspecError:
            raise self._alteration() from None


def described(parameters: Mapping[str, str]) -> str:
    """A query's parameters as a line of words, for a list or the head of a print; ``everything`` for none."""
    said = [f"{name}: {value}" for name, value in parameters.items()]
    return ", ".join(said) or "everything"
