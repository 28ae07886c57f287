"""The log's and its map's tables on a server, which ``postgres`` and ``completeness_postgres`` write with COPY.

``schema_version`` in a head is the form of what is in the tables, for releases that know no revisions: from the first
change of the log's key on it is 2, and a release that knows one key only stays away.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from sqlalchemy import CheckConstraint, Connection, MetaData, Table, insert
from sqlalchemy.event import listen
from sqlmodel import Field, SQLModel

from twinward_ledger.storage import COUNTED, AsStored, Long, Schema, table_of
from twinward_ledger.stores import table_shapes

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


class LogServerBase(SQLModel):
    """Tables of a log on a server."""

    metadata: ClassVar[MetaData] = MetaData()


class ServerHead(LogServerBase, table_shapes.Head, table=True):
    """One row: the size. Whoever appends holds it."""

    __tablename__ = "log_head"
    __table_args__ = (CheckConstraint("id = 1"),)

    schema_version: int


class ServerLeaf(LogServerBase, table_shapes.Leaf, table=True):
    """A leaf's exact bytes."""

    __tablename__ = "log_leaves"


class ServerBody(LogServerBase, table_shapes.Body, table=True):
    """An entry's body, empty where it was erased, and its tags, joined."""

    __tablename__ = "log_bodies"


class ServerTag(LogServerBase, table=True):
    """An entry that carries a tag."""

    __tablename__ = "log_tags"

    tag: bytes = Field(sa_type=AsStored, primary_key=True)
    idx: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)


class ServerTile(LogServerBase, table_shapes.Tile, table=True):
    """Hashes of the tree, as in a file."""

    __tablename__ = "log_tiles"


class ServerCheckpoint(LogServerBase, table_shapes.Checkpoint, table=True):
    """A signed checkpoint."""

    __tablename__ = "log_checkpoints"


class ServerKeyChange(LogServerBase, table_shapes.KeyChange, table=True):
    """A change of the log's key, as in a file."""

    __tablename__ = "log_key_changes"


class MapServerBase(SQLModel):
    """Tables of a completeness map on a server."""

    metadata: ClassVar[MetaData] = MetaData()


class ServerMapHead(MapServerBase, table_shapes.MapHead, table=True):
    """One row, once there is a head: the newest, and the entry that carries it."""

    __tablename__ = "map_head"
    __table_args__ = (CheckConstraint("id = 1"),)

    schema_version: int


class ServerSubject(MapServerBase, table_shapes.Subject, table=True):
    """A patient's label, how many entries, and the frontier of their tree."""

    __tablename__ = "map_subjects"


class ServerPage(MapServerBase, table_shapes.Page, table=True):
    """A page of the sparse tree."""

    __tablename__ = "map_pages"


class ServerMapTag(MapServerBase, table_shapes.MapTag, table=True):
    """A tag's label."""

    __tablename__ = "map_tags"


# As in a file: a head that is missing later is damage.
def _begin_empty(table: Table, connection: Connection, **_: object) -> None:
    connection.execute(insert(table).values(id=1, size=0, schema_version=1))


listen(table_of(ServerHead), "after_create", _begin_empty)

LOG_ON_SERVER: Final = Schema(
    name="log",
    application_id=0x54574C47,  # "TWLG": the lock under which earlier releases laid the tables, too
    version=2,
    revisions=_MIGRATIONS / "log_server",
    models=lambda: LogServerBase.metadata,
)
MAP_ON_SERVER: Final = Schema(
    name="map",
    application_id=0x54574D50,  # "TWMP"
    version=1,
    revisions=_MIGRATIONS / "map_server",
    models=lambda: MapServerBase.metadata,
)
