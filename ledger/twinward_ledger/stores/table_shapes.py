"""What the log's and its map's tables hold, in a file as on a server: ``tables`` and ``server_tables`` name them."""

from __future__ import annotations

from sqlalchemy import String, Text
from sqlmodel import Field, SQLModel

from twinward_ledger.storage import COUNTED, AsStored, Long


class Head(SQLModel):
    """One row: the size."""

    id: int = Field(primary_key=True, sa_column_kwargs=COUNTED)
    size: int = Field(sa_type=Long)


class Leaf(SQLModel):
    """A leaf's exact bytes."""

    idx: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    leaf: bytes = Field(sa_type=AsStored)


class Body(SQLModel):
    """An entry's body, empty where it was erased, and its tags, joined."""

    idx: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    body: bytes = Field(sa_type=AsStored)
    tags: bytes = Field(sa_type=AsStored)


class Tile(SQLModel):
    """Hashes of the tree: see ``log.tiles``. The key is ``level << 56 | index``."""

    id: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    hashes: bytes = Field(sa_type=AsStored)


class Checkpoint(SQLModel):
    """A signed checkpoint."""

    size: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    note: bytes = Field(sa_type=AsStored)


class KeyChange(SQLModel):
    """A change of the log's key: from which size, to which key, and the checkpoint that both keys signed."""

    number: int = Field(sa_type=Long, primary_key=True, sa_column_kwargs=COUNTED)
    size: int = Field(sa_type=Long)
    key: str = Field(sa_type=String().with_variant(Text(), "postgresql"))
    note: bytes = Field(sa_type=AsStored)


class MapHead(SQLModel):
    """The newest head of a map, and the entry that carries it."""

    id: int = Field(primary_key=True, sa_column_kwargs=COUNTED)
    head: bytes = Field(sa_type=AsStored)
    idx: int = Field(sa_type=Long)


class Subject(SQLModel):
    """A patient's label, how many entries, and the frontier of their tree."""

    label: bytes = Field(sa_type=AsStored, primary_key=True)
    count: int = Field(sa_type=Long)
    frontier: bytes = Field(sa_type=AsStored)


class Page(SQLModel):
    """A page of the sparse tree."""

    number: int = Field(primary_key=True, sa_column_kwargs=COUNTED)
    places: bytes = Field(sa_type=AsStored)


class MapTag(SQLModel):
    """A tag's label."""

    tag: bytes = Field(sa_type=AsStored, primary_key=True)
    label: bytes = Field(sa_type=AsStored)
