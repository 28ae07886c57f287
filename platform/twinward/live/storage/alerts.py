"""Alerts and monitors' memory as they are kept: sealed under the twin's key for monitoring, erased with it."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from sqlalchemy import Connection, delete, select

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
from twinward_ledger.storage import table_of, upsert

_ALERT: Final = b"twinward/live-alert/1\x00"
_MONITOR: Final = b"twinward/live-monitor/1\x00"
_alerts = table_of(AlertRow)
_monitors = table_of(MonitorRow)
S = TypeVar("S", Alert, MonitorState)


class AlertRows:
    """Both tables, within one transaction. It asks for no permit: whoever calls it has one, or hands nothing out."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def monitor(self, keys: TwinKeys) -> MonitorState:
        """What is remembered of a twin; nothing where that was shredded. Raises ``RecordDamaged``."""
        row = self._connection.execute(select(_monitors).where(_monitors.c.twin == keys.twin)).first()
        if row is None or row.category_tag != keys.category_tag(Category.MONITORING):
            return MonitorState()
        return _opened(MonitorState, keys, row.sealed, _MONITOR, keys.twin)

    def put_monitor(self, keys: TwinKeys, state: MonitorState) -> None:
        """Remember of a twin."""
        tag = keys.category_tag(Category.MONITORING)
        sealed = _sealed(keys, msgspec.json.encode(state), _MONITOR, keys.twin)
        upsert(self._connection, _monitors, twin=keys.twin, category_tag=tag, sealed=sealed)

    def monitored(self) -> list[TwinId]:
        """Every twin of which something is remembered."""
        return [TwinId(one) for one in self._connection.execute(select(_monitors.c.twin)).scalars()]

    def of(self, keys: TwinKeys) -> list[Alert]:
        """A twin's alerts, the oldest first. Raises ``RecordDamaged``."""
        tag = keys.category_tag(Category.MONITORING)
        wanted = select(_alerts).where(_alerts.c.twin == keys.twin, _alerts.c.category_tag == tag)
        rows = self._connection.execute(wanted.order_by(_alerts.c.id)).all()
        return [_opened(Alert, keys, row.sealed, _ALERT, row.id) for row in rows]

    def put(self, keys: TwinKeys, alert: Alert) -> None:
        """Store an alert, or what became of it."""
        tag = keys.category_tag(Category.MONITORING)
        sealed = _sealed(keys, msgspec.json.encode(alert), _ALERT, alert.id)
        upsert(self._connection, _alerts, id=alert.id, twin=keys.twin, category_tag=tag, sealed=sealed)

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


def _sealed(keys: TwinKeys, content: bytes, label: bytes, row: str) -> bytes:
    key = keys.category_key(Category.MONITORING)
    return seal(key, pad(content), _aad(label, keys.twin, row), generation=keys.generation)


def _opened(kind: type[S], keys: TwinKeys, sealed: object, label: bytes, row: str) -> S:
    try:
        if not isinstance(sealed, bytes):
            raise OpenError
        content = unpad(open_sealed(keys.category_key(Category.MONITORING), sealed, _aad(label, keys.twin, row)))
        return msgspec.json.decode(content, type=kind)
    except (OpenError, msgspec.MsgspecError):
        raise RecordDamaged("an alert, or what a monitor remembers, does not open in its place") from None


def _aad(label: bytes, twin: TwinId, row: str) -> bytes:
    return label + length_prefixed(twin.encode(), row.encode())
