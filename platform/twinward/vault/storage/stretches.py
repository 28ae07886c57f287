"""A stretch of a twin's records in the order of their ids: as many as a page wants, not all that the twin has."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice
from uuid import UUID

from sqlalchemy import Connection, select

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.models import MEMBER_BYTES, Member, SealedSegment, StoredVersion, Stretch
from twinward.vault.storage import segments as in_segments
from twinward.vault.storage import tables as in_rows
from twinward.vault.storage.segments import segment_table

_head, _sealed = in_rows.head_table, in_rows.sealed_table

_Spot = tuple[str, int, int, int]
"""Where a member stands: record id, its segment's number, position, version."""


def stretch_of_twin(
    connection: Connection, twin: TwinId, category_tags: Sequence[bytes], after: str, most: int
) -> Stretch:
    """As ``RecordStore.stretch``.

    What the index says in the clear is enough to choose: only the rows and segments that were chosen are read whole.
    """
    heads = _heads(connection, twin, category_tags, after, most)
    more = len(heads) == most
    until = heads[-1][0] if more else ""  # beyond it there may be rows that were not asked for
    spots = list(islice(_current_spots(connection, twin, category_tags, after, until), most))
    if len(spots) == most:
        more, until = True, spots[-1][0]
    places: list[StoredVersion] = [*_rows(connection, heads), *_members(connection, spots)]
    places.sort(key=lambda place: place.record_id)
    shown = [place for place in places if not until or place.record_id <= until][:most]
    if len(shown) == most:
        until = shown[-1].record_id
    return Stretch(shown, RecordId(until) if more else None)


def _heads(
    connection: Connection, twin: TwinId, category_tags: Sequence[bytes], after: str, most: int
) -> list[tuple[str, int]]:
    statement = (
        select(_head.c.record_id, _head.c.version)
        .where(_head.c.twin == twin, _head.c.category_tag.in_(category_tags), _head.c.record_id > after)
        .order_by(_head.c.record_id)
        .limit(most)
    )
    return [(row.record_id, row.version) for row in connection.execute(statement)]


def _rows(connection: Connection, heads: Sequence[tuple[str, int]]) -> Iterator[StoredVersion]:
    """Those of them whose newest version stands in a row."""
    newest = dict(heads)
    for some in in_rows.in_order(newest):
        for row in connection.execute(select(_sealed).where(_sealed.c.record_id.in_(some))):
            if row.version == newest[row.record_id]:
                yield in_rows.row_of(row)


def _current_spots(
    connection: Connection, twin: TwinId, category_tags: Sequence[bytes], after: str, until: str
) -> Iterator[_Spot]:
    """The members that are their records' newest versions, by record id, after one and up to another."""
    columns = [column for column in segment_table.columns if column.name not in ("sealed", "marks")]
    chosen = select(*columns).where(segment_table.c.twin == twin, segment_table.c.category_tag.in_(category_tags))
    walks = [
        _spots(row.number, in_segments.segment_from(row, sealed=b"", fingerprints=b""), after, until)
        for row in connection.execute(chosen)
    ]
    spots = heapq.merge(*walks)
    while some := list(islice(spots, in_rows.AT_ONCE)):
        heads = in_segments.heads_of(connection, {record_id for record_id, *_ in some})
        for spot in some:
            if heads.get(spot[0], spot[3]) == spot[3]:
                yield spot


def _spots(number: int, segment: SealedSegment, after: str, until: str) -> Iterator[_Spot]:
    if not segment.members:
        for position in range(segment.size):
            record_id = f"{segment.segment_id[:-2]}{position:02x}"
            if after < record_id and (not until or record_id <= until):
                yield record_id, number, position, 1
        return
    low = _raw(after, bytes(16))
    high = _raw(until, b"\xff" * 16)
    column = segment.members
    inside = sorted(
        (own, position)
        for position in range(segment.size)
        if low <= (own := column[MEMBER_BYTES * position : MEMBER_BYTES * position + 16]) <= high
    )
    for _, position in inside:
        record_id, version, _ = segment.place(position)
        if after < record_id and (not until or record_id <= until):
            yield record_id, number, position, version


def _raw(record_id: str, otherwise: bytes) -> bytes:
    """The 16 bytes of an id, which sort as it does; ``otherwise`` where it is none."""
    try:
        number = UUID(record_id)
    except ValueError:
        return otherwise
    return number.bytes if str(number) == record_id else otherwise


def _members(connection: Connection, spots: Sequence[_Spot]) -> Iterator[StoredVersion]:
    segments: dict[int, SealedSegment] = {}
    for some in in_rows.in_order({number for _, number, *_ in spots}):
        for row in connection.execute(select(segment_table).where(segment_table.c.number.in_(some))):
            segments[row.number] = in_segments.segment_from(row)
    for _, number, position, _ in spots:
        yield Member(segments[number], position, *segments[number].place(position))
