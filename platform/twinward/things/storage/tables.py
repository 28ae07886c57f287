"""The tables of ``things.db``: blind tags, whether a relation is over, and sealed bytes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy import MetaData
from sqlmodel import Field, SQLModel

from twinward.core.errors import BadInput, store_unavailable
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Long, Name, Schema


class _Base(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


class ThingRow(_Base, table=True):
    """A thing, found by a tag of its name."""

    __tablename__ = "thing"
    __table_args__ = WITHOUT_ROWID

    tag: bytes = Field(sa_type=AsStored, primary_key=True)
    revision: int = Field(sa_type=Long)
    sealed: bytes = Field(sa_type=AsStored)


class RelationRow(_Base, table=True):
    """A relation for a time. ``is_open`` is 1 while it has no end."""

    __tablename__ = "thing_relation"
    __table_args__ = WITHOUT_ROWID

    id: str = Field(sa_type=Name, primary_key=True)
    thing: bytes = Field(sa_type=AsStored, index=True)
    target: bytes = Field(sa_type=AsStored, index=True)
    is_open: int = Field(sa_type=Long)
    sealed: bytes = Field(sa_type=AsStored)


class HappeningRow(_Base, table=True):
    """Something that happened to a thing; ``target`` is the tag of a patient's twin, or empty."""

    __tablename__ = "thing_happening"
    __table_args__ = WITHOUT_ROWID

    id: str = Field(sa_type=Name, primary_key=True)
    thing: bytes = Field(sa_type=AsStored, index=True)
    target: bytes = Field(sa_type=AsStored, index=True)
    sealed: bytes = Field(sa_type=AsStored)


THINGS: Final = Schema(
    name="things",
    application_id=0x54575447,  # "TWTG"
    version=1,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: _Base.metadata,
    unavailable=store_unavailable,
    malformed=BadInput,
)
