"""Sources as they are kept: which numbers are settled, and what an operator wants to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, select

from twinward.audit.interfaces import EventKeys
from twinward.live.sequences import SequenceSet
from twinward.live.storage.tables import SourceRow
from twinward.live.storage.tenant_rows import TenantSeal
from twinward_ledger.storage import table_of, upsert

_rows = table_of(SourceRow)
_FORGETS: Final = 10
_find = select(_rows).where(_rows.c.tag == bindparam("wanted"))


class SourceState(msgspec.Struct):
    """A source. ``account`` is whose it is; two accounts' sources of one name are two.

    Attributes:
        ranges: numbers that are settled, half-open.
        stored, quarantined, duplicates: readings, counted since the first.
        messages: named messages that were no readings: movements, orders.
        heard_ms: when something was last settled.
        lag_ms: the least delay from measured to received among the last batches: a clock that is ahead shows as a
            negative one, and one that is behind as a lag that never shrinks.
    """

    account: str
    name: str
    ranges: list[tuple[int, int]] = msgspec.field(default_factory=list)
    stored: int = 0
    quarantined: int = 0
    duplicates: int = 0
    messages: int = 0
    heard_ms: int = 0
    lag_ms: int | None = None

    def settled(self) -> SequenceSet:
        """The numbers that are settled."""
        return SequenceSet(self.ranges)

    def heard(self, now_ms: int, measured_ms: int | None) -> None:
        """Something was settled, of which the newest was measured at a moment. The lag: down at once, up slowly."""
        self.heard_ms = now_ms
        if measured_ms is None:
            return
        least = now_ms - measured_ms
        if self.lag_ms is not None and least > self.lag_ms:
            least = self.lag_ms + (least - self.lag_ms) // _FORGETS
        self.lag_ms = least


@dataclass(frozen=True, slots=True)
class SourceAt:
    """A source as it was read."""

    state: SourceState
    tag: bytes
    revision: int


class SourceRows:
    """The table, within one transaction."""

    def __init__(self, connection: Connection, keys: EventKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._seal = TenantSeal(keys, "source")

    def find(self, account: str, name: str) -> SourceAt:
        """A source as it is now; one that was never heard of is empty, at revision 0. Raises ``StoreAltered``."""
        tag = self.tag(account, name)
        row = self._connection.execute(_find, {"wanted": tag}).first()
        if row is None:
            return SourceAt(SourceState(account, name), tag, 0)
        return SourceAt(self._seal.open(SourceState, row.sealed, tag, row.revision), tag, row.revision)

    def put(self, at: SourceAt) -> None:
        """Store what became of a source that was read in this transaction."""
        revision = at.revision + 1
        sealed = self._seal.seal(at.state, at.tag, revision)
        upsert(self._connection, _rows, tag=at.tag, revision=revision, sealed=sealed)

    def all(self) -> list[SourceState]:
        """Every source, by account and name. Raises ``StoreAltered``."""
        rows = self._connection.execute(select(_rows)).all()
        found = [self._seal.open(SourceState, row.sealed, row.tag, row.revision) for row in rows]
        return sorted(found, key=lambda one: (one.account, one.name))

    def tag(self, account: str, name: str) -> bytes:
        """The blind tag a source stands under."""
        return self._keys.tag("live-source", f"{account}\x00{name}")
