"""The tables of the ledger's stores, and which revision of them this version works with. One database a store."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy import CheckConstraint, MetaData
from sqlmodel import Field, SQLModel

from twinward_ledger.storage import COUNTED, WITHOUT_ROWID, AsStored, Long, Name, Schema

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class AnchorsBase(SQLModel):
    """Tables of the anchor journal."""

    metadata: ClassVar[MetaData] = MetaData()


class AnchorRow(AnchorsBase, table=True):
    """An anchor that was sent or is about to be: the signed checkpoint, and the record in canonical JSON."""

    __tablename__ = "anchors"

    size: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    note: bytes = Field(sa_type=AsStored)
    record: bytes = Field(sa_type=AsStored)
    confirmed: int


class TroubleRow(AnchorsBase, table=True):
    """What went wrong with the chain, and what the operator said to it."""

    __tablename__ = "trouble"

    kind: str = Field(sa_type=Name, primary_key=True)
    since_ms: int = Field(sa_type=Long)
    text: str


class WitnessMemoryBase(SQLModel):
    """Tables of what a log remembers of its witnesses."""

    metadata: ClassVar[MetaData] = MetaData()


class WitnessRow(WitnessMemoryBase, table=True):
    """A witness, by its verifier key."""

    __tablename__ = "witnesses"
    __table_args__ = WITHOUT_ROWID

    key: str = Field(sa_type=Name, primary_key=True)
    size: int = Field(sa_type=Long)
    standing: str
    reason: str
    since_ms: int = Field(sa_type=Long)
    at_ms: int = Field(sa_type=Long)


class VouchedRow(WitnessMemoryBase, table=True):
    """One row: the MAC over all others, and the number of their changes."""

    __tablename__ = "vouched"
    __table_args__ = (CheckConstraint("one = 1"),)

    one: int = Field(primary_key=True, sa_column_kwargs=COUNTED)
    changes: int = Field(sa_type=Long)
    since_ms: int = Field(sa_type=Long)
    mac: bytes = Field(sa_type=AsStored)


class WitnessStateBase(SQLModel):
    """Tables of what a witness has cosigned."""

    metadata: ClassVar[MetaData] = MetaData()


class SeenRow(WitnessStateBase, table=True):
    """A signed checkpoint, whole."""

    __tablename__ = "seen"
    __table_args__ = WITHOUT_ROWID

    origin: str = Field(sa_type=Name, primary_key=True)
    size: int = Field(sa_type=Long, primary_key=True)
    note: bytes = Field(sa_type=AsStored)


class AcceptedTimeRow(WitnessStateBase, table=True):
    """A time ahead of the clock that the operator had a contract's anchors bear."""

    __tablename__ = "accepted_times"
    __table_args__ = WITHOUT_ROWID

    chain_id: str = Field(sa_type=Name, primary_key=True)
    contract: bytes = Field(sa_type=AsStored, primary_key=True)
    time_s: int = Field(sa_type=Long)
    at_ms: int = Field(sa_type=Long)


def _log_tables() -> MetaData:
    from twinward_ledger.stores.log_tables import LogFileBase

    return LogFileBase.metadata


def _map_tables() -> MetaData:
    from twinward_ledger.stores.log_tables import MapFileBase

    return MapFileBase.metadata


LOG_FILE: Final = Schema(
    name="log",
    application_id=0x54574C47,  # "TWLG"
    version=3,
    revisions=_MIGRATIONS / "log",
    models=_log_tables,
)
MAP_FILE: Final = Schema(
    name="completeness",
    application_id=0x54574D50,  # "TWMP"
    version=1,
    revisions=_MIGRATIONS / "completeness",
    models=_map_tables,
)
ANCHORS: Final = Schema(
    name="anchors",
    application_id=0x5457414A,  # "TWAJ"
    version=1,
    revisions=_MIGRATIONS / "anchors",
    models=lambda: AnchorsBase.metadata,
    unnumbered=1,
)
WITNESS_MEMORY: Final = Schema(
    name="witness_memory",
    application_id=0x5457574D,  # "TWWM"
    version=1,
    revisions=_MIGRATIONS / "witness_memory",
    models=lambda: WitnessMemoryBase.metadata,
    unnumbered=1,
)
WITNESS_STATE: Final = Schema(
    name="witness_state",
    application_id=0x54575753,  # "TWWS"
    version=1,
    revisions=_MIGRATIONS / "witness_state",
    models=lambda: WitnessStateBase.metadata,
    unnumbered=1,
)
