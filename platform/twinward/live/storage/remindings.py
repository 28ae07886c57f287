"""In whose name medication is watched, as it is kept: one row."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, select

from twinward.audit.interfaces import EventKeys
from twinward.core.ids import uuid8
from twinward.core.vocabulary import TwinId
from twinward.live.medication.models import Dose, Reminding
from twinward.live.storage.tables import RemindingRow
from twinward.live.storage.tenant_rows import TenantSeal
from twinward_ledger.storage import table_of, upsert

_rows = table_of(RemindingRow)
_THE_ONE: Final = "reminding"


class RemindingRows:
    """The table, within one transaction."""

    def __init__(self, connection: Connection, keys: EventKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._seal = TenantSeal(keys, "reminding")

    def find(self) -> Reminding | None:
        """What stands; None where medication is not watched. Raises ``StoreAltered``."""
        row = self._connection.execute(select(_rows).where(_rows.c.tag == self._tag)).first()
        return None if row is None else self._seal.open(Reminding, row.sealed, row.tag, row.revision)

    def put(self, one: Reminding) -> None:
        """Have it stand."""
        found = self._connection.execute(select(_rows.c.revision).where(_rows.c.tag == self._tag)).scalar() or 0
        sealed = self._seal.seal(one, self._tag, found + 1)
        upsert(self._connection, _rows, tag=self._tag, revision=found + 1, sealed=sealed)

    def remove(self) -> bool:
        """Watch no more: whether it was."""
        return self._connection.execute(delete(_rows).where(_rows.c.tag == self._tag)).rowcount > 0

    def alert_id(self, twin: TwinId, dose: Dose, kind: str) -> str:
        """The id of a dose's alert: the same in every process, and no stranger can tell of what."""
        named = f"{twin}\x00{dose.request}\x00{dose.due_ms}\x00{kind}"
        return uuid8(self._keys.tag("live-dose", named).hex())

    @property
    def _tag(self) -> bytes:
        return self._keys.tag("live-reminding", _THE_ONE)
