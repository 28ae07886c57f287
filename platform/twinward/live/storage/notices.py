"""Notices as they are kept until a receiver took them: sealed under the tenant's key, found by when they are due."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, select, update

from twinward.audit.interfaces import EventKeys
from twinward.core.errors import StoreAltered
from twinward.live.alerts.notices import KEPT_MS, Notice
from twinward.live.storage.tables import NoticeRow
from twinward.live.storage.tenant_rows import TenantSeal
from twinward_ledger.storage import table_of, upsert

NEVER_MS: Final = 2**62
"""When a dead letter is due, less the moment of its death: found in the order in which they died."""
ASIDE_MS: Final = 3 * 2**61
"""When one is due that does not open in its place: never, and it is no dead letter."""
_notices = table_of(NoticeRow)


class Waiting(NamedTuple):
    """A notice, and when it is to be sent."""

    id: str
    due_ms: int
    notice: Notice


class NoticeRows:
    """The table, within one transaction."""

    def __init__(self, connection: Connection, keys: EventKeys) -> None:
        self._connection = connection
        self._seal = TenantSeal(keys, "notice")

    def put(self, name: str, due_ms: int, notice: Notice) -> None:
        """Keep a notice, or what became of it."""
        sealed = self._seal.seal(notice, name.encode(), due_ms)
        upsert(self._connection, _notices, id=name, due_ms=due_ms, sealed=sealed)

    def is_due(self, now_ms: int) -> bool:
        """Whether any is. Opens nothing."""
        wanted = select(_notices.c.id).where(_notices.c.due_ms <= now_ms).limit(1)
        return self._connection.execute(wanted).first() is not None

    def due(self, now_ms: int) -> Waiting | None:
        """The one that is due longest. Those before it that somebody altered are set aside: they hold up no other."""
        wanted = select(_notices).where(_notices.c.due_ms <= now_ms).order_by(_notices.c.due_ms, _notices.c.id).limit(1)
        while (row := self._connection.execute(wanted).first()) is not None:
            try:
                return self._opened(row.id, row.due_ms, row.sealed)
            except StoreAltered:
                aside = update(_notices).where(_notices.c.id == row.id).values(due_ms=ASIDE_MS)
                self._connection.execute(aside)
        return None

    def set_aside(self) -> int:
        """How many were altered by somebody, and are not sent."""
        counted = select(func.count()).select_from(_notices).where(_notices.c.due_ms >= ASIDE_MS)
        return int(self._connection.execute(counted).scalar_one())

    def find(self, name: str) -> Waiting | None:
        """One by its id. Raises ``StoreAltered``."""
        row = self._connection.execute(select(_notices).where(_notices.c.id == name)).first()
        return None if row is None else self._opened(row.id, row.due_ms, row.sealed)

    def dead(self, limit: int) -> list[Waiting]:
        """Dead letters, the newest last, without those that were altered."""
        among = _notices.c.due_ms.between(NEVER_MS, ASIDE_MS - 1)
        rows = self._connection.execute(select(_notices).where(among).order_by(_notices.c.due_ms).limit(limit)).all()
        found = []
        for row in rows:
            with suppress(StoreAltered):
                found.append(self._opened(row.id, row.due_ms, row.sealed))
        return found

    def counts(self) -> tuple[int, int]:
        """How many wait, and how many are dead."""
        is_dead = _notices.c.due_ms >= NEVER_MS
        sound = _notices.c.due_ms < ASIDE_MS
        counted = self._connection.execute(select(is_dead, func.count()).where(sound).group_by(is_dead)).all()
        found = {bool(row[0]): int(row[1]) for row in counted}
        return found.get(False, 0), found.get(True, 0)

    def remove(self, name: str) -> None:
        """Forget one: it was taken."""
        self._connection.execute(delete(_notices).where(_notices.c.id == name))

    def forget_dead(self, now_ms: int) -> None:
        """Delete dead letters of a month ago."""
        old = _notices.c.due_ms.between(NEVER_MS, NEVER_MS + now_ms - KEPT_MS)
        self._connection.execute(delete(_notices).where(old))

    def _opened(self, name: str, due_ms: int, sealed: object) -> Waiting:
        return Waiting(name, due_ms, self._seal.open(Notice, sealed, name.encode(), due_ms))
