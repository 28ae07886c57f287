"""Which models score live twins, as it is kept."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from twinward.audit.interfaces import EventKeys
from twinward.live.scoring.models import Scoring
from twinward.live.storage.tables import ScoringRow
from twinward.live.storage.tenant_rows import TenantSeal
from twinward_ledger.storage import table_of, upsert

_rows = table_of(ScoringRow)


class ScoringRows:
    """The table, within one transaction."""

    def __init__(self, connection: Connection, keys: EventKeys) -> None:
        self._connection = connection
        self._keys = keys
        self._seal = TenantSeal(keys, "scoring")

    def all(self) -> list[Scoring]:
        """Every one, by study. Raises ``StoreAltered``."""
        rows = self._connection.execute(select(_rows)).all()
        found = [self._seal.open(Scoring, row.sealed, row.tag, row.revision) for row in rows]
        return sorted(found, key=lambda one: one.study)

    def put(self, one: Scoring) -> None:
        """Store one; an earlier one of the study goes."""
        tag = self._tag(one.study)
        revision = self._connection.execute(select(_rows.c.revision).where(_rows.c.tag == tag)).scalar() or 0
        upsert(self._connection, _rows, tag=tag, revision=revision + 1, sealed=self._seal.seal(one, tag, revision + 1))

    def remove(self, study: str) -> bool:
        """Forget one: whether there was any."""
        return self._connection.execute(delete(_rows).where(_rows.c.tag == self._tag(study))).rowcount > 0

    def _tag(self, study: str) -> bytes:
        return self._keys.tag("live-scoring", study)
