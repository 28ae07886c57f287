"""``live.db``: what one batch changes, it changes in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from twinward.audit.interfaces import EventKeys
from twinward.live.storage.alerts import AlertRows
from twinward.live.storage.devices import DeviceRows
from twinward.live.storage.messages import MessageRows
from twinward.live.storage.notices import NoticeRows
from twinward.live.storage.quarantine import QuarantineRows
from twinward.live.storage.remindings import RemindingRows
from twinward.live.storage.scorings import ScoringRows
from twinward.live.storage.series import SeriesRows
from twinward.live.storage.sources import SourceRows
from twinward.live.storage.tables import LIVE
from twinward_ledger.storage import Database
from twinward_ledger.storage.sqlite import SqliteFile


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables, as one transaction sees them."""

    series: SeriesRows
    sources: SourceRows
    devices: DeviceRows
    quarantine: QuarantineRows
    alerts: AlertRows
    messages: MessageRows
    notices: NoticeRows
    scorings: ScoringRows
    remindings: RemindingRows


class LiveDatabase:
    """The database. Safe to share between threads and processes: one writes at a time.

    Args:
        place: a file of its own, or a database that is already open.
        keys: the tenant's.
    """

    def __init__(self, place: Path | Database, keys: EventKeys) -> None:
        self._database: Database = SqliteFile(place, LIVE) if isinstance(place, Path) else place
        self._keys = keys

    @contextmanager
    def reading(self) -> Iterator[Tables]:
        """One state of it."""
        with self._database.reading() as connection:
            yield self._tables(connection)

    @contextmanager
    def writing(self) -> Iterator[Tables]:
        """A transaction: committed durably at the end, or not at all."""
        with self._database.writing() as connection:
            yield self._tables(connection)

    def forget_deleted(self) -> None:
        """Write the file anew without what was deleted."""
        self._database.forget_deleted()

    def close(self) -> None:
        """Give back the database."""
        self._database.close()

    def _tables(self, connection: Connection) -> Tables:
        return Tables(
            SeriesRows(connection),
            SourceRows(connection, self._keys),
            DeviceRows(connection, self._keys),
            QuarantineRows(connection, self._keys),
            AlertRows(connection),
            MessageRows(connection, self._keys),
            NoticeRows(connection, self._keys),
            ScoringRows(connection, self._keys),
            RemindingRows(connection, self._keys),
        )
