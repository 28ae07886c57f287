"""A ward for tests, with things: an intensive care unit of two beds, a ventilator, saline."""

from __future__ import annotations

from pathlib import Path

from tests.integration.live.ward import FILING, Ward
from twinward.core.vocabulary import TwinId
from twinward.things.interactions import Report
from twinward.things.models import Happening, Kind, Related, Relation, What
from twinward.things.parts import ThingParts
from twinward.things.service import New, Things
from twinward.things.storage.database import ThingDatabase
from twinward_crypto.testing.memory_provider import MemoryKeyProvider

HOUR_MS = 3_600_000


class Equipped(Ward):
    """``things`` on a file of its own."""

    def __init__(self, folder: Path, provider: MemoryKeyProvider | None = None) -> None:
        super().__init__(folder, provider)
        database = ThingDatabase(folder / "things.db", self.keyring)
        self.things = Things(ThingParts(database, self.live, self.access, self.keyring.is_shredded, self.clock))

    def close(self) -> None:
        self.things.close()
        super().close()

    def another(self) -> Things:
        """The same things through a database of their own, as another process opens them."""
        database = ThingDatabase(self.folder / "things.db", self.keyring)
        return Things(ThingParts(database, self.live, self.access, self.keyring.is_shredded, self.clock))

    def equip(self) -> None:
        for name, kind, kind_type in (
            ("st-mary", Kind.HOSPITAL, ""),
            ("icu", Kind.WARD, ""),
            ("bed-1", Kind.BED, ""),
            ("bed-2", Kind.BED, ""),
            ("vent-1", Kind.DEVICE, "ventilator"),
            ("saline", Kind.STOCK, "medication"),
        ):
            hours = 100 if kind is Kind.DEVICE else 0
            self.things.add(FILING, New(name, kind, name.title(), kind_type, service_hours=hours))
        for name, relation, target in (
            ("icu", Relation.PART_OF, "st-mary"),
            ("bed-1", Relation.PART_OF, "icu"),
            ("bed-2", Relation.PART_OF, "icu"),
            ("vent-1", Relation.LOCATED_IN, "bed-1"),
            ("saline", Relation.LOCATED_IN, "icu"),
        ):
            self.things.relations.relate(FILING, name, relation, target)

    def put(self, thing: str, twin: TwinId, from_ms: int | None = None) -> Related:
        return self.things.relations.relate(FILING, thing, Relation.ASSIGNED_TO, twin, from_ms)

    def take(self, thing: str, until_ms: int | None = None) -> Related:
        return self.things.relations.end(FILING, thing, Relation.ASSIGNED_TO, until_ms)

    def happen(self, thing: str, what: What, *, twin: TwinId | None = None, amount: int = 0) -> Happening:
        return self.things.interactions.record(FILING, thing, Report(what, twin, amount))
