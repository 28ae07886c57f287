"""Where the completeness map of a log is kept: beside the log, whatever that lies in."""

from __future__ import annotations

from pathlib import Path

from twinward_ledger.completeness.interfaces import MapStore
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.stores.completeness_sqlite import SqliteMapStore

SUFFIX = ".completeness.db"


def open_map_store(log_uri: str) -> MapStore:
    """Open the map of the log that a URI names: ``log.db`` has its map in ``log.completeness.db``, a database in its
    own tables.

    Raises:
        LogUnavailable: no log store is known for this URI, or its map cannot be opened.
    """
    scheme, _, path = log_uri.partition(":")
    if scheme.lower() == "sqlite" and path:
        return SqliteMapStore(Path(path).with_suffix(SUFFIX))
    if scheme.lower() in ("postgresql", "postgres"):
        try:
            from twinward_ledger.stores.completeness_postgres import PostgresMapStore
        except ImportError:
            raise LogUnavailable("PostgreSQL needs its driver: pip install 'twinward[postgres]'") from None
        return PostgresMapStore(log_uri)
    raise LogUnavailable("no completeness map is known for this log store: use sqlite:PATH or postgresql://…")
