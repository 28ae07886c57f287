"""``things.db``: what one step changes, it changes in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from twinward.audit.interfaces import EventKeys
from twinward.core.vocabulary import TwinId
from twinward.things.models import Happening, Related, Relation, Thing
from twinward.things.storage.rows import HappeningRows, RelationRows, ThingRows
from twinward.things.storage.tables import THINGS
from twinward_ledger.storage import Database
from twinward_ledger.storage.sqlite import SqliteFile


class Tables:
    """The tables, as one transaction sees them."""

    def __init__(self, db: Connection, rows: tuple[ThingRows, RelationRows, HappeningRows]) -> None:
        self._db = db
        self._things, self._relations, self._happenings = rows

    def thing(self, name: str) -> tuple[Thing, int] | None:
        """A thing, and which state of it this is."""
        return self._things.find(self._db, name)

    def things(self) -> list[Thing]:
        """Every thing, by name."""
        return self._things.all(self._db)

    def count(self) -> int:
        """How many things there are."""
        return self._things.count(self._db)

    def put_thing(self, thing: Thing, revision: int) -> None:
        """Store a thing's next state."""
        self._things.put(self._db, thing, revision)

    def relations_of(self, name: str) -> list[Related]:
        """A thing's, the oldest first."""
        return self._relations.of(self._db, name)

    def relations_to(self, name: str) -> list[Related]:
        """Others', to a thing."""
        return self._relations.to_thing(self._db, name)

    def relations_to_twin(self, twin: str) -> list[Related]:
        """Things', to a patient."""
        return self._relations.to_twin(self._db, twin)

    def open_relations(self) -> list[Related]:
        """All that have no end yet."""
        return self._relations.standing(self._db)

    def add_relation(self, one: Related) -> None:
        """A new one."""
        self._relations.add(self._db, one)

    def end_relation(self, one: Related) -> None:
        """Store one with its end."""
        self._relations.put(self._db, one)

    def name_no_longer(self, is_erased: Callable[[TwinId], bool], instead: TwinId) -> int:
        """Put another name in the place of patients who were erased. How many rows named one."""
        relations = [one for one in self._relations.every(self._db) if one.relation is Relation.ASSIGNED_TO]
        related = [one for one in relations if is_erased(TwinId(one.target))]
        happened = [one for one in self._happenings.with_patients(self._db) if one.twin and is_erased(one.twin)]
        for relation in related:
            self._relations.put(self._db, msgspec.structs.replace(relation, target=instead))
        for happening in happened:
            self._happenings.put(self._db, msgspec.structs.replace(happening, twin=instead))
        return len(related) + len(happened)

    def happenings_of(self, name: str) -> list[Happening]:
        """What happened to a thing, the oldest first."""
        return self._happenings.of(self._db, name)

    def add_happening(self, one: Happening) -> None:
        """A new one."""
        self._happenings.add(self._db, one)


class ThingDatabase:
    """The database. Safe to share between threads and processes: one writes at a time.

    Args:
        place: a file of its own, or a database that is already open.
        keys: the tenant's.
    """

    def __init__(self, place: Path | Database, keys: EventKeys) -> None:
        self._database: Database = SqliteFile(place, THINGS) if isinstance(place, Path) else place
        self._rows = (
            ThingRows(self._database, keys),
            RelationRows(self._database, keys),
            HappeningRows(self._database, keys),
        )

    @contextmanager
    def reading(self) -> Iterator[Tables]:
        """One state of it."""
        with self._database.reading() as connection:
            yield Tables(connection, self._rows)

    @contextmanager
    def writing(self) -> Iterator[Tables]:
        """A transaction: committed durably at the end, or not at all."""
        with self._database.writing() as connection:
            yield Tables(connection, self._rows)

    def forget_deleted(self) -> None:
        """Write the file anew without what was replaced."""
        self._database.forget_deleted()

    def close(self) -> None:
        """Give back the database."""
        self._database.close()
