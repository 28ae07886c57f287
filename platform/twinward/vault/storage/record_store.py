"""Where sealed rows are kept. One file per backend, chosen by URI from an explicit map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from twinward.vault.errors import VaultUnavailable
from twinward.vault.interfaces import RecordStore


def open_record_store(uri: str) -> RecordStore:
    """Open the record store that a URI names: ``sqlite:PATH`` or ``postgresql://user@host/database``.

    Raises:
        VaultUnavailable: none is known for this URI, or it cannot be used.
    """
    opener = _OPENERS.get(uri.partition(":")[0].lower())
    if opener is None:  # the rest of the URI stays out of the message: it might hold a secret
        raise VaultUnavailable(
            "no record store is known for this URI", hint="use sqlite:PATH or postgresql://user@host/database"
        )
    return opener(uri)


def _open_sqlite(uri: str) -> RecordStore:
    from twinward.vault.storage.sqlite_records import SqliteRecordStore

    path = uri.partition(":")[2]
    if not path:
        raise VaultUnavailable("sqlite: needs the path of its file", hint="e.g. sqlite:vault.db")
    return SqliteRecordStore(Path(path))


def _open_postgres(uri: str) -> RecordStore:
    try:
        from twinward.vault.storage.postgres_records import PostgresRecordStore
    except ImportError:
        raise VaultUnavailable("PostgreSQL needs its driver", hint="pip install 'twinward[postgres]'") from None

    return PostgresRecordStore(uri)


_OPENERS: Final[dict[str, Callable[[str], RecordStore]]] = {
    "sqlite": _open_sqlite,
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
}
