"""Subscriptions as they are kept: sealed, one row each, one truth for every process.

A row holds an opaque id, a blind tag of the account, a number that counts up with every change, and sealed bytes: TE1
under a key derived from the tenant's, associated data ``"twinward/subscription/1" 0x00 ‖ id ‖ owner ‖ revision`` (each
after its length). Filters name patients, so nothing of them is in the clear.

Rows are not held against the log, as accounts and consents are: nobody may see anything because of a subscription. A
store that is turned back tells again what was told before, to whom each telling is permitted at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import msgspec
from sqlalchemy import Connection, MetaData, delete, insert, select, update
from sqlmodel import Field, SQLModel

from twinward.audit.interfaces import EventKeys
from twinward.core.errors import BadInput, Conflict, StoreAltered, Unavailable
from twinward.core.vocabulary import RecordId
from twinward.vault.interfaces import StoredAt
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_ledger.storage import AsStored, Database, Long, Name, Schema, table_of
from twinward_ledger.storage.sqlite import SqliteFile

MOST_OF_ACCOUNT: Final = 20
KEPT_EVENTS: Final = 100
"""The newest events of a subscription that can be asked for again."""

_KEY_LABEL: Final = b"twinward/subscription-store/1"
_AAD: Final = b"twinward/subscription/1\x00"
_OWNER_LABEL: Final = "subscription-owner"


class _Base(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


class SubscriptionRow(_Base, table=True):
    """One subscription."""

    __tablename__ = "subscription"
    __table_args__: ClassVar[dict[str, bool]] = {"sqlite_with_rowid": False}

    id: str = Field(sa_type=Name, primary_key=True)
    owner: bytes = Field(sa_type=AsStored, index=True)
    revision: int = Field(sa_type=Long)
    sealed: bytes = Field(sa_type=AsStored)


def _unavailable(message: str, hint: str) -> Unavailable:
    return Unavailable(message, hint=hint)


SUBSCRIPTIONS: Final = Schema(
    name="subscriptions",
    application_id=0x54575342,  # "TWSB"
    version=1,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: _Base.metadata,
    unavailable=_unavailable,
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


class SubscriptionStore:
    """The rows. Safe to share between threads and processes.

    Args:
        place: a file of their own, or a database that is already open.
        keys: the tenant's, to seal under, and to tag accounts with.
    """

    def __init__(self, place: Path | Database, keys: EventKeys) -> None:
        self._database: Database = SqliteFile(place, SUBSCRIPTIONS) if isinstance(place, Path) else place
        self._keys = keys

    def add(self, kept: Kept) -> None:
        """Store a new one; what an earlier generation of the account left goes.

        Raises:
            Conflict: the account has as many as it may.
            StoreAltered: a row of the account does not open.
        """
        owner = self._owner(kept.account)
        with self._database.writing() as db:
            found = list(self._of(db, owner))
            ended = [one.kept.id for one in found if one.kept.generation != kept.generation]
            if len(found) - len(ended) >= MOST_OF_ACCOUNT:
                raise Conflict(f"an account has {MOST_OF_ACCOUNT} subscriptions at most", hint="delete one")
            db.execute(delete(_rows).where(_rows.c.id.in_(ended)))
            values = {"id": kept.id, "owner": owner, "revision": 1, "sealed": self._sealed(kept, owner, 1)}
            db.execute(insert(_rows).values(values))

    def find(self, name: str) -> Stored | None:
        """One as it is now. Raises ``StoreAltered``."""
        with self._database.reading() as db:
            row = db.execute(select(_rows).where(_rows.c.id == name)).first()
        return None if row is None else self._opened(row.id, row.owner, row.revision, row.sealed)

    def of(self, account: str) -> list[Kept]:
        """An account's, by id. Raises ``StoreAltered``."""
        with self._database.reading() as db:
            return [one.kept for one in self._of(db, self._owner(account))]

    def replace(self, before: Stored, kept: Kept) -> bool:
        """Store what became of one, unless somebody else was first, or it is gone: whether it was stored."""
        owner, revision = self._owner(kept.account), before.revision + 1
        values = {"revision": revision, "sealed": self._sealed(kept, owner, revision)}
        same = (_rows.c.id == kept.id, _rows.c.revision == before.revision)
        with self._database.writing() as db:
            return db.execute(update(_rows).where(*same).values(values)).rowcount == 1

    def delete(self, name: str) -> None:
        """Forget one."""
        with self._database.writing() as db:
            db.execute(delete(_rows).where(_rows.c.id == name))

    def close(self) -> None:
        """Give back the file."""
        self._database.close()

    def _of(self, db: Connection, owner: bytes) -> Iterator[Stored]:
        for row in db.execute(select(_rows).where(_rows.c.owner == owner).order_by(_rows.c.id)).all():
            yield self._opened(row.id, row.owner, row.revision, row.sealed)

    def _owner(self, account: str) -> bytes:
        return self._keys.tag(_OWNER_LABEL, account)

    def _key(self) -> bytes:
        return derive(self._keys.audit_key(None), _KEY_LABEL, b"")

    def _sealed(self, kept: Kept, owner: bytes, revision: int) -> bytes:
        return seal(self._key(), msgspec.json.encode(kept), _aad(kept.id, owner, revision))

    def _opened(self, name: object, owner: object, revision: object, sealed: object) -> Stored:
        if not (
            isinstance(name, str)
            and isinstance(owner, bytes)
            and isinstance(revision, int)
            and isinstance(sealed, bytes)
        ):
            raise _altered()
        try:
            kept = msgspec.json.decode(open_sealed(self._key(), sealed, _aad(name, owner, revision)), type=Kept)
        except (OpenError, msgspec.MsgspecError):
            raise _altered() from None
        return Stored(kept, revision)


def _aad(name: str, owner: bytes, revision: int) -> bytes:
    return _AAD + length_prefixed(name.encode(), owner, revision.to_bytes(8, "big"))


def _altered() -> StoreAltered:
    return StoreAltered(
        "subscriptions.db holds a subscription that this node did not write", hint="delete the row, or the file"
    )
