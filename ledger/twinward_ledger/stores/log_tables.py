"""The tables of a log's and of its map's SQLite files, loaded only where one is laid or brought up to date: both stores
speak to the driver.
"""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import CheckConstraint, Connection, MetaData, Table, insert
from sqlalchemy.event import listen
from sqlmodel import Field, SQLModel

from twinward_ledger.storage import WITHOUT_ROWID, AsStored, Long, table_of
from twinward_ledger.stores import table_shapes


class LogFileBase(SQLModel):
    """Tables of a log in a SQLite file (on a server they are others: ``stores.postgres``)."""

    metadata: ClassVar[MetaData] = MetaData()


class LogHead(LogFileBase, table_shapes.Head, table=True):
    """One row: the size."""

    __tablename__ = "head"
    __table_args__ = (CheckConstraint("id = 1"),)


class LogLeaf(LogFileBase, table_shapes.Leaf, table=True):
    """A leaf's exact bytes."""

    __tablename__ = "leaves"


class LogBody(LogFileBase, table_shapes.Body, table=True):
    """An entry's body, empty where it was erased, and its tags, joined."""

    __tablename__ = "bodies"


class LogPosting(LogFileBase, table=True):
    """Which entries carry a tag: see ``postings``."""

    __tablename__ = "postings"
    __table_args__ = WITHOUT_ROWID

    tag: bytes = Field(sa_type=AsStored, primary_key=True)
    first: int = Field(sa_type=Long, primary_key=True)
    distances: bytes = Field(sa_type=AsStored)


class LogTile(LogFileBase, table_shapes.Tile, table=True):
    """Hashes of the tree: see ``log.tiles``. The key is ``level << 56 | index``."""

    __tablename__ = "tiles"


class LogCheckpoint(LogFileBase, table_shapes.Checkpoint, table=True):
    """A signed checkpoint."""

    __tablename__ = "checkpoints"


class LogKeyChange(LogFileBase, table_shapes.KeyChange, table=True):
    """A change of the log's key: from which size, to which key, and the checkpoint that both keys signed."""

    __tablename__ = "key_changes"


class MapFileBase(SQLModel):
    """Tables of a completeness map in a SQLite file (on a server: ``stores.completeness_postgres``)."""

    metadata: ClassVar[MetaData] = MetaData()


class MapHeadRow(MapFileBase, table_shapes.MapHead, table=True):
    """One row: the newest head, and the entry that carries it."""

    __tablename__ = "head"
    __table_args__ = (CheckConstraint("id = 1"),)


class MapSubject(MapFileBase, table_shapes.Subject, table=True):
    """A patient's label, how many entries, and the frontier of their tree."""

    __tablename__ = "subjects"
    __table_args__ = WITHOUT_ROWID


class MapPage(MapFileBase, table_shapes.Page, table=True):
    """A page of the sparse tree."""

    __tablename__ = "pages"


class MapTag(MapFileBase, table_shapes.MapTag, table=True):
    """A tag's label."""

    __tablename__ = "tags"
    __table_args__ = WITHOUT_ROWID


# A log begins empty, and a head that is missing later is damage: so it is made with its table, and never again.
def _begin_empty(table: Table, connection: Connection, **_: object) -> None:
    connection.execute(insert(table).values(id=1, size=0))


listen(table_of(LogHead), "after_create", _begin_empty)
