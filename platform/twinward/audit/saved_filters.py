"""Filters of the access log that an officer keeps under a name: sealed, one row each, one truth for every process.

A row holds an opaque id, a blind tag of the account and sealed bytes: TE1 under a key derived from the tenant's,
associated data ``"twinward/saved-filter/1" 0x00 ‖ id ‖ owner`` (each after its length). A filter names people and
patients, so nothing of it is in the clear. Rows are not held against the log: a filter shows nobody anything by itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection, MetaData, delete, insert, select
from sqlmodel import Field, SQLModel

from twinward.audit.interfaces import EventKeys
from twinward.audit.queries import AccessQuery
from twinward.core.errors import BadInput, Conflict, StoreAltered, Unavailable
from twinward.core.visible_text import visible
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_ledger.storage import AsStored, Database, Name, Schema, table_of

MOST_OF_ACCOUNT: Final = 30
MAX_NAME: Final = 60

_KEY_LABEL: Final = b"twinward/saved-filter-store/1"
_AAD: Final = b"twinward/saved-filter/1\x00"
_OWNER_LABEL: Final = "saved-filter-owner"


class _Base(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


class SavedFilterRow(_Base, table=True):
    """One filter."""

    __tablename__ = "saved_filter"
    __table_args__: ClassVar[dict[str, bool]] = {"sqlite_with_rowid": False}

    id: str = Field(sa_type=Name, primary_key=True)
    owner: bytes = Field(sa_type=AsStored, index=True)
    sealed: bytes = Field(sa_type=AsStored)


def _unavailable(message: str, hint: str) -> Unavailable:
    return Unavailable(message, hint=hint)


SAVED_FILTERS: Final = Schema(
    name="saved_filters",
    application_id=0x54575346,  # "TWSF"
    version=1,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: _Base.metadata,
    unavailable=_unavailable,
    malformed=BadInput,
)
_rows = table_of(SavedFilterRow)


class SavedFilter(msgspec.Struct, frozen=True):
    """A filter under its name; ``parameters`` as ``AccessQuery.of`` reads them."""

    id: str
    name: str
    parameters: dict[str, str]


class SavedFilters:
    """The rows. Safe to share between threads and processes.

    Args:
        database: of ``SAVED_FILTERS``.
        keys: the tenant's, to seal under, and to tag accounts with.
    """

    def __init__(self, database: Database, keys: EventKeys) -> None:
        self._database = database
        self._keys = keys

    def of(self, account: str) -> list[SavedFilter]:
        """An officer's own, by name. Raises ``StoreAltered``, ``Unavailable``."""
        with self._database.reading() as connection:
            return self._of(connection, self._owner(account))

    def keep(self, account: str, name: str, query: AccessQuery) -> None:
        """Keep a filter under a name; one of that name is replaced.

        Raises:
            BadInput: no name, or one too long.
            Conflict: the officer keeps as many as may be kept.
            StoreAltered, Unavailable: see ``of``.
        """
        name = visible(" ".join(name.split()))
        if not 0 < len(name) <= MAX_NAME:
            raise BadInput(f"a filter's name has 1 to {MAX_NAME} characters", hint="give it a short name")
        owner, kept_id = self._owner(account), secrets.token_hex(8)
        sealed = self._sealed(SavedFilter(kept_id, name, query.parameters()), owner)
        with self._database.writing() as connection:
            found = self._of(connection, owner)
            same = [one.id for one in found if one.name == name]
            if not same and len(found) >= MOST_OF_ACCOUNT:
                raise Conflict(f"an officer keeps {MOST_OF_ACCOUNT} filters at most", hint="delete one first")
            connection.execute(delete(_rows).where(_rows.c.id.in_(same)))
            connection.execute(insert(_rows).values(id=kept_id, owner=owner, sealed=sealed))

    def drop(self, account: str, name: str) -> None:
        """Forget one of an officer's own by its id; one that is none of them is left alone."""
        with self._database.writing() as connection:
            connection.execute(delete(_rows).where(_rows.c.id == name, _rows.c.owner == self._owner(account)))

    def close(self) -> None:
        """Give back the database."""
        self._database.close()

    def _of(self, connection: Connection, owner: bytes) -> list[SavedFilter]:
        rows = connection.execute(select(_rows).where(_rows.c.owner == owner)).all()
        return sorted((self._opened(row.id, row.owner, row.sealed) for row in rows), key=lambda one: one.name)

    def _owner(self, account: str) -> bytes:
        return self._keys.tag(_OWNER_LABEL, account)

    def _key(self) -> bytes:
        return derive(self._keys.audit_key(None), _KEY_LABEL, b"")

    def _sealed(self, kept: SavedFilter, owner: bytes) -> bytes:
        return seal(self._key(), msgspec.json.encode(kept), _aad(kept.id, owner))

    def _opened(self, name: object, owner: object, sealed: object) -> SavedFilter:
        if not (isinstance(name, str) and isinstance(owner, bytes) and isinstance(sealed, bytes)):
            raise _altered()
        try:
            return msgspec.json.decode(open_sealed(self._key(), sealed, _aad(name, owner)), type=SavedFilter)
        except (OpenError, msgspec.MsgspecError):
            raise _altered() from None


def described(parameters: Mapping[str, str]) -> str:
    """A query's parameters as a line of words, for a list or the head of a print; ``everything`` for none."""
    said = [f"{name}: {value}" for name, value in parameters.items()]
    return ", ".join(said) or "everything"


def _aad(name: str, owner: bytes) -> bytes:
    return _AAD + length_prefixed(name.encode(), owner)


def _altered() -> StoreAltered:
    return StoreAltered(
        "saved_filters.db holds a filter that this node did not write", hint="delete the row, or the file"
    )
