"""Sealed rows in a relational database, with SQLAlchemy Core: what every such backend shares.

A ``put`` is one transaction. It takes its rows in one order (new records, then known ones, each by id), so that two of
them wait for each other and never in a circle; the first to move a record's head wins, the other is a conflict.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar

from sqlalchemy import Connection, Select, Table, delete, func, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import VaultUnavailable, VersionConflict
from twinward.vault.interfaces import Span
from twinward.vault.models import (
    Compaction,
    Covering,
    Found,
    IndexState,
    Moment,
    SealedRow,
    SealedSegment,
    StoredVersion,
    Stretch,
)
from twinward.vault.storage import search_blocks
from twinward.vault.storage import segments as in_segments
from twinward.vault.storage import tables as in_rows
from twinward.vault.storage.segments import segment_table
from twinward.vault.storage.stretches import stretch_of_twin
from twinward_ledger.storage import Database

_head, _sealed, _tag = in_rows.head_table, in_rows.sealed_table, in_rows.tag_table


class RelationalRecordStore:
    """A ``RecordStore`` over a ``Database``. Safe to share between threads; several processes may use one database."""

    DUPLICATE: ClassVar[type[Exception]] = IntegrityError
    """What ``_insert`` raises for a key that exists. A backend with a faster insert overrides both."""

    def __init__(self, database: Database) -> None:
        self._file = database

    def put(
        self, rows: Sequence[SealedRow], segments: Sequence[SealedSegment] = (), absent: Sequence[bytes] = ()
    ) -> None:
        """Store new versions durably, all or none. Segments hold new records only.

        Args:
            rows, segments: what is stored.
            absent: tags that no record may be found by. Two that want the same ones absent wait for each other.

        Raises:
            VersionConflict: a version exists, does not follow the newest one, or belongs to another twin; or a tag is
                not absent.
            MalformedRecord: a blind tag of another length than 16 bytes.
            VaultUnavailable: nothing was stored.
        """
        if not rows and not segments:
            return
        runs = in_rows.runs_of(rows)
        with self._file.writing() as connection:
            if absent:
                self._require_absent(connection, absent)
            if runs:
                self._move_heads(connection, runs)
                self._insert(connection, _sealed, in_rows.SEALED_COLUMNS, [in_rows.sealed_values(row) for row in rows])
            tags = [(tag, run[-1].record_id) for run in runs for tag in dict.fromkeys(run[-1].tags)]
            if tags:
                self._insert(connection, _tag, in_rows.TAG_COLUMNS, tags)
            self._add_segments(connection, segments)

    def latest(self, record_id: RecordId) -> StoredVersion | None:
        """The newest version of a record."""
        with self._file.reading() as connection:
            row = connection.execute(_newest().where(_head.c.record_id == record_id)).first()
            if row is not None:
                return in_rows.row_of(row)
            members = in_segments.versions_of(connection, record_id)
            heads = in_segments.heads_of(connection, [record_id] if members else [])
        current = [one for one in members if heads.get(record_id, one.version) == one.version]
        return current[-1] if current else None

    def history(self, record_id: RecordId) -> list[StoredVersion]:
        """Every version, oldest first."""
        statement = select(_sealed).where(_sealed.c.record_id == record_id).order_by(_sealed.c.version)
        with self._file.reading() as connection:
            rows: list[StoredVersion] = [in_rows.row_of(row) for row in connection.execute(statement)]
            rows += in_segments.versions_of(connection, record_id)
        return sorted(rows, key=lambda place: place.version)

    def of_twin(self, twin: TwinId, category_tags: Sequence[bytes] = ()) -> Iterator[StoredVersion]:
        """The newest version of each of a twin's records, of the given categories or of all, by record id."""
        statement = _newest().where(_head.c.twin == twin).order_by(_head.c.record_id)
        if category_tags:
            statement = statement.where(_head.c.category_tag.in_(category_tags))
        with self._file.reading() as connection:
            rows = connection.execute(statement).all()  # all at once: a slow reader must not hold the snapshot open
            segments = in_segments.of_twin(connection, twin, category_tags)
            members = list(in_segments.current_members(connection, twin, segments)) if segments else []
        if not members:
            return map(in_rows.row_of, rows)
        places: list[StoredVersion] = [*map(in_rows.row_of, rows), *members]
        return iter(sorted(places, key=lambda place: place.record_id))

    def stretch(self, twin: TwinId, category_tags: Sequence[bytes], after: str, most: int) -> Stretch:
        """The newest versions of a twin's records of these categories, by record id: those after one, so many."""
        with self._file.reading() as connection:
            return stretch_of_twin(connection, twin, category_tags, after, most)

    def newest(self, record_ids: Collection[RecordId]) -> list[StoredVersion]:
        """The newest versions of these records, by record id; those that are not kept are left out."""
        with self._file.reading() as connection:
            return search_blocks.newest(connection, record_ids)

    def index_state(self, twin: TwinId, category_tags: Sequence[bytes]) -> IndexState:
        """One state of a twin's search index of these categories, and of what it is of."""
        with self._file.reading() as connection:
            return search_blocks.state_of(connection, twin, category_tags)

    def heads_of(self, twin: TwinId, category_tag: bytes) -> list[tuple[RecordId, int]]:
        """Every record of a twin and category that has a head, with its newest version."""
        with self._file.reading() as connection:
            return search_blocks.heads_of(connection, twin, category_tag)

    def segments(self, segment_ids: Collection[str]) -> list[SealedSegment]:
        """These segments, without their tags; those that are not kept are left out."""
        with self._file.reading() as connection:
            return search_blocks.segments(connection, segment_ids)

    def cover(self, step: Covering) -> bool:
        """Store search blocks in one durable step; False, and nothing is changed, where what they are of has changed
        since, or somebody else is writing: no search waits for that."""
        try:
            with self._file.writing(wait=False) as connection:
                search_blocks.cover(connection, step)
        except (search_blocks.ChangedSince, self.DUPLICATE, VaultUnavailable):
            return False
        return True

    def timeline(self, span: Span, limit: int) -> list[Moment]:
        """The newest versions of a stretch of time, of all twins, newest first; as many as ``limit``."""
        place = (_sealed.c.committed_at_ms, _sealed.c.record_id, _sealed.c.version)
        columns = (*place, _sealed.c.twin, _sealed.c.category_tag, _sealed.c.type_tag)
        statement = select(*columns).where(place[0] >= span.since_ms, place[0] < span.until_ms)
        if span.before is not None:
            statement = statement.where(tuple_(*place) < tuple_(*span.before))
        statement = statement.order_by(*(column.desc() for column in place)).limit(limit)
        with self._file.reading() as connection:
            rows = connection.execute(statement).all()
            members = in_segments.timeline(connection, span, limit)
        found = [
            Moment(
                (row.committed_at_ms, RecordId(row.record_id), row.version),
                TwinId(row.twin),
                row.category_tag,
                (row.type_tag,),
            )
            for row in rows
        ]
        return heapq.nlargest(limit, [*found, *members], key=lambda moment: moment.at)

    def find(self, tag: bytes) -> list[RecordId]:
        """Records whose newest version carries a blind tag, by record id."""
        statement = select(_tag.c.record_id).where(_tag.c.tag == tag).order_by(_tag.c.record_id)
        with self._file.reading() as connection:
            found = {RecordId(one) for one in connection.execute(statement).scalars()}
            found |= {member.record_id for member in in_segments.found_by(connection, [tag]).get(tag, ())}
        return sorted(found)

    def find_many(self, tags: Sequence[bytes]) -> dict[bytes, Found]:
        """For each tag that is found, the last by id of the records whose newest version carries it."""
        columns = (_tag.c.tag, _head.c.twin, _tag.c.record_id, _head.c.version, _head.c.category_tag)
        statement = (
            select(*columns, _sealed.c.mark)
            .join(_head, _head.c.record_id == _tag.c.record_id)
            .join(_sealed, (_sealed.c.record_id == _head.c.record_id) & (_sealed.c.version == _head.c.version))
        )
        found: dict[bytes, Found] = {}
        with self._file.reading() as connection:
            for some in in_rows.in_order(self._present(connection, tags)):
                chosen = statement.where(_tag.c.tag.in_(some)).order_by(_tag.c.record_id)
                for tag, twin, record_id, version, category_tag, fingerprint in connection.execute(chosen):
                    found[tag] = Found(TwinId(twin), RecordId(record_id), version, category_tag, fingerprint)
            for tag, members in in_segments.found_by(connection, tags).items():
                last = max(members, key=lambda member: member.record_id)
                if tag not in found or found[tag].record_id < last.record_id:
                    found[tag] = Found(last.twin, last.record_id, last.version, last.category_tag, last.fingerprint)
        return found

    def compactable(self, twin: TwinId) -> tuple[list[SealedRow], list[SealedSegment], dict[str, int]]:
        """Every version of a twin's that stands in a row, by record id and version, its segments, and its heads."""
        statement = select(_sealed).join(_head, _head.c.record_id == _sealed.c.record_id).where(_head.c.twin == twin)
        with self._file.reading() as connection:
            rows = [in_rows.row_of(row) for row in connection.execute(statement)]
            segments = in_segments.of_twin(connection, twin)
            heads = in_segments.heads_of_twin(connection, twin)
        return sorted(rows, key=lambda row: (row.record_id, row.version)), segments, heads

    def compact(self, step: Compaction) -> bool:
        """Swap rows and segments for new segments that hold the same versions, in one durable step.

        Returns False, and changes nothing, where a record or a segment is no longer as it was read.

        Raises:
            VaultUnavailable: nothing was changed.
        """
        newest: dict[str, int] = {}
        for row in step.rows:
            newest[row.record_id] = max(row.version, newest.get(row.record_id, 0))
        kept = {row.record_id for row in step.rows if row.version > 1}
        alone = newest.keys() - kept
        with self._file.writing() as connection:
            taken = [segment.segment_id for segment in step.segments]
            if in_segments.heads_of(connection, newest.keys(), lock=True) != newest:
                return False
            if in_segments.count_of(connection, taken) != len(taken):
                return False
            for some in in_rows.in_order(newest):
                connection.execute(delete(_tag).where(_tag.c.record_id.in_(some)))
                connection.execute(delete(_sealed).where(_sealed.c.record_id.in_(some)))
            for some in in_rows.in_order(alone):  # one version only: its segment says all that its head says
                connection.execute(delete(_head).where(_head.c.record_id.in_(some)))
            in_segments.delete_segments(connection, taken)
            self._add_segments(connection, step.made)
        return True

    def twins(self, start: str = "", most: int | None = None) -> list[TwinId]:
        """The twins that have a row, by id: from ``start`` on, so many at most, or all."""
        columns = (_head.c.twin, segment_table.c.twin)
        found: set[str] = set()
        with self._file.reading() as connection:
            for column in columns:  # each by its index, which a union of both would not be read along
                statement = select(column).distinct().where(column >= start).order_by(column).limit(most)
                found |= set(connection.execute(statement).scalars())
        return [TwinId(twin) for twin in sorted(found)[:most]]

    def purge_twin(self, twin: TwinId) -> int:
        """Delete every version of a twin's records with their blind tags, durably; return how many versions.

        Idempotent: what was interrupted is finished by doing it again.
        """
        with self._file.writing() as connection:
            segments = in_segments.of_twin(connection, twin)
            search_blocks.purge(connection, twin)
            return self._purge(connection, select(_head.c.record_id).where(_head.c.twin == twin), segments)

    def purge_category(self, twin: TwinId, category_tag: bytes) -> int:
        """``purge_twin`` for the records of which any version stands under a category's tag.

        A record that was moved to another category goes whole: versions are chained, and none may be missing. It may be
        described in a block of that other category, whose key stays: so all of the twin's blocks go, to be made anew.
        """
        in_category = (_sealed.c.twin == twin) & (_sealed.c.category_tag == category_tag)
        with self._file.writing() as connection:
            segments = in_segments.of_twin(connection, twin, [category_tag])
            search_blocks.purge(connection, twin)
            return self._purge(connection, select(_sealed.c.record_id).where(in_category).distinct(), segments)

    def forget_deleted(self) -> None:
        """Put what was deleted out of reach in the files, as far as the backend can. Slow: once a batch."""
        self._file.forget_deleted()

    def count(self) -> int:
        """How many rows there are, all versions."""
        with self._file.reading() as connection:
            rows = connection.execute(select(func.count()).select_from(_sealed)).scalar_one()
            return int(rows) + int(connection.execute(select(func.sum(segment_table.c.size))).scalar_one() or 0)

    def close(self) -> None:
        """Give back files and connections."""
        self._file.close()

    def _present(self, connection: Connection, tags: Sequence[bytes]) -> set[bytes]:
        """Which tags lead to rows at all: most of what an import asks for does not."""
        return {tag for (tag,) in in_segments.look_up(connection, _tag, ["tag"], tags)}

    def _purge(self, connection: Connection, doomed: Select[Any], segments: Sequence[SealedSegment]) -> int:
        found: set[str] = set(connection.execute(doomed).scalars())
        gone = [segment.segment_id for segment in segments]
        members = {member.record_id for segment in segments for member in in_segments.members_of(segment)}
        ids = sorted(found | in_segments.heads_of(connection, members).keys())  # writers take heads in this order, too
        # A record with a version in a segment that stays keeps its head: without it, that version would be the newest.
        remaining = {
            record_id
            for record_id in found
            if any(
                one.segment.segment_id not in gone for one in in_segments.versions_of(connection, RecordId(record_id))
            )
        }
        purged = sum(segment.size for segment in segments)
        for some in in_rows.in_order(ids):
            connection.execute(delete(_tag).where(_tag.c.record_id.in_(some)))
            purged += connection.execute(delete(_sealed).where(_sealed.c.record_id.in_(some))).rowcount
            alone = [record_id for record_id in some if record_id not in remaining]
            connection.execute(delete(_head).where(_head.c.record_id.in_(alone)))
        in_segments.delete_segments(connection, gone)
        return purged

    def _require_absent(self, connection: Connection, tags: Sequence[bytes]) -> None:
        self._hold(connection, tags)
        if self._present(connection, tags) or in_segments.found_by(connection, tags):
            raise VersionConflict("a record is kept under this name already", hint="read it and write again")

    def _hold(self, connection: Connection, tags: Sequence[bytes]) -> None:
        """Let nobody else look for these tags until this transaction ends. Here the caller is alone in writing."""

    def _insert(
        self, connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[object, ...]]
    ) -> None:
        """Insert rows of these columns. Raises one of ``DUPLICATE``."""
        names, values = ", ".join(columns), ", ".join("?" * len(columns))
        # The driver's own words: SQLAlchemy's insert costs several times what the row does. Names are the models'.
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({values})", list(rows))  # noqa: S608

    def _segment_numbers(self, connection: Connection, count: int) -> range:
        """Numbers that no segment has. Here the caller is alone in writing; other backends have a sequence."""
        first = in_segments.newest_number(connection) + 1
        return range(first, first + count)

    def _add_segments(self, connection: Connection, segments: Sequence[SealedSegment]) -> None:
        if not segments:
            return
        numbered = list(zip(self._segment_numbers(connection, len(segments)), segments, strict=True))
        values = [in_segments.segment_values(number, segment) for number, segment in numbered]
        tags = in_segments.tag_values(numbered)
        try:
            self._insert(connection, segment_table, in_segments.SEGMENT_COLUMNS, values)
        except self.DUPLICATE:
            raise VersionConflict("one of the segments exists already", hint="write its records again") from None
        if tags:
            self._insert(connection, in_segments.tag_table, in_segments.TAG_COLUMNS, tags)

    def _move_heads(self, connection: Connection, runs: Sequence[Sequence[SealedRow]]) -> None:
        fresh = [run for run in runs if run[0].version == 1]
        if fresh:
            try:
                self._insert(connection, _head, in_rows.HEAD_COLUMNS, [in_rows.head_values(run[-1]) for run in fresh])
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
            .values(version=last.version, category_tag=last.category_tag, indexed=0)
        )
        if moved.rowcount == 1:
            connection.execute(delete(_tag).where(_tag.c.record_id == first.record_id))
        elif not self._follows_member(connection, first, last):
            raise VersionConflict(
                f"version {first.version} of record {first.record_id} does not follow the newest one",
                hint="read it and write again",
            )

    def _follows_member(self, connection: Connection, first: SealedRow, last: SealedRow) -> bool:
        """Give a head to a record that had none, since its only version stood in a segment."""
        if in_segments.heads_of(connection, [first.record_id]):
            return False
        members = in_segments.versions_of(connection, first.record_id)
        if not members or members[-1].version != first.version - 1 or members[-1].twin != first.twin:
            return False
        try:
            self._insert(connection, _head, in_rows.HEAD_COLUMNS, [in_rows.head_values(last)])
        except self.DUPLICATE:
            return False  # somebody else wrote first
        return True


def _newest() -> Select[Any]:
    return select(_sealed).join(
        _head, (_head.c.record_id == _sealed.c.record_id) & (_head.c.version == _sealed.c.version)
    )
