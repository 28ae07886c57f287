"""The tables of an embedded chain's file."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import Index, MetaData
from sqlmodel import Field, SQLModel

from twinward_ledger.storage import WITHOUT_ROWID, AsStored


class ChainBase(SQLModel):
    """Tables of an embedded chain."""

    metadata: ClassVar[MetaData] = MetaData()


class KeyValue(ChainBase, table=True):
    """What py-evm keeps: blocks, state, receipts."""

    __tablename__ = "kv"
    __table_args__ = WITHOUT_ROWID

    key: bytes = Field(sa_type=AsStored, primary_key=True)
    value: bytes = Field(sa_type=AsStored)


class EventRow(ChainBase, table=True):
    """A block's log (an event of a contract), to be found by its first topic."""

    __tablename__ = "logs"
    __table_args__ = (Index("logs_by_event", "address", "topic", "block", "position"), WITHOUT_ROWID)

    block: int = Field(primary_key=True)
    position: int = Field(primary_key=True)
    address: bytes = Field(sa_type=AsStored)
    topics: bytes = Field(sa_type=AsStored)
    topic: bytes = Field(sa_type=AsStored)
    data: bytes = Field(sa_type=AsStored)


class Fact(ChainBase, table=True):
    """A fact about the whole chain."""

    __tablename__ = "meta"
    __table_args__ = WITHOUT_ROWID

    name: str = Field(primary_key=True)
    value: bytes = Field(sa_type=AsStored)
