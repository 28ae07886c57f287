"""How every SQLite file of a home is opened: to be written, or, where nobody may write there, to be read as it lies.

In a folder that cannot be written (a snapshot, evidence on a read-only disk) SQLite can make neither the write-ahead
log nor its index. Where there is no such log, the file is all there is; it is opened as immutable
(sqlite.org/uri.html), for nobody is to change a snapshot. Where there is one, it is read with the index that lies
beside it. Transactions that would write then read; a write itself is refused by SQLite, so that nothing comes about
that must be logged first.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

IN_MEMORY = ":memory:"


def is_read_only(path: Path) -> bool:
    """Whether a file lies where this process can make no other: on a read-only disk, or in somebody else's folder."""
    return path.exists() and not os.access(path.absolute().parent, os.W_OK)


def connect(path: Path | str, *, timeout_s: float = 10.0, mode: str = "rwc") -> sqlite3.Connection:
    """A connection whose transactions are begun by hand and which any thread may use.

    Args:
        path: the file, or ``:memory:``.
        timeout_s: how long to wait for others' locks.
        mode: ``rwc`` makes the file where there is none, ``rw`` and ``ro`` do not. All read where none can write.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    name = IN_MEMORY if str(path) == IN_MEMORY else _uri(Path(path), mode)
    return sqlite3.connect(name, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def _uri(path: Path, mode: str) -> str:
    uri = path.absolute().as_uri()
    if not is_read_only(path):
        return f"{uri}?mode={mode}"
    log = path.with_name(f"{path.name}-wal")
    unwritten = log.exists() and log.stat().st_size > 0
    return f"{uri}?mode=ro" if unwritten else f"{uri}?mode=ro&immutable=1"
