"""The tables of the ledger's stores, and which revision of them this version works with. One database a store."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import CheckConstraint, Connection, Integer, MetaData, String, Table, insert
from sqlalchemy.event import listen

from twinward_ledger.storage import COUNTED, WITHOUT_ROWID, AsStored, Long, Name, Schema, column
from twinward_ledger.stores import table_shapes

_MIGRATIONS: Final = Path(__file__).parent / "migrations"

ANCHORS_TABLES: Final = MetaData()
"""Tables of the anchor journal."""

anchor_table: Final = Table(
    "anchors",
    ANCHORS_TABLES,
    column("size", Long, primary_key=True, **COUNTED),
    column("note", AsStored),
    column("record", AsStored),
    column("confirmed", Integer),
)
"""An anchor that was sent or is about to be: the signed checkpoint, and the record in canonical JSON."""

trouble_table: Final = Table(
    "trouble",
    ANCHORS_TABLES,
    column("kind", Name, primary_key=True),
    column("since_ms", Long),
    column("text", String),
)
"""What went wrong with the chain, and what the operator said to it."""

WITNESS_MEMORY_TABLES: Final = MetaData()
"""Tables of what a log remembers of its witnesses."""

witness_table: Final = Table(
    "witnesses",
    WITNESS_MEMORY_TABLES,
    column("key", Name, primary_key=True),
    column("size", Long),
    column("standing", String),
    column("reason", String),
    column("since_ms", Long),
    column("at_ms", Long),
    **WITHOUT_ROWID,
)
"""A witness, by its verifier key."""

vouched_table: Final = Table(
    "vouched",
    WITNESS_MEMORY_TABLES,
    column("one", Integer, primary_key=True, **COUNTED),
    column("changes", Long),
    column("since_ms", Long),
    column("mac", AsStored),
    CheckConstraint("one = 1"),
)
"""One row: the MAC over all others, and the number of their changes."""

WITNESS_STATE_TABLES: Final = MetaData()
"""Tables of what a witness has cosigned."""

seen_table: Final = Table(
    "seen",
    WITNESS_STATE_TABLES,
    column("origin", Name, primary_key=True),
    column("size", Long, primary_key=True),
    column("note", AsStored),
    **WITHOUT_ROWID,
)
"""A signed checkpoint, whole."""

accepted_time_table: Final = Table(
    "accepted_times",
    WITNESS_STATE_TABLES,
    column("chain_id", Name, primary_key=True),
    column("contract", AsStored, primary_key=True),
    column("time_s", Long),
    column("at_ms", Long),
    **WITHOUT_ROWID,
)
"""A time ahead of the clock that the operator had a contract's anchors bear."""

LOG_FILE_TABLES: Final = MetaData()
"""Tables of a log in a SQLite file (on a server they are others: ``stores.postgres``)."""

log_head_table: Final = Table(
    "head",
    LOG_FILE_TABLES,
    *table_shapes.head_columns(),
    CheckConstraint("id = 1"),
)
"""One row: the size."""

log_leaf_table: Final = Table(
    "leaves",
    LOG_FILE_TABLES,
    *table_shapes.leaf_columns(),
)
"""A leaf's exact bytes."""

log_body_table: Final = Table(
    "bodies",
    LOG_FILE_TABLES,
    *table_shapes.body_columns(),
)
"""An entry's body, empty where it was erased, and its tags, joined."""

log_posting_table: Final = Table(
    "postings",
    LOG_FILE_TABLES,
    column("tag", AsStored, primary_key=True),
    column("first", Long, primary_key=True),
    column("distances", AsStored),
    **WITHOUT_ROWID,
)
"""Which entries carry a tag: see ``postings``."""

log_tile_table: Final = Table(
    "tiles",
    LOG_FILE_TABLES,
    *table_shapes.tile_columns(),
)
"""Hashes of the tree: see ``log.tiles``. The key is ``level << 56 | index``."""

log_checkpoint_table: Final = Table(
    "checkpoints",
    LOG_FILE_TABLES,
    *table_shapes.checkpoint_columns(),
)
"""A signed checkpoint."""

log_key_change_table: Final = Table(
    "key_changes",
    LOG_FILE_TABLES,
    *table_shapes.key_change_columns(),
)
"""A change of the log's key: from which size, to which key, and the checkpoint that both keys signed."""

MAP_FILE_TABLES: Final = MetaData()
"""Tables of a completeness map in a SQLite file (on a server: ``stores.completeness_postgres``)."""

map_head_table: Final = Table(
    "head",
    MAP_FILE_TABLES,
    *table_shapes.map_head_columns(),
    CheckConstraint("id = 1"),
)
"""One row: the newest head, and the entry that carries it."""

map_subject_table: Final = Table(
    "subjects",
    MAP_FILE_TABLES,
    *table_shapes.subject_columns(),
    **WITHOUT_ROWID,
)
"""A patient's label, how many entries, and the frontier of their tree."""

map_page_table: Final = Table(
    "pages",
    MAP_FILE_TABLES,
    *table_shapes.page_columns(),
)
"""A page of the sparse tree."""

map_tag_table: Final = Table(
    "tags",
    MAP_FILE_TABLES,
    *table_shapes.map_tag_columns(),
    **WITHOUT_ROWID,
)
"""A tag's label."""


# A log begins empty, and a head that is missing later is damage: so it is made with its table, and never again.
def _begin_empty(table: Table, connection: Connection, **_: object) -> None:
    connection.execute(insert(table).values(id=1, size=0))


listen(log_head_table, "after_create", _begin_empty)

LOG_FILE: Final = Schema(
    name="log",
    application_id=0x54574C47,  # "TWLG"
    version=3,
    revisions=_MIGRATIONS / "log",
    models=lambda: LOG_FILE_TABLES,
)
MAP_FILE: Final = Schema(
    name="completeness",
    application_id=0x54574D50,  # "TWMP"
    version=1,
    revisions=_MIGRATIONS / "completeness",
    models=lambda: MAP_FILE_TABLES,
)
ANCHORS: Final = Schema(
    name="anchors",
    application_id=0x5457414A,  # "TWAJ"
    version=1,
    revisions=_MIGRATIONS / "anchors",
    models=lambda: ANCHORS_TABLES,
    unnumbered=1,
)
WITNESS_MEMORY: Final = Schema(
    name="witness_memory",
    application_id=0x5457574D,  # "TWWM"
    version=1,
    revisions=_MIGRATIONS / "witness_memory",
    models=lambda: WITNESS_MEMORY_TABLES,
    unnumbered=1,
)
WITNESS_STATE: Final = Schema(
    name="witness_state",
    application_id=0x54575753,  # "TWWS"
    version=1,
    revisions=_MIGRATIONS / "witness_state",
    models=lambda: WITNESS_STATE_TABLES,
    unnumbered=1,
)
