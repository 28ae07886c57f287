"""Devices as they are kept: each with the line of its assignments."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, select

from twinward.audit.interfaces import EventKeys
from twinward.live.assignments import Assignment, AssignmentLine
from twinward.live.storage.tables import DeviceRow
from twinward.live.storage.tenant_rows import TenantSeal
from twinward_ledger.storage import table_of, upsert

_rows = table_of(DeviceRow)


class _Kept(msgspec.Struct):
    device: str
    assignments: list[Assignment]
    placed_until_ms: int


@dataclass(frozen=True, slots=True)
class DeviceAt:
    """A device as it was read."""

    device: str
    line: AssignmentLine
    tag: bytes
    revision: int


class DeviceRows:
    """The table, within one transaction."""

    def __init__(self, connection: Connection, keys: EventKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._seal = TenantSeal(keys, "device")

    def find(self, device: str) -> DeviceAt:
        """A device as it is now; an unheard-of one was never assigned. Raises ``StoreAltered``."""
        tag = self._keys.tag("live-device", device)
        row = self._connection.execute(select(_rows).where(_rows.c.tag == tag)).first()
        if row is None:
            return DeviceAt(device, AssignmentLine(), tag, 0)
        return self._opened(row.tag, row.revision, row.sealed)

    def put(self, at: DeviceAt) -> None:
        """Store what became of a device that was read in this transaction."""
        kept = _Kept(at.device, list(at.line.assignments), at.line.placed_until_ms)
        sealed = self._seal.seal(kept, at.tag, at.revision + 1)
        upsert(self._connection, _rows, tag=at.tag, revision=at.revision + 1, sealed=sealed)

    def all(self) -> list[DeviceAt]:
        """Every device, by name. Raises ``StoreAltered``."""
        rows = self._connection.execute(select(_rows)).all()
        return sorted((self._opened(row.tag, row.revision, row.sealed) for row in rows), key=lambda one: one.device)

    def _opened(self, tag: bytes, revision: int, sealed: object) -> DeviceAt:
        kept = self._seal.open(_Kept, sealed, tag, revision)
        return DeviceAt(kept.device, AssignmentLine(kept.assignments, kept.placed_until_ms), tag, revision)
