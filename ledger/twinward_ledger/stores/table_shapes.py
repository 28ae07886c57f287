"""What the log's and its map's tables hold, in a file as on a server: ``tables`` and ``server_tables`` name them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Integer, String, Text

from twinward_ledger.storage import COUNTED, AsStored, Long, column


def head_columns() -> tuple[Column[Any], ...]:
    """One row: the size."""
    return (
        column("id", Integer, primary_key=True, **COUNTED),
        column("size", Long),
    )


def leaf_columns() -> tuple[Column[Any], ...]:
    """A leaf's exact bytes."""
    return (
        column("idx", Long, primary_key=True, **COUNTED),
        column("leaf", AsStored),
    )


def body_columns() -> tuple[Column[Any], ...]:
    """An entry's body, empty where it was erased, and its tags, joined."""
    return (
        column("idx", Long, primary_key=True, **COUNTED),
        column("body", AsStored),
        column("tags", AsStored),
    )


def tile_columns() -> tuple[Column[Any], ...]:
    """Hashes of the tree: see ``log.tiles``. The key is ``level << 56 | index``."""
    return (
        column("id", Long, primary_key=True, **COUNTED),
        column("hashes", AsStored),
    )


def checkpoint_columns() -> tuple[Column[Any], ...]:
    """A signed checkpoint."""
    return (
        column("size", Long, primary_key=True, **COUNTED),
        column("note", AsStored),
    )


def key_change_columns() -> tuple[Column[Any], ...]:
    """A change of the log's key: from which size, to which key, and the checkpoint that both keys signed."""
    return (
        column("number", Long, primary_key=True, **COUNTED),
        column("size", Long),
        column("key", String().with_variant(Text(), "postgresql")),
        column("note", AsStored),
    )


def map_head_columns() -> tuple[Column[Any], ...]:
    """The newest head of a map, and the entry that carries it."""
    return (
        column("id", Integer, primary_key=True, **COUNTED),
        column("head", AsStored),
        column("idx", Long),
    )


def subject_columns() -> tuple[Column[Any], ...]:
    """A patient's label, how many entries, and the frontier of their tree."""
    return (
        column("label", AsStored, primary_key=True),
        column("count", Long),
        column("frontier", AsStored),
    )


def page_columns() -> tuple[Column[Any], ...]:
    """A page of the sparse tree."""
    return (
        column("number", Integer, primary_key=True, **COUNTED),
        column("places", AsStored),
    )


def map_tag_columns() -> tuple[Column[Any], ...]:
    """A tag's label."""
    return (
        column("tag", AsStored, primary_key=True),
        column("label", AsStored),
    )
