"""The vault's two databases as tables. They share nothing, so that one can be lost or stolen without the other."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import Index, MetaData
from sqlmodel import Field, SQLModel


class RecordsBase(SQLModel):
    """Tables of the record store."""

    metadata: ClassVar[MetaData] = MetaData()


class RecordHead(RecordsBase, table=True):
    """One row per record: which version is the newest."""

    __tablename__ = "record_head"
    __table_args__ = (
        Index("record_head_of_twin", "twin", "category_tag"),
        {"sqlite_with_rowid": False},
    )

    record_id: str = Field(primary_key=True)
    version: int
    twin: str
    category_tag: bytes


class SealedRecord(RecordsBase, table=True):
    """One row per version. ``tags`` are 16 bytes each, joined."""

    __tablename__ = "sealed_record"

    record_id: str = Field(primary_key=True, foreign_key="record_head.record_id")
    version: int = Field(primary_key=True)
    twin: str
    category_tag: bytes
    type_tag: bytes
    generation: int
    previous_hash: bytes
    committed_at_ms: int
    tags: bytes
    sealed: bytes


class RecordTag(RecordsBase, table=True):
    """The blind index: tags of the newest version of each record."""

    __tablename__ = "record_tag"
    __table_args__ = (
        Index("record_tag_of_record", "record_id"),
        {"sqlite_with_rowid": False},
    )

    tag: bytes = Field(primary_key=True)
    record_id: str = Field(primary_key=True, foreign_key="record_head.record_id")


class KeyringBase(SQLModel):
    """Tables of the keyring."""

    metadata: ClassVar[MetaData] = MetaData()


class WrappedTwinKey(KeyringBase, table=True):
    """A twin's key under a KEK. ``created`` is 0 while only events about the twin have needed a key."""

    __tablename__ = "wrapped_twin_key"
    __table_args__ = (
        Index("wrapped_twin_key_by_kek", "kek_version"),
        {"sqlite_with_rowid": False},
    )

    twin: str = Field(primary_key=True)
    generation: int = Field(primary_key=True)
    kek_version: int
    created: bool
    wrapped: bytes


class ShreddedTwin(KeyringBase, table=True):
    """A twin whose key was destroyed on purpose: its name is not used again."""

    __tablename__ = "shredded_twin"
    __table_args__: ClassVar[dict[str, bool]] = {"sqlite_with_rowid": False}

    twin: str = Field(primary_key=True)
    shredded_at_ms: int
