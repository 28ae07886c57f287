"""The tables of ``things.db``: blind tags, whether a relation is over, and sealed bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import MetaData, Table

from twinward.core.errors import BadInput, store_unavailable
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Long, Name, Schema, column

_TABLES: Final = MetaData()

thing_table: Final = Table(
    "thing",
    _TABLES,
    column("tag", AsStored, primary_key=True),
    column("revision", Long),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""A thing, found by a tag of its name."""

relation_table: Final = Table(
    "thing_relation",
    _TABLES,
    column("id", Name, primary_key=True),
    column("thing", AsStored, index=True),
    column("target", AsStored, index=True),
    column("is_open", Long),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""A relation for a time. ``is_open`` is 1 while it has no end."""

happening_table: Final = Table(
    "thing_happening",
    _TABLES,
    column("id", Name, primary_key=True),
    column("thing", AsStored, index=True),
    column("target", AsStored, index=True),
    column("sealed", AsStored),
    **WITHOUT_ROWID,
)
"""Something that happened to a thing; ``target`` is the tag of a patient's twin, or empty."""


THINGS: Final = Schema(
    name="things",
    application_id=0x54575447,  # "TWTG"
    version=1,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: _TABLES,
    unavailable=store_unavailable,
    malformed=BadInput,
)
