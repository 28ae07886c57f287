"""What sign-ins leave behind for a while: sessions, steps that wait for a next one, and what was used once.

One truth for every process, kept over restarts. A secret (a session's id, say) is 256 random bits and kept nowhere: a
row (``core.sealed_rows``) is found by its SHA-256. It holds what it is, a blind tag of the account, the moment it ends,
and sealed bytes, bound to all of these under the label ``"twinward/sign-in/1" 0x00``. Whoever can write to the database
signs in as nobody and makes no session last longer.

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
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from twinward.access.account_store import digest_of
from twinward.access.errors import SignInRefused
from twinward.access.tables import SIGN_INS, SignInRow, UsedOnceRow
from twinward.core.clock import Clock
from twinward.core.errors import Unavailable
from twinward.core.row_seal import RowKeys
from twinward.core.sealed_rows import SealedRows
from twinward_ledger.storage import Database, table_of

NAME_CHARS: Final = 16
"""Of the digest, in hex: enough to say which of an account's sessions is meant, and no way to its secret."""
MOST_OF_KIND: Final = 20
"""Of one account and kind; the one that would end first gives way."""

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
    PROOF = "proof"
    """A token for which somebody proved anew who they are."""


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


class SignInStore(SealedRows):
    """The rows.

    Args:
        place, keys: see ``SealedRows``.
        clock: the node's time.
    """

    schema, row = SIGN_INS, SignInRow
    bound = ("id", "kind", "owner", "expires_at_ms")
    key_label, row_label = b"twinward/sign-in-store/1", b"twinward/sign-in/1\x00"
    owner_label = "sign-in-owner"
    altered = (
        "the store of sign-ins holds a row that this node did not write",
        "stop the node, delete sign_ins.db (on a server: the rows of sign_in), start it: everybody signs in again",
    )

    def __init__(self, place: Path | Database, keys: RowKeys, clock: Clock) -> None:
        super().__init__(place, keys)
        self._clock = clock

    def put(self, kind: Kind, account: str, value: bytes, expires_at_ms: int, *, instead_of: Kept | None = None) -> str:
        """Keep something of an account; return its secret, which is kept nowhere. What has ended is cleared away.

        ``instead_of``: a row that goes in the same transaction; where it has gone already, nothing is put.

        Raises:
            SignInRefused: that row is gone.
        """
        secret = secrets.token_urlsafe(32)
        name, owner = digest_of(secret), self.owner(account)
        with self._database.writing() as db:
            self._clear(db, kind, owner)
            if instead_of is not None and not self._deleted(db, [instead_of.id]):
                raise SignInRefused
            self._insert(db, value, id=name, kind=kind.value, owner=owner, expires_at_ms=expires_at_ms)
        return secret

    def find(self, kind: Kind, secret: str) -> Kept | None:
        """What a secret stands for, unless it has ended. Raises ``StoreAltered``."""
        with self._database.reading() as db:
            row = db.execute(select(_rows).where(_rows.c.id == digest_of(secret), _rows.c.kind == kind.value)).first()
        if row is None:
            return None
        kept = self._kept(row)
        return kept if self._clock.now_ms() < kept.expires_at_ms else None

    def take(self, kind: Kind, secret: str) -> Kept | None:
        """As ``find``, once: whoever comes second, in whatever process, finds nothing."""
        kept = self.find(kind, secret)
        return kept if kept is not None and self.delete([kept]) else None

    def replace(self, kept: Kept, value: bytes) -> bool:
        """Put another value there, unless somebody writes just now, or it was changed or ended: whether it was put."""
        place = {"kind": kept.kind.value, "owner": kept.owner, "expires_at_ms": kept.expires_at_ms}
        sealed = self._sealed(value, id=kept.id, **place)
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
        return [self._kept(row) for row in found]

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

    def _clear(self, db: Connection, kind: Kind, owner: bytes) -> None:
        """Forget what has ended, and what an account has too many of."""
        db.execute(delete(_rows).where(_rows.c.expires_at_ms <= self._clock.now_ms()))
        of_account = select(_rows.c.id).where(_rows.c.owner == owner, _rows.c.kind == kind.value)
        names = db.execute(of_account.order_by(_rows.c.expires_at_ms.desc(), _rows.c.id)).scalars().all()
        self._deleted(db, names[MOST_OF_KIND - 1 :])

    @staticmethod
    def _deleted(db: Connection, names: Iterable[bytes]) -> bool:
        return db.execute(delete(_rows).where(_rows.c.id.in_(list(names)))).rowcount > 0

    def _kept(self, row: Row[Any]) -> Kept:
        value = self._opened(row)
        try:
            return Kept(row.id, Kind(row.kind), row.owner, row.expires_at_ms, value, row.sealed)
        except ValueError:
            raise self._alteration() from None
