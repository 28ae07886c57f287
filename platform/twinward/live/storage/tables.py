"""The tables of ``live.db``: opaque ids, blind tags, hours, and sealed bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Index, MetaData, Table

from twinward.core.errors import BadInput, store_unavailable
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Long, Name, Schema, column

_TABLES: Final = MetaData()


def _revised_columns() -> tuple[Column[Any], ...]:
    """What changes as a whole: found by a blind tag, sealed to it and to its revision."""
    return (
        column("tag", AsStored, primary_key=True),
        column("revision", Long),
        column("sealed", AsStored),
    )


series_table: Final = Table(
    "live_series",
    _TABLES,
    column("id", Name, primary_key=True),
    column("twin", Name),
    column("window_ms", Long),
    column("category_tag", AsStored),
    column("signal_tag", AsStored),
    column("sealed", AsStored),
    Index("live_series_place", "twin", "window_ms"),
    **WITHOUT_ROWID,
)
"""Samples of one twin and category within one window: of one signal, or (an empty tag) of several."""

source_table: Final = Table(
    "live_source",
    _TABLES,
    *_revised_columns(),
    **WITHOUT_ROWID,
)
"""Which numbers of a source are settled."""

device_table: Final = Table(
    "live_device",
    _TABLES,
    *_revised_columns(),
    **WITHOUT_ROWID,
)
"""To whom a device was assigned, and until when readings of it were placed."""

quarantine_table: Final = Table(
    "live_quarantine",
    _TABLES,
    column("id", Name, primary_key=True),
    column("source", AsStored, index=True),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""A reading that could not be placed."""

monitor_table: Final = Table(
    "live_monitor",
    _TABLES,
    column("twin", Name, primary_key=True),
    column("category_tag", AsStored),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""What the rules remember of a twin."""

alert_table: Final = Table(
    "live_alert",
    _TABLES,
    column("id", Name, primary_key=True),
    column("twin", Name, index=True),
    column("category_tag", AsStored),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""An alert of a twin."""

message_table: Final = Table(
    "live_message",
    _TABLES,
    column("tag", AsStored, primary_key=True),
    column("at_ms", Long, index=True),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""A message that is settled, of a source whose messages have names."""

merger_table: Final = Table(
    "live_merger",
    _TABLES,
    column("tag", AsStored, primary_key=True),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""Whom a patient was merged into."""

notice_table: Final = Table(
    "live_notice",
    _TABLES,
    column("id", Name, primary_key=True),
    column("due_ms", Long, index=True),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""What a receiver is to be told, and when it is to be sent."""

scoring_table: Final = Table(
    "live_scoring",
    _TABLES,
    *_revised_columns(),
    **WITHOUT_ROWID,
)
"""That a registered model scores live twins."""

reminding_table: Final = Table(
    "live_reminding",
    _TABLES,
    *_revised_columns(),
    **WITHOUT_ROWID,
)
"""In whose name medication is watched."""


LIVE: Final = Schema(
    name="live",
    application_id=0x54574C56,  # "TWLV"
    version=6,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: _TABLES,
    unavailable=store_unavailable,
    malformed=BadInput,
)
