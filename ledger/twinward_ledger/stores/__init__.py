"""Where a log's entries, nodes and checkpoints are kept. One file per backend, chosen by URI from an explicit map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twinward_ledger.errors import LogUnavailable
from twinward_ledger.log.store import LogStore

_Opener = Callable[[str, bool], LogStore]


def open_store(uri: str, *, read_only: bool = False) -> LogStore:
    """Open the log store that a URI names: ``sqlite:PATH`` or ``postgresql://user@host/database``.

    Raises:
        LogUnavailable: none is known for this URI, or it does not answer.
    """
    scheme = uri.partition(":")[0].lower()
    opener = _OPENERS.get(scheme)
    if opener is None:  # the rest of the URI stays out of the message: it might hold a secret
        raise LogUnavailable("no log store is known for this URI: use sqlite:PATH or postgresql://user@host/database")
    return opener(uri, read_only)


def _open_sqlite(uri: str, read_only: bool) -> LogStore:
    from twinward_ledger.stores.sqlite import SqliteLogStore

    path = uri.partition(":")[2]
    if not path:
        raise LogUnavailable("sqlite: needs the path of its file, e.g. sqlite:log.db")
    return SqliteLogStore(path, read_only=read_only)


def _open_postgres(uri: str, read_only: bool) -> LogStore:
    try:
        from twinward_ledger.stores.postgres import PostgresLogStore
    except ImportError:
        raise LogUnavailable("PostgreSQL needs its driver: pip install 'twinward[postgres]'") from None
    return PostgresLogStore(uri, read_only=read_only)


_OPENERS: Final[dict[str, _Opener]] = {
    "sqlite": _open_sqlite,
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
}
