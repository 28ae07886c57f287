"""The vault's two databases as tables. They share nothing, so that one can be lost or stolen without the other.

Below them, how many keys one statement asks for; and a sealed row as its tables hold it: the order of columns, and
what is checked on the way in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Boolean, ForeignKey, Index, Integer, LargeBinary, MetaData, Row, Table

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import MalformedRecord, RecordDamaged, VersionConflict
from twinward.vault.models import SealedRow
from twinward_crypto.blind_index import TAG_BYTES
from twinward_ledger.storage import COUNTED, WITHOUT_ROWID, Long, Name, column

_Key = TypeVar("_Key", bytes, int, str)

AT_ONCE = 500
"""Well below the parameters one statement may have."""


class Blob(LargeBinary):
    """Bytes in, bytes out. SQLite lets an intruder store text in any column: that is damage, not a crash."""

    def bind_processor(self, dialect: Any) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        """Drivers take bytes as they are."""
        return

    def result_processor(self, dialect: Any, coltype: Any) -> Callable[[object], bytes | None]:  # noqa: ARG002
        """Refuse what is neither bytes nor NULL."""
        return _require_bytes


def _require_bytes(value: object) -> bytes | None:
    if not isinstance(value, bytes | None):
        raise RecordDamaged("a column of bytes holds something else: the database was altered")
    return value


RECORDS_TABLES: Final = MetaData()
"""Tables of the record store."""

head_table: Final = Table(
    "record_head",
    RECORDS_TABLES,
    column("record_id", Name, primary_key=True),
    column("version", Integer),
    column("twin", Name),
    column("category_tag", Blob),
    column("indexed", Integer, default=0, server_default="0"),
    Index("record_head_of_twin", "twin", "category_tag", "record_id", "indexed", "version"),
    **WITHOUT_ROWID,
)
"""One row per record: which version is the newest, and whether a search block has that (``indexed``, 1 or 0)."""

sealed_table: Final = Table(
    "sealed_record",
    RECORDS_TABLES,
    column("record_id", Name, ForeignKey("record_head.record_id"), primary_key=True),
    column("version", Integer, primary_key=True),
    column("twin", Name),
    column("category_tag", Blob),
    column("type_tag", Blob),
    column("generation", Integer),
    column("previous_hash", Blob),
    column("committed_at_ms", Long),
    column("tags", Blob),
    column("sealed", Blob),
    # The fingerprint, 8 bytes; NULL in rows from before there were any, whose ``tags`` say the same.
    column("mark", Blob, nullable=True),
)
"""One row per version. ``tags`` are 16 bytes each, joined."""

tag_table: Final = Table(
    "record_tag",
    RECORDS_TABLES,
    column("tag", Blob, primary_key=True),
    column("record_id", Name, ForeignKey("record_head.record_id"), primary_key=True),
    Index("record_tag_of_record", "record_id"),
    **WITHOUT_ROWID,
)
"""The blind index: tags of the newest version of each record."""

segment_table: Final = Table(
    "segment",
    RECORDS_TABLES,
    column("number", Long, primary_key=True, **COUNTED),
    column("segment_id", Name, unique=True),
    column("twin", Name),
    column("category_tag", Blob),
    column("generation", Integer),
    column("size", Integer),
    column("committed_at_ms", Long),
    column("type_tags", Blob),
    column("members", Blob),
    column("marks", Blob),
    column("sealed", Blob),
    Index("segment_of_twin", "twin", "category_tag"),
)
"""One row per segment: many versions of one twin and category, sealed together (``segment_payload``).

    ``members`` is empty for a segment whose records are all new and are numbered on from ``segment_id``; otherwise
    28 bytes each: record id 16, version 4, committed_at_ms 8. ``marks`` are 8 bytes each, ``type_tags`` 64.
    """

segment_tag_table: Final = Table(
    "segment_tag",
    RECORDS_TABLES,
    column("tag", Blob, primary_key=True),
    column("segment", Long, primary_key=True, **COUNTED),
    column("position", Integer, primary_key=True, **COUNTED),
    **WITHOUT_ROWID,
)
"""The blind index into segments, and (for ids that do not follow from their segment's) ids of records as well.

    It has no foreign key and no second index: both would cost more than the tag. Whoever deletes segments deletes
    their tags in the same transaction.
    """

block_table: Final = Table(
    "search_block",
    RECORDS_TABLES,
    column("block_id", Name, primary_key=True),
    column("twin", Name),
    column("category_tag", Blob),
    column("generation", Integer),
    column("sealed", Blob),
    Index("search_block_of_twin", "twin", "category_tag"),
)
"""One row per block of the search index (``vault.search.block``), named as the segment whose members it has, or by
    an id of its own. Blocks are made and deleted, never changed."""

KEYRING_TABLES: Final = MetaData()
"""Tables of the keyring."""

wrapped_twin_key_table: Final = Table(
    "wrapped_twin_key",
    KEYRING_TABLES,
    column("twin", Name, primary_key=True),
    column("generation", Integer, primary_key=True),
    column("kek_version", Integer),
    column("created", Boolean),
    column("wrapped", Blob),
    column("kept", Blob, nullable=True),
    column("wrapping_key", Long, default=0, server_default="0"),
    Index("wrapped_twin_key_by_wrapping_key", "wrapping_key"),
    **WITHOUT_ROWID,
)
"""A twin's key under a wrapping key. ``created`` is 0 while only events about the twin have needed a key.

    ``kept`` is NULL until a category of the twin is shredded: see ``RetainedKeys``. ``kek_version`` is 0, save where
    ``wrapping_key`` is: that row is of before there were wrapping keys, and the KEK wraps it until the next rotation.
    """

wrapping_key_table: Final = Table(
    "wrapping_key",
    KEYRING_TABLES,
    column("number", Long, primary_key=True, **COUNTED),
    column("kek_version", Integer),
    column("closed", Boolean),
    column("wrapped", Blob),
)
"""A wrapping key (``vault.keys.wrapping_keys``) under a KEK; ``closed``: it wraps no further twin's key."""

shredded_twin_table: Final = Table(
    "shredded_twin",
    KEYRING_TABLES,
    column("twin", Name, primary_key=True),
    column("shredded_at_ms", Long),
    **WITHOUT_ROWID,
)
"""A twin whose key was destroyed on purpose: its name is not used again."""

erasure_table: Final = Table(
    "erasure",
    KEYRING_TABLES,
    column("number", Long, primary_key=True, **COUNTED),
    column("twin", Name),
    column("category_tags", Blob),
    column("kek_version", Integer),
    column("sealed", Blob),
    column("done_at_index", Long, nullable=True),
)
"""A twin, or categories of it, whose keys were destroyed here; unfinished while ``done_at_index`` is NULL.

    Attributes:
        number: counts up.
        category_tags: 16 bytes each, joined; empty for the whole twin.
        kek_version: the newest KEK at that time; backups may hold the keys under it and under older ones.
        sealed: who asked and why, under the hospital's own audit key.
        done_at_index: the event that says it is done.
    """

retiring_kek_table: Final = Table(
    "retiring_kek",
    KEYRING_TABLES,
    column("kek_version", Integer, primary_key=True, **COUNTED),
)
"""A KEK version that is about to be destroyed: were its destruction interrupted, it is finished the next time."""


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


def in_order(keys: Collection[_Key]) -> Iterator[Sequence[_Key]]:
    """Keys in the order of an index, so that it is walked rather than jumped about in; as many as a statement takes."""
    ordered = sorted(keys)
    return (ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE))


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
        row.fingerprint,
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
        fingerprint=row.mark,
    )
