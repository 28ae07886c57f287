"""Quarantine: readings that could not be placed, sealed apart from any patient, with the reason."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from twinward.audit.interfaces import EventKeys
from twinward.core.errors import StoreAltered
from twinward.core.vocabulary import TwinId
from twinward.live.errors import QuarantineFull
from twinward.live.models import Reading, Reason
from twinward.live.storage.tables import QuarantineRow
from twinward.live.storage.tenant_rows import TenantSeal
from twinward_ledger.storage import table_of

MOST_OF_SOURCE: Final = 10_000
MAX_CONTENT_BYTES: Final = 4_096
"""Kept of a message that is no reading."""
_AT_ONCE: Final = 200
_rows = table_of(QuarantineRow)


class Held(msgspec.Struct, frozen=True):
    """One of them.

    Attributes:
        id: its name.
        account, source, seq: where it came from.
        reason, detail: why it is here.
        at_ms: since when.
        reading: what it says, if it can be read: what can be replayed.
        content: the beginning of what was sent, if it cannot.
        twin: whose it is as far as that was known when it came: it is erased with that patient.
    """

    id: str
    account: str
    source: str
    seq: int | None
    reason: Reason
    detail: str
    at_ms: int
    reading: Reading | None = None
    content: bytes = b""
    twin: str = ""


class QuarantineRows:
    """The table, within one transaction."""

    def __init__(self, connection: Connection, keys: EventKeys) -> None:
        self._connection = connection
        self._seal = TenantSeal(keys, "quarantine")

    def add(self, held: list[Held], source: bytes) -> None:
        """Keep some, of one source. Raises ``QuarantineFull``."""
        if not held:
            return
        if self.count(source) + len(held) > MOST_OF_SOURCE:
            raise QuarantineFull(
                f"{MOST_OF_SOURCE} readings of this source are in quarantine",
                hint="`twinward live quarantine` shows why, `twinward live replay` places what can be placed by now",
            )
        values = [{"id": one.id, "source": source, "sealed": self._seal.seal(one, one.id.encode(), 1)} for one in held]
        self._connection.execute(insert(_rows), values)

    def count(self, source: bytes) -> int:
        """How many there are of a source."""
        counted = select(func.count()).select_from(_rows).where(_rows.c.source == source)
        return int(self._connection.execute(counted).scalar_one())

    def all(self, most: int, after: str = "") -> list[Held]:
        """The oldest behind an id, so many at most. Raises ``StoreAltered``."""
        wanted = select(_rows).where(_rows.c.id > after).order_by(_rows.c.id).limit(most)
        return [self._seal.open(Held, row.sealed, row.id.encode(), 1) for row in self._connection.execute(wanted).all()]

    def by_twin(self) -> dict[TwinId, list[str]]:
        """Ids of those of which it is known whose they are; what was altered says so of nobody."""
        found: dict[TwinId, list[str]] = {}
        after = ""
        while rows := self._connection.execute(
            select(_rows).where(_rows.c.id > after).order_by(_rows.c.id).limit(_AT_ONCE)
        ).all():
            after = rows[-1].id
            for row in rows:
                with suppress(StoreAltered):  # an erasure goes on
                    one = self._seal.open(Held, row.sealed, row.id.encode(), 1)
                    if one.twin:
                        found.setdefault(TwinId(one.twin), []).append(one.id)
        return found

    def untied(self) -> list[Held]:
        """Those that name a patient who was not known when they came; what was altered names nobody."""
        found: list[Held] = []
        after = ""
        while rows := self._connection.execute(
            select(_rows).where(_rows.c.id > after).order_by(_rows.c.id).limit(_AT_ONCE)
        ).all():
            after = rows[-1].id
            for row in rows:
                with suppress(StoreAltered):
                    one = self._seal.open(Held, row.sealed, row.id.encode(), 1)
                    if not one.twin and one.reading is not None and one.reading.subject:
                        found.append(one)
        return found

    def tie(self, held: Held, twin: TwinId) -> None:
        """Remember whose one is after all."""
        sealed = self._seal.seal(msgspec.structs.replace(held, twin=twin), held.id.encode(), 1)
        self._connection.execute(update(_rows).where(_rows.c.id == held.id).values(sealed=sealed))

    def remove(self, ids: list[str]) -> int:
        """Take some out: how many there were."""
        return sum(
            self._connection.execute(delete(_rows).where(_rows.c.id.in_(ids[start : start + _AT_ONCE]))).rowcount
            for start in range(0, len(ids), _AT_ONCE)
        )
