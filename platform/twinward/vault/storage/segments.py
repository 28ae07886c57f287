"""Segments in a relational database: what ``RelationalRecordStore`` does with them inside its transactions.

Where the newest version of a record stands: if ``record_head`` has the record, it is the version named there, in a
row or in a segment; if not, it is the only version there is, in a segment. So a segment's blind tags are never
updated: a tag counts only if the member it leads to is the newest version, and a stale one goes with its segment.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Table, and_, delete, func, or_, select

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import MalformedRecord, RecordDamaged
from twinward.vault.interfaces import Span, StoredAt
from twinward.vault.models import MAX_MEMBERS, MEMBER_BYTES, Member, Moment, SealedSegment
from twinward.vault.storage.tables import AT_ONCE, RecordHead, SearchBlock, Segment, SegmentTag, in_order
from twinward_crypto.blind_index import TAG_BYTES
from twinward_crypto.name_tag import TAG_BYTES as TYPE_TAG_BYTES
from twinward_ledger.storage import table_of

head_table = table_of(RecordHead)
segment_table = table_of(Segment)
tag_table = table_of(SegmentTag)
block_table = table_of(SearchBlock)

SEGMENT_COLUMNS = tuple(column.name for column in segment_table.columns)
TAG_COLUMNS = ("tag", "segment", "position")


def newest_number(connection: Connection) -> int:
    """The highest number a segment has, 0 for none."""
    return int(connection.execute(select(func.coalesce(func.max(segment_table.c.number), 0))).scalar_one())


def segment_values(number: int, segment: SealedSegment) -> tuple[object, ...]:
    """A segment as a row of ``SEGMENT_COLUMNS``."""
    return (
        number,
        segment.segment_id,
        segment.twin,
        segment.category_tag,
        segment.generation,
        segment.size,
        segment.committed_at_ms,
        b"".join(segment.type_tags),
        segment.members,
        segment.fingerprints,
        segment.sealed,
    )


def tag_values(numbered: Iterable[tuple[int, SealedSegment]]) -> list[tuple[bytes, int, int]]:
    """The blind index of segments as rows of ``TAG_COLUMNS``, in the order of the index."""
    values: set[tuple[bytes, int, int]] = set()
    for number, segment in numbered:
        if any(len(tag) != TAG_BYTES for tag, _ in segment.tags):
            raise MalformedRecord(f"blind tags have {TAG_BYTES} bytes")
        values.update((tag, number, position) for tag, position in segment.tags)
        values.update(
            (segment.members[start : start + TAG_BYTES], number, start // MEMBER_BYTES)
            for start in range(0, len(segment.members), MEMBER_BYTES)
        )
    return sorted(values)


def of_twin(connection: Connection, twin: TwinId, category_tags: Sequence[bytes] = ()) -> list[SealedSegment]:
    """A twin's segments, without their tags."""
    statement = select(segment_table).where(segment_table.c.twin == twin).order_by(segment_table.c.number)
    if category_tags:
        statement = statement.where(segment_table.c.category_tag.in_(category_tags))
    return [segment_from(row) for row in connection.execute(statement)]


def current_members(connection: Connection, twin: TwinId, segments: Iterable[SealedSegment]) -> Iterator[Member]:
    """The members of a twin's segments that are their records' newest versions."""
    return current(heads_of_twin(connection, twin), segments)


def current(heads: Mapping[str, int], segments: Iterable[SealedSegment]) -> Iterator[Member]:
    """The members that ``heads``, all there are of their twin, say are the newest versions."""
    for segment in segments:
        for member in members_of(segment):
            if heads.get(member.record_id, member.version) == member.version:
                yield member


def members_of(segment: SealedSegment) -> Iterator[Member]:
    """Every member, in the order of positions."""
    for position in range(segment.size):
        yield Member(segment, position, *segment.place(position))


def versions_of(connection: Connection, record_id: RecordId) -> list[Member]:
    """The versions of one record that stand in segments, oldest first."""
    try:
        number = UUID(record_id).int
    except ValueError:
        return []
    if record_id != str(UUID(int=number)):
        return []  # a spelling that no record has
    home = str(UUID(int=number & ~(MAX_MEMBERS - 1)))
    position = number & (MAX_MEMBERS - 1)
    found: list[Member] = []
    for row in connection.execute(select(segment_table).where(segment_table.c.segment_id == home)):
        segment = segment_from(row)
        if not segment.members and position < segment.size:
            found.append(Member(segment, position, *segment.place(position)))
    statement = (
        select(segment_table, tag_table.c.position)
        .join(tag_table, tag_table.c.segment == segment_table.c.number)
        .where(tag_table.c.tag == number.to_bytes(16, "big"))
    )
    for row in connection.execute(statement):
        segment = segment_from(row)
        if row.position < segment.size and segment.place(row.position)[0] == record_id:
            found.append(Member(segment, row.position, *segment.place(row.position)))
    return sorted(found, key=lambda member: member.version)


def timeline(connection: Connection, span: Span, limit: int) -> list[Moment]:
    """The newest members of a stretch of time, of all twins, newest first."""
    at_ms, members = segment_table.c.committed_at_ms, segment_table.c.members
    columns = [column for column in segment_table.columns if column.name not in ("sealed", "marks")]
    # Members with a column of their own may be older than their segment.
    inside = or_(members != b"", and_(at_ms >= span.since_ms, at_ms < span.until_ms))
    found = (
        Moment(at, TwinId(row.twin), row.category_tag, segment.type_tags)
        for row in connection.execute(select(*columns).where(inside))
        for segment in [segment_from(row, sealed=b"", fingerprints=b"")]
        for at in _moments(segment, span)
    )
    return heapq.nlargest(limit, found, key=lambda moment: moment.at)


def _moments(segment: SealedSegment, span: Span) -> Iterator[StoredAt]:
    for position in range(segment.size):
        if segment.members:  # most are of another time: no need to spell their ids
            end = MEMBER_BYTES * (position + 1)
            at_ms = int.from_bytes(segment.members[end - 8 : end], "big")
            if not span.since_ms <= at_ms < span.until_ms:
                continue
        record_id, version, at_ms = segment.place(position)
        if span.covers((at_ms, record_id, version)):
            yield at_ms, record_id, version


def found_by(connection: Connection, tags: Sequence[bytes]) -> dict[bytes, list[Member]]:
    """The members whose blind tag is asked for and that are their records' newest versions. ``sealed`` is left out."""
    hits = [(_bytes(tag), number, place) for tag, number, place in look_up(connection, tag_table, TAG_COLUMNS, tags)]
    segments: dict[int, SealedSegment] = {}
    columns = [column for column in segment_table.columns if column.name != "sealed"]
    for numbers in in_order({number for _, number, _ in hits}):
        for row in connection.execute(select(*columns).where(segment_table.c.number.in_(numbers))):
            segments[row.number] = segment_from(row, sealed=b"")
    members: list[tuple[bytes, Member]] = []
    for tag, number, position in hits:
        segment = segments.get(number)
        if segment is not None and position < segment.size:
            members.append((tag, Member(segment, position, *segment.place(position))))
    heads = heads_of(connection, {member.record_id for _, member in members})
    found: dict[bytes, list[Member]] = {}
    for tag, member in members:
        if heads.get(member.record_id, member.version) == member.version:
            found.setdefault(tag, []).append(member)
    return found


def look_up(
    connection: Connection, table: Table, columns: Sequence[str], tags: Collection[bytes]
) -> Iterator[tuple[Any, ...]]:
    """The rows of a table with one of these tags, by the driver's own words: SQLAlchemy takes longer over each tag
    than the database does. ``tag`` is the first column. Values come as the driver gives them."""
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    for some in in_order(tags):
        marks = ", ".join([mark] * len(some))
        words = f"SELECT {', '.join(columns)} FROM {table.name} WHERE tag IN ({marks})"  # noqa: S608 - the models' names
        yield from (tuple(row) for row in connection.exec_driver_sql(words, tuple(some)))


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise RecordDamaged("a column of bytes holds something else: the database was altered")
    return value


def heads_of_twin(connection: Connection, twin: TwinId) -> dict[str, int]:
    """The newest versions of those of a twin's records that ``record_head`` has."""
    statement = select(head_table.c.record_id, head_table.c.version).where(head_table.c.twin == twin)
    return {row.record_id: row.version for row in connection.execute(statement)}


def heads_of(connection: Connection, record_ids: Collection[str], *, lock: bool = False) -> dict[str, int]:
    """The newest versions of those records that ``record_head`` has."""
    found: dict[str, int] = {}
    for some in in_order(record_ids):
        statement = select(head_table.c.record_id, head_table.c.version).where(head_table.c.record_id.in_(some))
        if lock:
            statement = statement.order_by(head_table.c.record_id).with_for_update()
        found.update({row.record_id: row.version for row in connection.execute(statement)})
    return found


def count_of(connection: Connection, segment_ids: Sequence[str]) -> int:
    """How many of these segments there are. They stay as they are until the transaction ends."""
    found = 0
    for start in range(0, len(segment_ids), AT_ONCE):
        chosen = segment_table.c.segment_id.in_(sorted(segment_ids)[start : start + AT_ONCE])
        statement = select(segment_table.c.number).where(chosen).order_by(segment_table.c.number).with_for_update()
        found += len(connection.execute(statement).all())
    return found


def delete_segments(connection: Connection, segment_ids: Sequence[str]) -> None:
    """Delete segments, their tags and what the search index has of them."""
    for start in range(0, len(segment_ids), AT_ONCE):
        chosen = segment_table.c.segment_id.in_(segment_ids[start : start + AT_ONCE])
        chosen_blocks = block_table.c.block_id.in_(segment_ids[start : start + AT_ONCE])
        numbers = list(connection.execute(select(segment_table.c.number).where(chosen)).scalars())
        # The index has no way in by segment (see the model): this reads all of it once, for many segments.
        connection.execute(delete(tag_table).where(tag_table.c.segment.in_(numbers)))
        connection.execute(delete(block_table).where(chosen_blocks))
        connection.execute(delete(segment_table).where(segment_table.c.number.in_(numbers)))


def segment_from(row: Row[Any], sealed: bytes | None = None, fingerprints: bytes | None = None) -> SealedSegment:
    """A segment out of its row; what is given was not read. Raises ``RecordDamaged`` for what is none."""
    sealed = row.sealed if sealed is None else sealed
    fingerprints = row.marks if fingerprints is None else fingerprints
    return segment_of(
        row.segment_id,
        row.twin,
        row.category_tag,
        row.generation,
        row.size,
        row.committed_at_ms,
        row.type_tags,
        row.members,
        fingerprints,
        sealed,
    )


def segment_of(
    segment_id: str,
    twin: str,
    category_tag: bytes,
    generation: int,
    size: int,
    committed_at_ms: int,
    types: bytes,
    members: bytes,
    fingerprints: bytes,
    sealed: bytes,
) -> SealedSegment:
    """A segment out of the values of its row, its number left out. Raises ``RecordDamaged`` for what is none."""
    if (
        not all(isinstance(number, int) for number in (size, generation, committed_at_ms))
        or not 1 <= size <= MAX_MEMBERS
    ):
        raise RecordDamaged("a segment's row holds what no segment has: the database was altered")
    for blob in (category_tag, types, members, fingerprints, sealed):
        _bytes(blob)
    if members and len(members) != MEMBER_BYTES * size:
        raise RecordDamaged("a segment's row names another number of members than it has: the database was altered")
    return SealedSegment(
        segment_id=segment_id,
        twin=TwinId(twin),
        category_tag=category_tag,
        generation=generation,
        size=size,
        committed_at_ms=committed_at_ms,
        type_tags=tuple(types[start : start + TYPE_TAG_BYTES] for start in range(0, len(types), TYPE_TAG_BYTES)),
        members=members,
        fingerprints=fingerprints,
        sealed=sealed,
    )
