"""Records of a bulk source, and what they are packed into: segments for the many, rows for the few."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from twinward.core.vocabulary import Category, TwinId
from twinward.features.derivation import Measurement, Person
from twinward.twins import references as names
from twinward.twins.models import IfKept
from twinward.vault.interfaces import Draft, Record

LEAST = 16
"""New records of one patient and category that make a segment; fewer become rows, and are compacted later."""

MOST = 256
_SEGMENT_BYTES = 4 * 1024 * 1024


class BulkRecord(NamedTuple):
    """One record of a bulk source: whose it is, and what a twin needs to know of it.

    Attributes:
        owner: the patient's reference, or ``DIRECTORY``.
        person: what features need to know of a person, where this is the patient's own record.
        readings: numbers in it that a feature may be made of.
        if_kept: what becomes of it if its name is kept already.
    """

    owner: str
    record_type: str
    reference: str
    category: Category
    content: bytes
    found_by: tuple[str, ...]
    person: Person | None
    readings: tuple[Measurement, ...]
    if_kept: IfKept = IfKept.UPDATE


def pack(twin: TwinId, records: Iterable[BulkRecord], least: int) -> tuple[list[Record], list[Draft]]:
    """Rows for the few, drafts for the many of a category."""
    by_category: dict[Category, list[BulkRecord]] = defaultdict(list)
    for record in records:
        by_category[record.category].append(record)
    rows: list[Record] = []
    drafts: list[Draft] = []
    for category, some in by_category.items():
        if len(some) < least:
            rows += [_record(twin, one) for one in some]
        else:
            drafts += [_draft(category, chunk) for chunk in _chunks(some)]
    return rows, drafts


def _chunks(records: Sequence[BulkRecord]) -> Iterable[Sequence[BulkRecord]]:
    start, size = 0, 0
    for index, record in enumerate(records):
        if index > start and (index - start == MOST or size + len(record.content) > _SEGMENT_BYTES):
            yield records[start:index]
            start, size = index, 0
        size += len(record.content)
    yield records[start:]


def _draft(category: Category, records: Sequence[BulkRecord]) -> Draft:
    return Draft(
        category,
        [one.record_type for one in records],
        [(one.reference, *one.found_by) for one in records],
        [one.content for one in records],
        [mark_of(one) for one in records],
    )


def mark_of(one: BulkRecord) -> str:
    """What the vault knows the record's content by; a hash of it all."""
    return names.as_content(one.reference, one.category, one.content)


def _record(twin: TwinId, one: BulkRecord) -> Record:
    mark = mark_of(one)
    return Record(twin, one.record_type, one.category, one.content, (one.reference, *one.found_by), mark=mark)
