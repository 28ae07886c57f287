"""The search index in a relational database: its sealed blocks, and which heads and segments they are of.

A head's ``indexed`` is 1 where a block has its newest version; whatever moves the head sets it to 0 in the same
statement. A segment is covered where there is a block of its name. Nothing here is trusted: see ``vault.search.index``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, text

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import RecordDamaged
from twinward.vault.models import (
    MAX_MEMBERS,
    Covering,
    IndexState,
    Member,
    SealedBlock,
    SealedSegment,
    StoredVersion,
)
from twinward.vault.storage import segments as in_segments
from twinward.vault.storage import tables as in_rows
from twinward.vault.storage.segments import block_table, segment_table

_head, _sealed = in_rows.head_table, in_rows.sealed_table


class ChangedSince(Exception):
    """What a block is of is not as it was read."""


def state_of(connection: Connection, twin: TwinId, category_tags: Sequence[bytes]) -> IndexState:
    """As ``RecordStore.index_state``."""
    postgres = connection.dialect.name == "postgresql"
    # The driver's own words: SQLAlchemy takes longer over a statement than the database does.
    return state_asked(
        lambda words, given: connection.exec_driver_sql(words, given).all(), twin, category_tags, postgres=postgres
    )


def state_asked(
    ask: Callable[[str, tuple[Any, ...]], Sequence[Any]],
    twin: TwinId,
    category_tags: Sequence[bytes],
    *,
    postgres: bool = False,
) -> IndexState:
    """``state_of`` where ``ask`` asks the driver, in one snapshot."""
    mark = "%s" if postgres else "?"
    of_twin = f"WHERE twin = {mark} AND category_tag IN ({', '.join([mark] * len(category_tags))})"

    def rows(words: str, rest: str = "") -> Sequence[Any]:
        return ask(f"SELECT {words} {of_twin} {rest}", (twin, *category_tags))

    # Both walk through the index of heads alone, which has all of this.
    joined = "string_agg({}, '' ORDER BY record_id)" if postgres else "group_concat({}, '')"
    said = joined.format("record_id || CASE version WHEN 1 THEN ' 1 ' ELSE ' ' || version || ' ' END")
    covered = rows(f"category_tag, {said} FROM record_head", "AND indexed = 1 GROUP BY category_tag")
    others = "AND COALESCE(indexed, 0) <> 1 ORDER BY record_id"  # in neither list a head would be found by nobody
    uncovered = rows("record_id, version, category_tag FROM record_head", others)
    segments = rows("segment_id, category_tag FROM segment")
    blocks = rows("block_id, twin, category_tag, generation, sealed FROM search_block")
    return IndexState(
        {_bytes(tag): str(heads) for tag, heads in covered},
        [(RecordId(record_id), _number(version), _bytes(tag)) for record_id, version, tag in uncovered],
        [(str(segment_id), _bytes(tag)) for segment_id, tag in segments],
        [
            SealedBlock(str(block_id), TwinId(twin), _bytes(tag), _number(generation), _bytes(sealed))
            for block_id, twin, tag, generation, sealed in blocks
        ],
    )


def heads_of(connection: Connection, twin: TwinId, category_tag: bytes) -> list[tuple[RecordId, int]]:
    """As ``RecordStore.heads_of``."""
    chosen = select(_head.c.record_id, _head.c.version).where(
        _head.c.twin == twin, _head.c.category_tag == category_tag
    )
    return [(RecordId(row.record_id), row.version) for row in connection.execute(chosen.order_by(_head.c.record_id))]


def segments(connection: Connection, segment_ids: Collection[str]) -> list[SealedSegment]:
    """As ``RecordStore.segments``."""
    return [
        in_segments.segment_from(row)
        for some in in_rows.in_order(segment_ids)
        for row in connection.execute(select(segment_table).where(segment_table.c.segment_id.in_(some)))
    ]


def newest(connection: Connection, record_ids: Collection[RecordId]) -> list[StoredVersion]:
    """As ``RecordStore.newest``."""
    heads = in_segments.heads_of(connection, record_ids)
    places: dict[str, StoredVersion] = {}
    for some in in_rows.in_order(heads):
        for row in connection.execute(select(_sealed).where(_sealed.c.record_id.in_(some))):
            if row.version == heads[row.record_id]:
                places[row.record_id] = in_rows.row_of(row)
    elsewhere = [record_id for record_id in record_ids if record_id not in places]
    for member in _members_of(connection, elsewhere):
        if heads.get(member.record_id, member.version) == member.version:
            places[member.record_id] = member
    return [places[record_id] for record_id in sorted(places)]


def cover(connection: Connection, step: Covering) -> None:
    """As ``RecordStore.cover``, in the caller's transaction. Raises ``ChangedSince``."""
    of_category = {"twin": step.twin, "tag": step.category_tag}
    if step.anew:
        found = connection.execute(select(segment_table.c.segment_id).where(segment_table.c.twin == step.twin))
        others = block_table.c.block_id.not_in(list(found.scalars()))
        connection.execute(_blocks_of(step.twin, step.category_tag).where(others))
        words = "UPDATE record_head SET indexed = 0 WHERE twin = :twin AND category_tag = :tag AND indexed = 1"
        connection.execute(text(words), of_category)
    elif step.replaced:
        gone = _blocks_of(step.twin, step.category_tag).where(block_table.c.block_id.in_(step.replaced))
        if connection.execute(gone).rowcount != len(step.replaced):
            raise ChangedSince
    if in_segments.count_of(connection, step.segments) != len(step.segments):
        raise ChangedSince
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    words = (
        f"UPDATE record_head SET indexed = 1 WHERE record_id = {mark} AND version = {mark} AND twin = {mark}"  # noqa: S608
        f" AND category_tag = {mark} AND indexed <> 1"
    )
    for record_id, version in sorted(step.heads):
        if connection.exec_driver_sql(words, (record_id, version, step.twin, step.category_tag)).rowcount != 1:
            raise ChangedSince
    columns = ("block_id", "twin", "category_tag", "generation", "sealed")
    made = [{name: getattr(block, name) for name in columns} for block in step.made]
    if made:
        connection.execute(insert(block_table), made)


def purge(connection: Connection, twin: TwinId) -> None:
    """Delete a twin's blocks."""
    connection.execute(delete(block_table).where(block_table.c.twin == twin))


def _blocks_of(twin: TwinId, category_tag: bytes) -> Any:
    return delete(block_table).where(block_table.c.twin == twin, block_table.c.category_tag == category_tag)


def _members_of(connection: Connection, record_ids: Collection[str]) -> list[Member]:
    """Every version of these records that stands in a segment."""
    homes: dict[str, list[int]] = {}
    tags: set[bytes] = set()
    for record_id in record_ids:
        try:
            number = UUID(record_id).int
        except ValueError:
            continue  # a name that no member has
        homes.setdefault(str(UUID(int=number & ~(MAX_MEMBERS - 1))), []).append(number & (MAX_MEMBERS - 1))
        tags.add(number.to_bytes(16, "big"))
    wanted = set(record_ids)
    found = [
        Member(segment, position, *segment.place(position))
        for segment in (segments(connection, homes) if homes else ())
        if not segment.members
        for position in homes[segment.segment_id]
        if position < segment.size
    ]
    hits: dict[int, list[int]] = {}
    for _, number, position in in_segments.look_up(connection, in_segments.tag_table, in_segments.TAG_COLUMNS, tags):
        hits.setdefault(number, []).append(position)
    for some in in_rows.in_order(hits):
        for row in connection.execute(select(segment_table).where(segment_table.c.number.in_(some))):
            segment = in_segments.segment_from(row)
            places = [position for position in hits[row.number] if position < segment.size]
            found += [Member(segment, position, *segment.place(position)) for position in places]
    return [member for member in found if member.record_id in wanted]


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise RecordDamaged("a column of bytes holds something else: the database was altered")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise RecordDamaged("a column of numbers holds something else: the database was altered")
    return value
