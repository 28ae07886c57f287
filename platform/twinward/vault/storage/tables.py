"""The vault's two databases as tables. They share nothing, so that one can be lost or stolen without the other.

Below them, how many keys one statement asks for; and a sealed row as its tables hold it: the order of columns, and
what is checked on the way in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

from sqlalchemy import Index, LargeBinary, MetaData, Row
from sqlmodel import Field, SQLModel

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import MalformedRecord, RecordDamaged, VersionConflict
from twinward.vault.models import SealedRow
from twinward_crypto.blind_index import TAG_BYTES
from twinward_ledger.storage import COUNTED, WITHOUT_ROWID, Long, Name, table_of

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


class RecordsBase(SQLModel):
    """Tables of the record store."""

    metadata: ClassVar[MetaData] = MetaData()


class RecordHead(RecordsBase, table=True):
    """One row per record: which version is the newest, and whether a search block has that (``indexed``, 1 or 0)."""

    __tablename__ = "record_head"
    __table_args__ = (
        Index("record_head_of_twin", "twin", "category_tag", "record_id", "indexed", "version"),
        WITHOUT_ROWID,
    )

    record_id: str = Field(sa_type=Name, primary_key=True)
    version: int
    twin: str = Field(sa_type=Name)
    category_tag: bytes = Field(sa_type=Blob)
    indexed: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class SealedRecord(RecordsBase, table=True):
    """One row per version. ``tags`` are 16 bytes each, joined."""

    __tablename__ = "sealed_record"

    record_id: str = Field(sa_type=Name, primary_key=True, foreign_key="record_head.record_id")
    version: int = Field(primary_key=True)
    twin: str = Field(sa_type=Name)
    category_tag: bytes = Field(sa_type=Blob)
    type_tag: bytes = Field(sa_type=Blob)
    generation: int
    previous_hash: bytes = Field(sa_type=Blob)
    committed_at_ms: int = Field(sa_type=Long)
    tags: bytes = Field(sa_type=Blob)
    sealed: bytes = Field(sa_type=Blob)
    mark: bytes | None = Field(default=None, sa_type=Blob)
    """The fingerprint, 8 bytes; NULL in rows from before there were any, whose ``tags`` say the same."""


class RecordTag(RecordsBase, table=True):
    """The blind index: tags of the newest version of each record."""

    __tablename__ = "record_tag"
    __table_args__ = (
        Index("record_tag_of_record", "record_id"),
        WITHOUT_ROWID,
    )

    tag: bytes = Field(sa_type=Blob, primary_key=True)
    record_id: str = Field(sa_type=Name, primary_key=True, foreign_key="record_head.record_id")


class Segment(RecordsBase, table=True):
    """One row per segment: many versions of one twin and category, sealed together (``segment_payload``).

    ``members`` is empty for a segment whose records are all new and are numbered on from ``segment_id``; otherwise
    28 bytes each: record id 16, version 4, committed_at_ms 8. ``marks`` are 8 bytes each, ``type_tags`` 64.
    """

    __tablename__ = "segment"
    __table_args__ = (Index("segment_of_twin", "twin", "category_tag"),)

    number: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    segment_id: str = Field(sa_type=Name, unique=True)
    twin: str = Field(sa_type=Name)
    category_tag: bytes = Field(sa_type=Blob)
    generation: int
    size: int
    committed_at_ms: int = Field(sa_type=Long)
    type_tags: bytes = Field(sa_type=Blob)
    members: bytes = Field(sa_type=Blob)
    marks: bytes = Field(sa_type=Blob)
    sealed: bytes = Field(sa_type=Blob)


class SegmentTag(RecordsBase, table=True):
    """The blind index into segments, and (for ids that do not follow from their segment's) ids of records as well.

    It has no foreign key and no second index: both would cost more than the tag. Whoever deletes segments deletes
    their tags in the same transaction.
    """

    __tablename__ = "segment_tag"
    __table_args__ = WITHOUT_ROWID

    tag: bytes = Field(sa_type=Blob, primary_key=True)
    segment: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    position: int = Field(primary_key=True, sa_column_kwargs=COUNTED)


class SearchBlock(RecordsBase, table=True):
    """One row per block of the search index (``vault.search.block``), named as the segment whose members it has, or by
    an id of its own. Blocks are made and deleted, never changed."""

    __tablename__ = "search_block"
    __table_args__ = (Index("search_block_of_twin", "twin", "category_tag"),)

    block_id: str = Field(sa_type=Name, primary_key=True)
    twin: str = Field(sa_type=Name)
    category_tag: bytes = Field(sa_type=Blob)
    generation: int
    sealed: bytes = Field(sa_type=Blob)


class KeyringBase(SQLModel):
    """Tables of the keyring."""

    metadata: ClassVar[MetaData] = MetaData()


class WrappedTwinKey(KeyringBase, table=True):
    """A twin's key under a wrapping key. ``created`` is 0 while only events about the twin have needed a key.

    ``kept`` is NULL until a category of the twin is shredded: see ``RetainedKeys``. ``kek_version`` is 0, save where
    ``wrapping_key`` is: that row is of before there were wrapping keys, and the KEK wraps it until the next rotation.
    """

    __tablename__ = "wrapped_twin_key"
    __table_args__ = (Index("wrapped_twin_key_by_wrapping_key", "wrapping_key"), WITHOUT_ROWID)

    twin: str = Field(sa_type=Name, primary_key=True)
    generation: int = Field(primary_key=True)
    kek_version: int
    created: bool
    wrapped: bytes = Field(sa_type=Blob)
    kept: bytes | None = Field(default=None, sa_type=Blob)
    wrapping_key: int = Field(default=0, sa_type=Long, sa_column_kwargs={"server_default": "0"})


class WrappingKeyRow(KeyringBase, table=True):
    """A wrapping key (``vault.keys.wrapping_keys``) under a KEK; ``closed``: it wraps no further twin's key."""

    __tablename__ = "wrapping_key"

    number: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    kek_version: int
    closed: bool
    wrapped: bytes = Field(sa_type=Blob)


class ShreddedTwin(KeyringBase, table=True):
    """A twin whose key was destroyed on purpose: its name is not used again."""

    __tablename__ = "shredded_twin"
    __table_args__ = WITHOUT_ROWID

    twin: str = Field(sa_type=Name, primary_key=True)
    shredded_at_ms: int = Field(sa_type=Long)


class Erasure(KeyringBase, table=True):
    """A twin, or categories of it, whose keys were destroyed here; unfinished while ``done_at_index`` is NULL.

    Attributes:
        number: counts up.
        category_tags: 16 bytes each, joined; empty for the whole twin.
        kek_version: the newest KEK at that time; backups may hold the keys under it and under older ones.
        sealed: who asked and why, under the hospital's own audit key.
        done_at_index: the event that says it is done.
    """

    __tablename__ = "erasure"

    number: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    twin: str = Field(sa_type=Name)
    category_tags: bytes = Field(sa_type=Blob)
    kek_version: int
    sealed: bytes = Field(sa_type=Blob)
    done_at_index: int | None = Field(default=None, sa_type=Long)


class RetiringKek(KeyringBase, table=True):
    """A KEK version that is about to be destroyed: were its destruction interrupted, it is finished the next time."""

    __tablename__ = "retiring_kek"

    kek_version: int = Field(primary_key=True, sa_column_kwargs=COUNTED)


head_table = table_of(RecordHead)
sealed_table = table_of(SealedRecord)
tag_table = table_of(RecordTag)

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
