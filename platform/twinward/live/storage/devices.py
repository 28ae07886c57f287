"""Devices as they are kept: each with the line of its assignments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, select

from twinward.audit.interfaces import EventKeys
from twinward.live.assignments import Assignment, AssignmentLine
from twinward.live.storage.tables import DeviceRow
from twinward.live.storage.tenant_rows import TenantSeal
from twinward_ledger.storage import table_of, upsert_all

_rows = table_of(DeviceRow)
_find = select(_rows).where(_rows.c.tag.in_(bindparam("wanted", expanding=True)))
_find_one = select(_rows).where(_rows.c.tag == bindparam("wanted"))  # half the time of a list of one
_AT_ONCE: Final = 500


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
        return self.find_all([device])[device]

    def find_all(self, devices: Collection[str]) -> dict[str, DeviceAt]:
        """The same of many, each under its name. Raises ``StoreAltered``."""
        tags = {self._keys.tag("live-device", device): device for device in devices}
        found = {device: DeviceAt(device, AssignmentLine(), tag, 0) for tag, device in tags.items()}
        names = list(tags)
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            asked = (_find_one, {"wanted": some[0]}) if len(some) == 1 else (_find, {"wanted": some})
            for row in self._connection.execute(*asked):
                found[tags[row.tag]] = self._opened(row.tag, row.revision, row.sealed)
        return found

    def put(self, at: DeviceAt) -> None:
        """Store what became of a device that was read in this transaction."""
        self.put_all([at])

    def put_all(self, some: Sequence[DeviceAt]) -> None:
        """The same of many."""
        upsert_all(self._connection, _rows, [self._row(one) for one in some])

    def _row(self, at: DeviceAt) -> dict[str, object]:
        kept = _Kept(at.device, list(at.line.assignments), at.line.placed_until_ms)
        revision = at.revision + 1
        return {"tag": at.tag, "revision": revision, "sealed": self._seal.seal(kept, at.tag, revision)}

    def all(self) -> list[DeviceAt]:
        """Every device, by name. Raises ``StoreAltered``."""
        rows = self._connection.execute(select(_rows)).all()
        return sorted((self._opened(row.tag, row.revision, row.sealed) for row in rows), key=lambda one: one.device)

    def _opened(self, tag: bytes, revision: int, sealed: object) -> DeviceAt:
        kept = self._seal.open(_Kept, sealed, tag, revision)
        return DeviceAt(kept.device, AssignmentLine(kept.assignments, kept.placed_until_ms), tag, revision)
