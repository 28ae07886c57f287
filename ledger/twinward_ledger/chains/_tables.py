"""The tables of an embedded chain's file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Index, Integer, MetaData, String, Table

from twinward_ledger.errors import ChainUnavailable
from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Schema, column

CHAIN_TABLES: Final = MetaData()
"""Tables of an embedded chain."""

key_value_table: Final = Table(
    "kv",
    CHAIN_TABLES,
    column("key", AsStored, primary_key=True),
    column("value", AsStored),
    **WITHOUT_ROWID,
)
"""What py-evm keeps: blocks, state, receipts."""

event_table: Final = Table(
    "logs",
    CHAIN_TABLES,
    column("block", Integer, primary_key=True),
    column("position", Integer, primary_key=True),
    column("address", AsStored),
    column("topics", AsStored),
    column("topic", AsStored),
    column("data", AsStored),
    Index("logs_by_event", "address", "topic", "block", "position"),
    **WITHOUT_ROWID,
)
"""A block's log (an event of a contract), to be found by its first topic."""

fact_table: Final = Table(
    "meta",
    CHAIN_TABLES,
    column("name", String, primary_key=True),
    column("value", AsStored),
    **WITHOUT_ROWID,
)
"""A fact about the whole chain."""


def _unavailable(message: str, _hint: str) -> ChainUnavailable:
    return ChainUnavailable(message)


CHAIN: Final = Schema(
    name="chain",
    application_id=0x54574348,  # "TWCH"
    version=1,
    revisions=Path(__file__).parent / "migrations",
    models=lambda: CHAIN_TABLES,
    unnumbered=1,
    unavailable=_unavailable,
)
