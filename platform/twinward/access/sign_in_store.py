"""What sign-ins leave behind for a while: sessions, steps that wait for a next one, and what was used once.

One truth for every process, kept over restarts. A secret (a session's id, say) is 256 random bits and kept nowhere: a
row is found by its SHA-256. A row holds a blind tag of the account, the moment it ends, and sealed bytes: TE1 under a
key derived from the tenant's, associated data ``"twinward/sign-in/1" 0x00 ‖ id ‖ kind ‖ owner ‖ expires_at_ms`` (each
after its length). Whoever can write to the database signs in as nobody and makes no session last longer.

Rows are not held against the log: one that was ended and is put back is of use only to whoever still has its secret,
until it ends by itself or its account's generation counts up, which is held against the log.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from twinward.access.account_store import digest_of
from twinward.access.errors import SignInRefused
from twinward.access.tables import SIGN_INS, SignInRow, UsedOnceRow
from twinward.audit.interfaces import EventKeys
from twinward.core.clock import Clock
from twinward.core.errors import StoreAltered, Unavailable
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_ledger.storage import Database, table_of
from twinward_ledger.storage.sqlite import SqliteFile

NAME_CHARS: Final = 16
"""Of the digest, in hex: enough to say which of an account's sessions is meant, and no way to its secret."""
MOST_OF_KIND: Final = 20
"""Of one account and kind; the one that would end first gives way."""

_KEY_LABEL: Final = b"twinward/sign-in-store/1"
_AAD: Final = b"twinward/sign-in/1\x00"
_OWNER_LABEL: Final = "sign-in-owner"
_rows, _used = table_of(SignInRow), table_of(UsedOnceRow)


class Kind(StrEnum):
    """What a row is. A secret of one kind is none of another."""

    SESSION = "session"
    SECOND_STEP = "second-step"
    """A password was right, and a code is waited for."""
    ENROLMENT = "enrolment"
    """An authenticator app's secret that waits for its first code."""
    ACCESS = "access"
    """A system's access token."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One row, opened."""

    id: bytes
    kind: Kind
    owner: bytes
    expires_at_ms: int
    value: bytes
    sealed: bytes

    @property
    def name(self) -> str:
        """What it is called in lists."""
        return self.id.hex()[:NAME_CHARS]


class SignInStore:
    """The rows. Safe to share between threads and processes.

    Args:
        place: a file of their own, or a database that is already open.
        keys: the tenant's, to seal under, and to tag accounts with.
        clock: the node's time.
    """

    def __init__(self, place: Path | Database, keys: EventKeys, clock: Clock) -> None:
        self._database: Database = SqliteFile(place, SIGN_INS) if isinstance(place, Path) else place
        self._keys = keys
        self._clock = clock

    def put(self, kind: Kind, account: str, value: bytes, expires_at_ms: int, *, instead_of: Kept | None = None) -> str:
        """Keep something of an account; return its secret, which is kept nowhere. What has ended is cleared away.

        ``instead_of``: a row that goes in the same transaction; where it has gone already, nothing is put.

        Raises:
            SignInRefused: that row is gone.
        """
        secret = secrets.token_urlsafe(32)
        name, owner = digest_of(secret), self.owner(account)
        sealed = seal(self._key(), value, _aad(name, kind, owner, expires_at_ms))
        with self._database.writing() as db:
            self._clear(db, kind, owner)
            if instead_of is not None and not self._deleted(db, [instead_of.id]):
                raise SignInRefused
            db.execute(
                insert(_rows).values(id=name, kind=kind.value, owner=owner, expires_at_ms=expires_at_ms, sealed=sealed)
            )
        return secret

    def find(self, kind: Kind, secret: str) -> Kept | None:
        """What a secret stands for, unless it has ended. Raises ``StoreAltered``."""
        with self._database.reading() as db:
            row = db.execute(select(_rows).where(_rows.c.id == digest_of(secret), _rows.c.kind == kind.value)).first()
        if row is None:
            return None
        kept = self._opened(row.id, row.kind, row.owner, row.expires_at_ms, row.sealed)
        return kept if self._clock.now_ms() < kept.expires_at_ms else None

    def take(self, kind: Kind, secret: str) -> Kept | None:
        """As ``find``, once: whoever comes second, in whatever process, finds nothing."""
        kept = self.find(kind, secret)
        return kept if kept is not None and self.delete([kept]) else None

    def replace(self, kept: Kept, value: bytes) -> bool:
        """Put another value there, unless somebody writes just now, or it was changed or ended: whether it was put."""
        sealed = seal(self._key(), value, _aad(kept.id, kept.kind, kept.owner, kept.expires_at_ms))
        same = (_rows.c.id == kept.id, _rows.c.sealed == kept.sealed)
        with suppress(Unavailable), self._database.writing(wait=False) as db:
            return db.execute(update(_rows).where(*same).values(sealed=sealed)).rowcount == 1
        return False

    def of(self, kind: Kind, account: str) -> list[Kept]:
        """An account's that have not ended, the one that ends last first. Raises ``StoreAltered``."""
        of_account = (_rows.c.owner == self.owner(account), _rows.c.kind == kind.value)
        with self._database.reading() as db:
            found = db.execute(
                select(_rows)
                .where(*of_account, _rows.c.expires_at_ms > self._clock.now_ms())
                .order_by(_rows.c.expires_at_ms.desc(), _rows.c.id)
            ).all()
        return [self._opened(row.id, row.kind, row.owner, row.expires_at_ms, row.sealed) for row in found]

    def delete(self, kept: Iterable[Kept]) -> bool:
        """Forget some; whether any was there."""
        with self._database.writing() as db:
            return self._deleted(db, [one.id for one in kept])

    def use_once(self, what: bytes, expires_at_ms: int) -> bool:
        """Whether this was never used before, by any process; from now on it was. Forgotten once it has ended."""
        name = hashlib.sha256(what).digest()
        with self._database.writing() as db:
            db.execute(delete(_used).where(_used.c.expires_at_ms <= self._clock.now_ms()))
            if db.execute(select(_used.c.id).where(_used.c.id == name)).first() is not None:
                return False
            db.execute(insert(_used).values(id=name, expires_at_ms=expires_at_ms))
            return True

    def close(self) -> None:
        """Give back the file."""
        self._database.close()

    def _clear(self, db: Connection, kind: Kind, owner: bytes) -> None:
        """Forget what has ended, and what an account has too many of."""
        db.execute(delete(_rows).where(_rows.c.expires_at_ms <= self._clock.now_ms()))
        of_account = select(_rows.c.id).where(_rows.c.owner == owner, _rows.c.kind == kind.value)
        names = db.execute(of_account.order_by(_rows.c.expires_at_ms.desc(), _rows.c.id)).scalars().all()
        self._deleted(db, names[MOST_OF_KIND - 1 :])

    @staticmethod
    def _deleted(db: Connection, names: Iterable[bytes]) -> bool:
        return db.execute(delete(_rows).where(_rows.c.id.in_(list(names)))).rowcount > 0

    def owner(self, account: str) -> bytes:
        """The blind tag of an account."""
        return self._keys.tag(_OWNER_LABEL, account)

    def _key(self) -> bytes:
        return derive(self._keys.audit_key(None), _KEY_LABEL, b"")

    def _opened(self, name: object, kind: object, owner: object, expires_at_ms: object, sealed: object) -> Kept:
        if not (
            isinstance(name, bytes)
            and isinstance(kind, str)
            and isinstance(owner, bytes)
            and isinstance(expires_at_ms, int)
            and isinstance(sealed, bytes)
        ):
            raise _altered()
        try:
            its = Kind(kind)
            value = open_sealed(self._key(), sealed, _aad(name, its, owner, expires_at_ms))
        except (OpenError, ValueError):
            raise _altered() from None
        return Kept(name, its, owner, expires_at_ms, value, sealed)


def _aad(name: bytes, kind: Kind, owner: bytes, expires_at_ms: int) -> bytes:
    return _AAD + length_prefixed(name, kind.value.encode(), owner, expires_at_ms.to_bytes(8, "big", signed=True))


def _altered() -> StoreAltered:
    return StoreAltered(
        "the store of sign-ins holds a row that this node did not write",
        hint="stop the node, delete sign_ins.db (on a server: the rows of sign_in), start it: everybody signs in again",
    )
