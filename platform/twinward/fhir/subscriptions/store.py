"""Subscriptions as they are kept: sealed, one row each, one truth for every process.

A row (``core.sealed_rows``) holds an opaque id, a blind tag of the account, a number that counts up with every change,
and sealed bytes, bound to the three under the label ``"twinward/subscription/1" 0x00``. Filters name patients, so
nothing of them is in the clear.

Rows are not held against the log, as accounts and consents are: nobody may see anything because of a subscription. A
store that is turned back tells again what was told before, to whom each telling is permitted at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
from sqlalchemy import Connection, MetaData, Row, delete, select, update
from sqlmodel import Field, SQLModel

from twinward.core.errors import BadInput, Conflict, store_unavailable
from twinward.core.sealed_rows import SealedRows
from twinward.core.vocabulary import RecordId
from twinward.vault.interfaces import StoredAt
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Long, Name, Schema, table_of

MOST_OF_ACCOUNT: Final = 20
KEPT_EVENTS: Final = 100
"""The newest events of a subscription that can be asked for again."""


class _Base(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


class SubscriptionRow(_Base, table=True):
    """One subscription."""

    __tablename__ = "subscription"
    __table_args__ = WITHOUT_ROWID

    id: str = Field(sa_type=Name, primary_key=True)
    owner: bytes = Field(sa_type=AsStored, index=True)
    revision: int = Field(sa_type=Long)
    sealed: bytes = Field(sa_type=AsStored)


SUBSCRIPTIONS: Final = Schema(
    name="subscriptions",
    application_id=0x54575342,  # "TWSB"
    version=1,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: _Base.metadata,
    unavailable=store_unavailable,
    malformed=BadInput,
)
_rows = table_of(SubscriptionRow)


class Event(msgspec.Struct, frozen=True):
    """A version of a resource that was numbered for a subscription: when it could first be told."""

    number: int
    at_ms: int
    record_id: str
    version: int

    @property
    def place(self) -> StoredAt:
        """Where the version stands in time."""
        return self.at_ms, RecordId(self.record_id), self.version


class Kept(msgspec.Struct, frozen=True):
    """A subscription.

    Attributes:
        id: the server's choice.
        account, generation: whose it is, and by which generation of the account: it ends when that does.
        resource: the Subscription, as JSON.
        version, changed_ms: of the resource, for its ``meta``.
        looked_at: everything stored before this place was looked at.
        count: events numbered so far.
        events: the newest of them, oldest first.
    """

    id: str
    account: str
    generation: int
    resource: str
    version: int
    changed_ms: int
    looked_at: StoredAt
    count: int = 0
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """A subscription as it was read: ``revision`` says which state of it."""

    kept: Kept
    revision: int


class SubscriptionStore(SealedRows):
    """The rows."""

    schema, row = SUBSCRIPTIONS, SubscriptionRow
    bound = ("id", "owner", "revision")
    key_label, row_label = b"twinward/subscription-store/1", b"twinward/subscription/1\x00"
    owner_label = "subscription-owner"
    altered = ("subscriptions.db holds a subscription that this node did not write", "delete the row, or the file")

    def add(self, kept: Kept) -> None:
        """Store a new one; what an earlier generation of the account left goes.

        Raises:
            Conflict: the account has as many as it may.
            StoreAltered: a row of the account does not open.
        """
        owner = self.owner(kept.account)
        with self._database.writing() as db:
            found = list(self._of(db, owner))
            ended = [one.kept.id for one in found if one.kept.generation != kept.generation]
            if len(found) - len(ended) >= MOST_OF_ACCOUNT:
                raise Conflict(f"an account has {MOST_OF_ACCOUNT} subscriptions at most", hint="delete one")
            db.execute(delete(_rows).where(_rows.c.id.in_(ended)))
            self._insert(db, msgspec.json.encode(kept), id=kept.id, owner=owner, revision=1)

    def find(self, name: str) -> Stored | None:
        """One as it is now. Raises ``StoreAltered``."""
        with self._database.reading() as db:
            row = db.execute(select(_rows).where(_rows.c.id == name)).first()
        return None if row is None else self._stored(row)

    def of(self, account: str) -> list[Kept]:
        """An account's, by id. Raises ``StoreAltered``."""
        with self._database.reading() as db:
            return [one.kept for one in self._of(db, self.owner(account))]

    def replace(self, before: Stored, kept: Kept) -> bool:
        """Store what became of one, unless somebody else was first, or it is gone: whether it was stored."""
        owner, revision = self.owner(kept.account), before.revision + 1
        sealed = self._sealed(msgspec.json.encode(kept), id=kept.id, owner=owner, revision=revision)
        same = (_rows.c.id == kept.id, _rows.c.revision == before.revision)
        with self._database.writing() as db:
            return db.execute(update(_rows).where(*same).values(revision=revision, sealed=sealed)).rowcount == 1

    def delete(self, name: str) -> None:
        """Forget one."""
        with self._database.writing() as db:
            db.execute(delete(_rows).where(_rows.c.id == name))

    def _of(self, db: Connection, owner: bytes) -> Iterator[Stored]:
        yield from map(self._stored, db.execute(select(_rows).where(_rows.c.owner == owner).order_by(_rows.c.id)).all())

    def _stored(self, row: Row[Any]) -> Stored:
        try:
            return Stored(msgspec.json.decode(self._opened(row), type=Kept), row.revision)
        except msgspec.MsgspecError:
            raise self._alteration() from None
