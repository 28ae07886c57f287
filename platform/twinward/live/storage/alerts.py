"""Alerts and monitors' memory as they are kept: sealed under the twin's key for monitoring, erased with it.

Alerts of doses are sealed under the key for medications. A row that does not open is named, and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, bindparam, delete, select

from twinward.core.vocabulary import Category, TwinId
from twinward.live.alerts.models import Alert
from twinward.live.alerts.monitor import MonitorState
from twinward.live.storage.tables import AlertRow, MonitorRow
from twinward.vault.errors import RecordDamaged
from twinward.vault.keys.twin_keys import TwinKeys
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import length_prefixed
from twinward_crypto.padding import pad, unpad
from twinward_ledger.storage import table_of, upsert, upsert_all

_ALERT: Final = b"twinward/live-alert/1\x00"
_MONITOR: Final = b"twinward/live-monitor/1\x00"
_alerts = table_of(AlertRow)
_monitors = table_of(MonitorRow)
_monitor = select(_monitors).where(_monitors.c.twin == bindparam("wanted"))  # half the time of a list of one
_several = select(_monitors).where(_monitors.c.twin.in_(bindparam("wanted", expanding=True)))
_AT_ONCE: Final = 500
EVERY: Final = (Category.MONITORING, Category.MEDICATIONS)
"""What alerts are of."""
S = TypeVar("S", Alert, MonitorState)


class Remembered(NamedTuple):
    """What a monitor remembers of a twin, as it is kept."""

    category_tag: bytes
    sealed: object


class AlertRows:
    """Both tables, within one transaction. It asks for no permit: whoever calls it has one, or hands nothing out."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def monitor(self, keys: TwinKeys) -> MonitorState:
        """What is remembered of a twin; nothing where that was shredded. Raises ``RecordDamaged``."""
        return self.opened(keys, self.monitors([keys.twin]).get(keys.twin))

    def monitors(self, twins: Sequence[TwinId]) -> dict[TwinId, Remembered]:
        """What is remembered of many, as it is kept."""
        found: dict[TwinId, Remembered] = {}
        for first in range(0, len(twins), _AT_ONCE):
            some = list(twins[first : first + _AT_ONCE])
            asked = (_monitor, {"wanted": some[0]}) if len(some) == 1 else (_several, {"wanted": some})
            rows = self._connection.execute(*asked)
            found |= {TwinId(row.twin): Remembered(row.category_tag, row.sealed) for row in rows}
        return found

    def opened(self, keys: TwinKeys, kept: Remembered | None) -> MonitorState:
        """One of those, opened. As ``monitor``."""
        if kept is None or kept.category_tag != keys.category_tag(Category.MONITORING):
            return MonitorState()
        return _opened(MonitorState, keys, kept.sealed, _MONITOR, keys.twin)

    def put_monitor(self, keys: TwinKeys, state: MonitorState) -> None:
        """Remember of a twin."""
        self.put_monitors([(keys, state)])

    def put_monitors(self, some: Sequence[tuple[TwinKeys, MonitorState]]) -> None:
        """Remember of many."""
        rows = [
            {
                "twin": keys.twin,
                "category_tag": keys.category_tag(Category.MONITORING),
                "sealed": _sealed(keys, msgspec.json.encode(state), _MONITOR, keys.twin),
            }
            for keys, state in some
        ]
        upsert_all(self._connection, _monitors, rows)

    def monitored(self) -> list[TwinId]:
        """Every twin of which something is remembered."""
        return [TwinId(one) for one in self._connection.execute(select(_monitors.c.twin)).scalars()]

    def of(self, keys: TwinKeys, categories: Iterable[Category] = EVERY) -> list[Alert]:
        """A twin's alerts of these categories, the oldest first. Raises ``RecordDamaged``, which names the first."""
        found, damaged = self.sound(keys, categories)
        if damaged:
            raise RecordDamaged(f"the alert {damaged[0]} does not open in its place")
        return found

    def sound(self, keys: TwinKeys, categories: Iterable[Category] = EVERY) -> tuple[list[Alert], list[str]]:
        """The same, and the ids of those that do not open in their place."""
        tags = {keys.category_tag(one): one for one in categories}
        wanted = select(_alerts).where(_alerts.c.twin == keys.twin, _alerts.c.category_tag.in_(list(tags)))
        found: list[Alert] = []
        damaged: list[str] = []
        for row in self._connection.execute(wanted.order_by(_alerts.c.id)).all():
            try:
                found.append(_opened(Alert, keys, row.sealed, _ALERT, row.id, tags[row.category_tag]))
            except RecordDamaged:
                damaged.append(row.id)
        return sorted(found, key=lambda one: (one.raised_ms, one.id)), damaged

    def put(self, keys: TwinKeys, alert: Alert) -> None:
        """Store an alert, or what became of it."""
        tag = keys.category_tag(alert.category)
        sealed = _sealed(keys, msgspec.json.encode(alert), _ALERT, alert.id, alert.category)
        upsert(self._connection, _alerts, id=alert.id, twin=keys.twin, category_tag=tag, sealed=sealed)

    def category_of(self, keys: TwinKeys, alert: str) -> Category | None:
        """Of which category an alert is that is kept. Opens nothing."""
        tag = self._connection.execute(select(_alerts.c.category_tag).where(_alerts.c.id == alert)).scalar()
        return next((one for one in EVERY if keys.category_tag(one) == tag), None)

    def twin_of(self, alert: str) -> TwinId | None:
        """Whose an alert is. Opens nothing."""
        found = self._connection.execute(select(_alerts.c.twin).where(_alerts.c.id == alert)).scalar()
        return None if found is None else TwinId(found)

    def twins(self) -> list[TwinId]:
        """Every twin that has an alert."""
        return [TwinId(one) for one in self._connection.execute(select(_alerts.c.twin).distinct()).scalars()]

    def remove_of(self, twin: TwinId, category_tags: set[bytes] | None = None) -> None:
        """Delete a twin's: all, or those whose category has none of these tags any more."""
        for table in (_alerts, _monitors):
            gone = delete(table).where(table.c.twin == twin)
            if category_tags is not None:
                gone = gone.where(table.c.category_tag.not_in(list(category_tags)))
            self._connection.execute(gone)


def _sealed(keys: TwinKeys, content: bytes, label: bytes, row: str, category: Category = Category.MONITORING) -> bytes:
    key = keys.category_key(category)
    return seal(key, pad(content), _aad(label, keys.twin, row), generation=keys.generation)


def _opened(
    kind: type[S], keys: TwinKeys, sealed: object, label: bytes, row: str, category: Category = Category.MONITORING
) -> S:
    try:
        if not isinstance(sealed, bytes):
            raise OpenError
        content = unpad(open_sealed(keys.category_key(category), sealed, _aad(label, keys.twin, row)))
        return msgspec.json.decode(content, type=kind)
    except (OpenError, msgspec.MsgspecError):
        raise RecordDamaged("an alert, or what a monitor remembers, does not open in its place") from None


def _aad(label: bytes, twin: TwinId, row: str) -> bytes:
    return label + length_prefixed(twin.encode(), row.encode())
