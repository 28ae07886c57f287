"""The tables of ``live.db``: opaque ids, blind tags, hours, and sealed bytes."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy import Index, MetaData
from sqlmodel import Field, SQLModel

from twinward.core.errors import BadInput, store_unavailable
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Long, Name, Schema


class _Base(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


class _Revised(SQLModel):
    """What changes as a whole: found by a blind tag, sealed to it and to its revision."""

    tag: bytes = Field(sa_type=AsStored, primary_key=True)
    revision: int = Field(sa_type=Long)
    sealed: bytes = Field(sa_type=AsStored)


class SeriesRow(_Base, table=True):
    """Samples of one twin and category within one window: of one signal, or (an empty tag) of several."""

    __tablename__ = "live_series"
    __table_args__ = (Index("live_series_place", "twin", "window_ms"), WITHOUT_ROWID)

    id: str = Field(sa_type=Name, primary_key=True)
    twin: str = Field(sa_type=Name)
    window_ms: int = Field(sa_type=Long)
    category_tag: bytes = Field(sa_type=AsStored)
    signal_tag: bytes = Field(sa_type=AsStored)
    sealed: bytes = Field(sa_type=AsStored)


class SourceRow(_Base, _Revised, table=True):
    """Which numbers of a source are settled."""

    __tablename__ = "live_source"
    __table_args__ = WITHOUT_ROWID


class DeviceRow(_Base, _Revised, table=True):
    """To whom a device was assigned, and until when readings of it were placed."""

    __tablename__ = "live_device"
    __table_args__ = WITHOUT_ROWID


class QuarantineRow(_Base, table=True):
    """A reading that could not be placed."""

    __tablename__ = "live_quarantine"
    __table_args__ = WITHOUT_ROWID

    id: str = Field(sa_type=Name, primary_key=True)
    source: bytes = Field(sa_type=AsStored, index=True)
    sealed: bytes = Field(sa_type=AsStored)


class MonitorRow(_Base, table=True):
    """What the rules remember of a twin."""

    __tablename__ = "live_monitor"
    __table_args__ = WITHOUT_ROWID

    twin: str = Field(sa_type=Name, primary_key=True)
    category_tag: bytes = Field(sa_type=AsStored)
    sealed: bytes = Field(sa_type=AsStored)


class AlertRow(_Base, table=True):
    """An alert of a twin."""

    __tablename__ = "live_alert"
    __table_args__ = WITHOUT_ROWID

    id: str = Field(sa_type=Name, primary_key=True)
    twin: str = Field(sa_type=Name, index=True)
    category_tag: bytes = Field(sa_type=AsStored)
    sealed: bytes = Field(sa_type=AsStored)


class MessageRow(_Base, table=True):
    """A message that is settled, of a source whose messages have names."""

    __tablename__ = "live_message"
    __table_args__ = WITHOUT_ROWID

    tag: bytes = Field(sa_type=AsStored, primary_key=True)
    at_ms: int = Field(sa_type=Long, index=True)
    sealed: bytes = Field(sa_type=AsStored)


class MergerRow(_Base, table=True):
    """Whom a patient was merged into."""

    __tablename__ = "live_merger"
    __table_args__ = WITHOUT_ROWID

    tag: bytes = Field(sa_type=AsStored, primary_key=True)
    sealed: bytes = Field(sa_type=AsStored)


class NoticeRow(_Base, table=True):
    """What a receiver is to be told, and when it is to be sent."""

    __tablename__ = "live_notice"
    __table_args__ = WITHOUT_ROWID

    id: str = Field(sa_type=Name, primary_key=True)
    due_ms: int = Field(sa_type=Long, index=True)
    sealed: bytes = Field(sa_type=AsStored)


class ScoringRow(_Base, _Revised, table=True):
    """That a registered model scores live twins."""

    __tablename__ = "live_scoring"
    __table_args__ = WITHOUT_ROWID


class RemindingRow(_Base, _Revised, table=True):
    """In whose name medication is watched."""

    __tablename__ = "live_reminding"
    __table_args__ = WITHOUT_ROWID


LIVE: Final = Schema(
    name="live",
    application_id=0x54574C56,  # "TWLV"
    version=6,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: _Base.metadata,
    unavailable=store_unavailable,
    malformed=BadInput,
)
