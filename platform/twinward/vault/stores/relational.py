"""Sealed rows in a relational database, with SQLAlchemy Core: what every such backend shares.

A ``put`` is one transaction. It takes its rows in one order (new records, then known ones, each by id), so that two of
them wait for each other and never in a circle; the first to move a record's head wins, the other is a conflict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from sqlalchemy import Connection, Row, Select, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from twinward.vault.database import Database
from twinward.vault.errors import MalformedRecord, RecordDamaged, VersionConflict
from twinward.vault.interfaces import SealedRow
from twinward.vault.models import RecordHead, RecordTag, SealedRecord
from twinward.vocabulary import RecordId, TwinId
from twinward_crypto.blind_index import TAG_BYTES

_TAGS_AT_ONCE = _IDS_AT_ONCE = 500
"""Well below the parameters one statement may have."""

_head = RecordHead.__table__  # type: ignore[attr-defined]
_sealed = SealedRecord.__table__  # type: ignore[attr-defined]
_tag = RecordTag.__table__  # type: ignore[attr-defined]


class RelationalRecordStore:
    """A ``RecordStore`` over a ``Database``. Safe to share between threads; several processes may use one database."""

    DUPLICATE: ClassVar[type[Exception]] = IntegrityError
    """What ``_insert`` raises for a key that exists. A backend with a faster insert overrides both."""

    def __init__(self, database: Database) -> None:
        self._file = database

    def put(self, rows: Sequence[SealedRow]) -> None:
        """Store new versions durably, all or none.

        Raises:
            VersionConflict: a version exists, does not follow the newest one, or belongs to another twin.
            MalformedRecord: a blind tag of another length than 16 bytes.
            VaultUnavailable: nothing was stored.
        """
        if not rows:
            return
        runs = _runs(rows)
        with self._file.writing() as connection:
            self._move_heads(connection, runs)
            self._insert(connection, _sealed, [_values(row) for row in rows])
            tags = [{"tag": tag, "record_id": run[-1].record_id} for run in runs for tag in dict.fromkeys(run[-1].tags)]
            if tags:
                self._insert(connection, _tag, tags)

    def latest(self, record_id: RecordId) -> SealedRow | None:
        """The newest version of a record."""
        with self._file.reading() as connection:
            row = connection.execute(_newest().where(_head.c.record_id == record_id)).first()
        return _row(row) if row is not None else None

    def history(self, record_id: RecordId) -> list[SealedRow]:
        """Every version, oldest first."""
        statement = select(_sealed).where(_sealed.c.record_id == record_id).order_by(_sealed.c.version)
        with self._file.reading() as connection:
            return [_row(row) for row in connection.execute(statement)]

    def of_twin(self, twin: TwinId, category_tags: Sequence[bytes] = ()) -> Iterator[SealedRow]:
        """The newest version of each of a twin's records, of the given categories or of all, by record id."""
        statement = _newest().where(_head.c.twin == twin).order_by(_head.c.record_id)
        if category_tags:
            statement = statement.where(_head.c.category_tag.in_(category_tags))
        with self._file.reading() as connection:
            rows = connection.execute(statement).all()  # all at once: a slow reader must not hold the snapshot open
        return map(_row, rows)

    def find(self, tag: bytes) -> list[RecordId]:
        """Records whose newest version carries a blind tag, by record id."""
        statement = select(_tag.c.record_id).where(_tag.c.tag == tag).order_by(_tag.c.record_id)
        with self._file.reading() as connection:
            return [RecordId(found) for found in connection.execute(statement).scalars()]

    def find_many(self, tags: Sequence[bytes]) -> dict[bytes, tuple[TwinId, RecordId]]:
        """For each tag that is found, the last by id of the records whose newest version carries it."""
        statement = select(_tag.c.tag, _head.c.twin, _tag.c.record_id).join(
            _head, _head.c.record_id == _tag.c.record_id
        )
        found: dict[bytes, tuple[TwinId, RecordId]] = {}
        with self._file.reading() as connection:
            for start in range(0, len(tags), _TAGS_AT_ONCE):
                some = statement.where(_tag.c.tag.in_(tags[start : start + _TAGS_AT_ONCE])).order_by(_tag.c.record_id)
                for tag, twin, record_id in connection.execute(some):
                    found[tag] = TwinId(twin), RecordId(record_id)
        return found

    def twins(self) -> list[TwinId]:
        """Every twin that has a row, by id."""
        statement = select(_head.c.twin).distinct().order_by(_head.c.twin)
        with self._file.reading() as connection:
            return [TwinId(twin) for twin in connection.execute(statement).scalars()]

    def purge_twin(self, twin: TwinId) -> int:
        """Delete every version of a twin's records with their blind tags, durably; return how many versions.

        Idempotent: what was interrupted is finished by doing it again.
        """
        return self._purge(select(_head.c.record_id).where(_head.c.twin == twin))

    def purge_category(self, twin: TwinId, category_tag: bytes) -> int:
        """``purge_twin`` for the records of which any version stands under a category's tag.

        A record that was moved to another category goes whole: versions are chained, and none may be missing.
        """
        in_category = (_sealed.c.twin == twin) & (_sealed.c.category_tag == category_tag)
        return self._purge(select(_sealed.c.record_id).where(in_category).distinct())

    def forget_deleted(self) -> None:
        """Put what was deleted out of reach in the files, as far as the backend can. Slow: once a batch."""
        self._file.forget_deleted()

    def count(self) -> int:
        """How many rows there are, all versions."""
        with self._file.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(_sealed)).scalar_one())

    def close(self) -> None:
        """Give back files and connections."""
        self._file.close()

    def _purge(self, doomed: Select[tuple[str]]) -> int:
        purged = 0
        with self._file.writing() as connection:
            ids = sorted(connection.execute(doomed).scalars())  # writers take heads in this order, too
            for start in range(0, len(ids), _IDS_AT_ONCE):
                some = ids[start : start + _IDS_AT_ONCE]
                connection.execute(delete(_tag).where(_tag.c.record_id.in_(some)))
                purged += connection.execute(delete(_sealed).where(_sealed.c.record_id.in_(some))).rowcount
                connection.execute(delete(_head).where(_head.c.record_id.in_(some)))
        return purged

    def _insert(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert rows, all with the same columns. Raises one of ``DUPLICATE``."""
        connection.execute(insert(table), list(rows))

    def _move_heads(self, connection: Connection, runs: Sequence[Sequence[SealedRow]]) -> None:
        fresh = [run for run in runs if run[0].version == 1]
        if fresh:
            try:
                self._insert(connection, _head, [_head_values(run[-1]) for run in fresh])
            except self.DUPLICATE:
                raise VersionConflict("one of the records exists already", hint="read it and write again") from None
        for run in runs:
            if run[0].version != 1:
                self._advance(connection, run[0], run[-1])

    def _advance(self, connection: Connection, first: SealedRow, last: SealedRow) -> None:
        moved = connection.execute(
            update(_head)
            .where(
                _head.c.record_id == first.record_id,
                _head.c.version == first.version - 1,
                _head.c.twin == first.twin,
            )
            .values(version=last.version, category_tag=last.category_tag)
        )
        if moved.rowcount != 1:
            raise VersionConflict(
                f"version {first.version} of record {first.record_id} does not follow the newest one",
                hint="read it and write again",
            )
        connection.execute(delete(_tag).where(_tag.c.record_id == first.record_id))


def _runs(rows: Sequence[SealedRow]) -> list[list[SealedRow]]:
    """The rows by record, in the order of ids, each record's versions counting up by one."""
    runs: dict[RecordId, list[SealedRow]] = {}
    for row in rows:
        if any(len(tag) != TAG_BYTES for tag in row.tags):
            raise MalformedRecord(f"blind tags have {TAG_BYTES} bytes")
        run = runs.setdefault(row.record_id, [])
        if run and (row.version != run[-1].version + 1 or row.twin != run[-1].twin):
            raise VersionConflict(f"record {row.record_id} is given twice with versions that do not follow each other")
        run.append(row)
    return [runs[record_id] for record_id in sorted(runs)]


def _newest() -> Select[Any]:
    return select(_sealed).join(
        _head, (_head.c.record_id == _sealed.c.record_id) & (_head.c.version == _sealed.c.version)
    )


def _head_values(row: SealedRow) -> dict[str, object]:
    return {
        "record_id": row.record_id,
        "version": row.version,
        "twin": row.twin,
        "category_tag": row.category_tag,
    }


def _values(row: SealedRow) -> dict[str, object]:
    return {
        "record_id": row.record_id,
        "version": row.version,
        "twin": row.twin,
        "category_tag": row.category_tag,
        "type_tag": row.type_tag,
        "generation": row.generation,
        "previous_hash": row.previous_hash,
        "committed_at_ms": row.committed_at_ms,
        "tags": b"".join(row.tags),
        "sealed": row.sealed,
    }


def _row(row: Row[Any]) -> SealedRow:
    tags = row.tags
    if not all(isinstance(number, int) for number in (row.version, row.generation, row.committed_at_ms)):
        raise RecordDamaged("a column of numbers holds something else: the database was altered")
    return SealedRow(
        record_id=RecordId(row.record_id),
        version=row.version,
        twin=TwinId(row.twin),
        category_tag=row.category_tag,
        type_tag=row.type_tag,
        generation=row.generation,
        previous_hash=row.previous_hash,
        committed_at_ms=row.committed_at_ms,
        sealed=row.sealed,
        tags=tuple(tags[start : start + TAG_BYTES] for start in range(0, len(tags), TAG_BYTES)),
    )
