"""The log's and its map's tables on a server, which ``postgres`` and ``completeness_postgres`` write with COPY.

``schema_version`` in a head is the form of what is in the tables, for releases that know no revisions: from the first
change of the log's key on it is 2, and a release that knows one key only stays away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import CheckConstraint, Connection, Integer, MetaData, Table, insert
from sqlalchemy.event import listen

from twinward_ledger.storage import COUNTED, AsStored, Long, Schema, column
from twinward_ledger.stores import table_shapes

_MIGRATIONS: Final = Path(__file__).parent / "migrations"

LOG_SERVER_TABLES: Final = MetaData()
"""Tables of a log on a server."""

server_head_table: Final = Table(
    "log_head",
    LOG_SERVER_TABLES,
    *table_shapes.head_columns(),
    column("schema_version", Integer),
    CheckConstraint("id = 1"),
)
"""One row: the size. Whoever appends holds it."""

server_leaf_table: Final = Table(
    "log_leaves",
    LOG_SERVER_TABLES,
    *table_shapes.leaf_columns(),
)
"""A leaf's exact bytes."""

server_body_table: Final = Table(
    "log_bodies",
    LOG_SERVER_TABLES,
    *table_shapes.body_columns(),
)
"""An entry's body, empty where it was erased, and its tags, joined."""

server_tag_table: Final = Table(
    "log_tags",
    LOG_SERVER_TABLES,
    column("tag", AsStored, primary_key=True),
    column("idx", Long, primary_key=True, **COUNTED),
)
"""An entry that carries a tag."""

server_tile_table: Final = Table(
    "log_tiles",
    LOG_SERVER_TABLES,
    *table_shapes.tile_columns(),
)
"""Hashes of the tree, as in a file."""

server_checkpoint_table: Final = Table(
    "log_checkpoints",
    LOG_SERVER_TABLES,
    *table_shapes.checkpoint_columns(),
)
"""A signed checkpoint."""

server_key_change_table: Final = Table(
    "log_key_changes",
    LOG_SERVER_TABLES,
    *table_shapes.key_change_columns(),
)
"""A change of the log's key, as in a file."""

MAP_SERVER_TABLES: Final = MetaData()
"""Tables of a completeness map on a server."""

server_map_head_table: Final = Table(
    "map_head",
    MAP_SERVER_TABLES,
    *table_shapes.map_head_columns(),
    column("schema_version", Integer),
    CheckConstraint("id = 1"),
)
"""One row, once there is a head: the newest, and the entry that carries it."""

server_subject_table: Final = Table(
    "map_subjects",
    MAP_SERVER_TABLES,
    *table_shapes.subject_columns(),
)
"""A patient's label, how many entries, and the frontier of their tree."""

server_page_table: Final = Table(
    "map_pages",
    MAP_SERVER_TABLES,
    *table_shapes.page_columns(),
)
"""A page of the sparse tree."""

server_map_tag_table: Final = Table(
    "map_tags",
    MAP_SERVER_TABLES,
    *table_shapes.map_tag_columns(),
)
"""A tag's label."""


# As in a file: a head that is missing later is damage.
def _begin_empty(table: Table, connection: Connection, **_: object) -> None:
    connection.execute(insert(table).values(id=1, size=0, schema_version=1))


listen(server_head_table, "after_create", _begin_empty)

LOG_ON_SERVER: Final = Schema(
    name="log",
    application_id=0x54574C47,  # "TWLG": the lock under which earlier releases laid the tables, too
    version=2,
    revisions=_MIGRATIONS / "log_server",
    models=lambda: LOG_SERVER_TABLES,
)
MAP_ON_SERVER: Final = Schema(
    name="map",
    application_id=0x54574D50,  # "TWMP"
    version=1,
    revisions=_MIGRATIONS / "map_server",
    models=lambda: MAP_SERVER_TABLES,
)
