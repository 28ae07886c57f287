"""Tables of sealed rows: what stores keep that nobody who reads or writes their database may read or make up.

A row has columns in the clear that it is found by, and ``sealed``, bound to some of them (``row_seal``). So who can
write to the database makes no row, changes none, and moves none to another's place. Taking a row away, or putting an
older one back, is seen only where a store's rows are held against the log (``vouched_store``): each store says why it
needs no more than this.

A store is a subclass that names its tables and labels:

    class SavedFilters(SealedRows):
        schema, row = SAVED_FILTERS, SavedFilterRow
        bound = ("id", "owner")
        key_label, row_label, owner_label = b"…", b"…", "…"
        altered = ("saved_filters.db holds a filter that this node did not write", "delete the row, or the file")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Connection, Row, Table, insert
from sqlmodel import SQLModel

from twinward.core.errors import StoreAltered
from twinward.core.row_seal import RowKeys, RowSeal
from twinward_ledger.storage import Database, Schema, table_of
from twinward_ledger.storage.sqlite import SqliteFile


class SealedRows:
    """The rows of one store. Safe to share between threads and processes.

    Args:
        place: a file of their own, or a database of ``schema`` that is already open.
        keys: the tenant's, to seal under, and to tag accounts with.

    Raises:
        Unavailable: the database cannot be used; from every method.
    """

    schema: ClassVar[Schema]
    row: ClassVar[type[SQLModel]]
    bound: ClassVar[tuple[str, ...]]
    """Columns that the sealed bytes are bound to, in this order."""
    key_label: ClassVar[bytes]
    row_label: ClassVar[bytes]
    owner_label: ClassVar[str] = ""
    altered: ClassVar[tuple[str, str]]
    """What is said of a row that does not open: message and hint."""

    def __init__(self, place: Path | Database, keys: RowKeys) -> None:
        self._database: Database = SqliteFile(place, self.schema) if isinstance(place, Path) else place
        self._keys = keys
        self._seal = RowSeal(keys, key_label=self.key_label, row_label=self.row_label, altered=self.altered)
        self._rows: Table = table_of(self.row)

    def close(self) -> None:
        """Give back the database."""
        self._database.close()

    def owner(self, account: str) -> bytes:
        """The blind tag of an account, by which its rows are found."""
        return self._keys.tag(self.owner_label, account)

    def _insert(self, db: Connection, value: bytes, **columns: object) -> None:
        """Put a row there, its value sealed."""
        db.execute(insert(self._rows).values(**columns, sealed=self._sealed(value, **columns)))

    def _sealed(self, value: bytes, **columns: object) -> bytes:
        """A value, bound to a row's columns."""
        return self._seal.seal(value, *(columns[name] for name in self.bound))

    def _opened(self, row: Row[Any]) -> bytes:
        """A row's value. Raises ``StoreAltered`` for one that this node did not write there."""
        found = [getattr(row, name) for name in self.bound]
        if not all(map(self._fits, self.bound, found)):
            raise self._alteration()
        return self._seal.open(row.sealed, *found)

    def _alteration(self) -> StoreAltered:
        return self._seal.alteration()

    def _fits(self, name: str, value: object) -> bool:
        """Whether a column holds what its model says: a file takes values of any type."""
        return type(value) is self.row.model_fields[name].annotation
