"""A sealed row as the tables hold it: the order of columns, and what is checked on the way in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import MalformedRecord, RecordDamaged, VersionConflict
from twinward.vault.interfaces import SealedRow
from twinward.vault.storage.tables import RecordHead, RecordTag, SealedRecord
from twinward_crypto.blind_index import TAG_BYTES

head_table = RecordHead.__table__  # type: ignore[attr-defined]
sealed_table = SealedRecord.__table__  # type: ignore[attr-defined]
tag_table = RecordTag.__table__  # type: ignore[attr-defined]

HEAD_COLUMNS = ("record_id", "version", "twin", "category_tag")
SEALED_COLUMNS = tuple(column.name for column in sealed_table.columns)
TAG_COLUMNS = ("tag", "record_id")


def runs_of(rows: Sequence[SealedRow]) -> list[list[SealedRow]]:
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


def head_values(row: SealedRow) -> tuple[object, ...]:
    """A row's head, in the order of ``HEAD_COLUMNS``."""
    return row.record_id, row.version, row.twin, row.category_tag


def sealed_values(row: SealedRow) -> tuple[object, ...]:
    """A row, in the order of ``SEALED_COLUMNS``."""
    return (
        row.record_id,
        row.version,
        row.twin,
        row.category_tag,
        row.type_tag,
        row.generation,
        row.previous_hash,
        row.committed_at_ms,
        b"".join(row.tags),
        row.sealed,
        row.mark,
    )


def row_of(row: Row[Any]) -> SealedRow:
    """The row a query found. Raises ``RecordDamaged``."""
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
        mark=row.mark,
    )
