"""Rows of things, relations and happenings: sealed, bound to their tags (``core.sealed_rows``).

Rows are not held against the log: nobody may see or do anything to a patient because of a relation, each step asks
access control anew, and the log tells of every one. A database that was turned back shows an older hospital; the log
shows what was done since. Names of things and patients' twins are found by blind tags, so storage learns neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Row, func, select, true, update

from twinward.core.sealed_rows import SealedRows
from twinward.things.models import Happening, Related, Relation, Thing
from twinward.things.storage.tables import THINGS, HappeningRow, RelationRow, ThingRow
from twinward_crypto.errors import OpenError
from twinward_crypto.padding import pad, unpad
from twinward_ledger.storage import table_of, upsert

_ALTERED: Final = ("things.db holds a row that this node did not write", "restore it from a backup")
_KEY: Final = b"twinward/thing-store/1"
_things, _relations, _happenings = table_of(ThingRow), table_of(RelationRow), table_of(HappeningRow)
_OPEN, _OVER = 1, 0

S = TypeVar("S", bound=msgspec.Struct)


class _Rows(SealedRows):
    schema = THINGS
    key_label = _KEY
    altered = _ALTERED

    def tag(self, name: str) -> bytes:
        """The tag of a thing's name."""
        return self._keys.tag("thing", name)

    def tag_of_target(self, relation: Relation, target: str) -> bytes:
        """The tag of what a thing stands to: a thing or a twin."""
        return self.tag_of_twin(target) if relation is Relation.ASSIGNED_TO else self.tag(target)

    def tag_of_twin(self, twin: str) -> bytes:
        """The tag of a patient's twin."""
        return self._keys.tag("thing-twin", twin)

    def _read(self, kind: type[S], row: Row[Any]) -> S:
        try:
            return msgspec.json.decode(unpad(self._opened(row)), type=kind)
        except (OpenError, msgspec.MsgspecError):
            raise self._alteration() from None


class ThingRows(_Rows):
    """The things."""

    row, bound, row_label = ThingRow, ("tag", "revision"), b"twinward/thing/1\x00"

    def find(self, db: Connection, name: str) -> tuple[Thing, int] | None:
        """A thing, and which state of it this is. Raises ``StoreAltered``."""
        row = db.execute(select(_things).where(_things.c.tag == self.tag(name))).first()
        return None if row is None else (self._read(Thing, row), row.revision)

    def all(self, db: Connection) -> list[Thing]:
        """Every thing, by name. Raises ``StoreAltered``."""
        return sorted((self._read(Thing, row) for row in db.execute(select(_things)).all()), key=lambda one: one.name)

    def count(self, db: Connection) -> int:
        """How many there are."""
        return int(db.execute(select(func.count()).select_from(_things)).scalar_one())

    def put(self, db: Connection, thing: Thing, revision: int) -> None:
        """Store its next state."""
        tag = self.tag(thing.name)
        sealed = self._sealed(pad(msgspec.json.encode(thing)), tag=tag, revision=revision)
        upsert(db, _things, tag=tag, revision=revision, sealed=sealed)


class RelationRows(_Rows):
    """Relations."""

    row, bound, row_label = RelationRow, ("id", "thing", "target", "is_open"), b"twinward/thing-relation/1\x00"

    def of(self, db: Connection, thing: str) -> list[Related]:
        """Of one thing to others and to patients, the oldest first."""
        return self._all(db, _relations.c.thing == self.tag(thing))

    def to_thing(self, db: Connection, name: str) -> list[Related]:
        """Of others to one thing."""
        return self._all(db, _relations.c.target == self.tag(name))

    def to_twin(self, db: Connection, twin: str) -> list[Related]:
        """Of things to one patient."""
        return self._all(db, _relations.c.target == self.tag_of_twin(twin))

    def standing(self, db: Connection) -> list[Related]:
        """All that have no end yet."""
        return self._all(db, _relations.c.is_open == _OPEN)

    def every(self, db: Connection) -> list[Related]:
        """All there are."""
        return self._all(db, true())

    def add(self, db: Connection, related: Related) -> None:
        """A new one."""
        columns = self._columns(related)
        self._insert(db, pad(msgspec.json.encode(related)), **columns)

    def put(self, db: Connection, related: Related) -> None:
        """What became of one."""
        columns = self._columns(related)
        sealed = self._sealed(pad(msgspec.json.encode(related)), **columns)
        db.execute(update(_relations).where(_relations.c.id == related.id).values(**columns, sealed=sealed))

    def _columns(self, one: Related) -> dict[str, object]:
        return {
            "id": one.id,
            "thing": self.tag(one.thing),
            "target": self.tag_of_target(one.relation, one.target),
            "is_open": _OPEN if one.until_ms is None else _OVER,
        }

    def _all(self, db: Connection, wanted: Any) -> list[Related]:
        rows = db.execute(select(_relations).where(wanted)).all()
        return sorted((self._read(Related, row) for row in rows), key=lambda one: (one.from_ms, one.id))


class HappeningRows(_Rows):
    """Happenings."""

    row, bound, row_label = HappeningRow, ("id", "thing", "target"), b"twinward/thing-happening/1\x00"

    def of(self, db: Connection, thing: str) -> list[Happening]:
        """To one thing, the oldest first."""
        return self._all(db, _happenings.c.thing == self.tag(thing))

    def with_patients(self, db: Connection) -> list[Happening]:
        """All that name one."""
        return self._all(db, _happenings.c.target != b"")

    def add(self, db: Connection, one: Happening) -> None:
        """A new one."""
        self._insert(db, pad(msgspec.json.encode(one)), **self._columns(one))

    def put(self, db: Connection, one: Happening) -> None:
        """What became of one."""
        columns = self._columns(one)
        sealed = self._sealed(pad(msgspec.json.encode(one)), **columns)
        db.execute(update(_happenings).where(_happenings.c.id == one.id).values(**columns, sealed=sealed))

    def _columns(self, one: Happening) -> dict[str, object]:
        target = b"" if one.twin is None else self.tag_of_twin(one.twin)
        return {"id": one.id, "thing": self.tag(one.thing), "target": target}

    def _all(self, db: Connection, wanted: Any) -> list[Happening]:
        rows: Sequence[Row[Any]] = db.execute(select(_happenings).where(wanted)).all()
        return sorted((self._read(Happening, row) for row in rows), key=lambda one: (one.at_ms, one.id))
