"""The completeness map in the log's PostgreSQL database, under an advisory lock for each transaction.

Tables have the prefix ``map_``. Many labels are asked for in one query, so a publication costs a handful of round
trips however many patients it touches. Only labels, counts and hashes lie here, never a patient's id.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from twinward_ledger.completeness.interfaces import LoggedHead, MapView, Page
from twinward_ledger.completeness.map import MapHead, Subject
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.storage.laid_tables import lay_tables
from twinward_ledger.storage.postgres_address import PostgresAddress, reason
from twinward_ledger.stores.completeness_sqlite import bounds, subject_of
from twinward_ledger.stores.server_tables import MAP_ON_SERVER

SCHEMA_VERSION: Final = 1
_LOCK: Final = 0x54574D50  # "TWMP"


class PostgresMapStore:
    """A ``MapStore`` in the log's database."""

    def __init__(self, uri: str) -> None:
        """Open the database and lay the map's tables if there are none. Raises ``LogUnavailable``."""
        self._address = PostgresAddress(uri)
        self._lock = threading.Lock()
        self._closed = False
        self._connection: psycopg.Connection | None = None
        lay_tables(uri, MAP_ON_SERVER)
        with self.transaction() as view:
            if isinstance(view, _View):
                view.require_known()

    @contextmanager
    def transaction(self) -> Iterator[MapView]:
        """One transaction at a time, over all processes; durable at the end. It is never tried twice."""
        with self._lock:
            if self._closed:
                raise LogUnavailable(f"{self._address}: the completeness map is closed")
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._address.connect()
                with self._connection.transaction(), self._connection.cursor(binary=True) as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                    yield _View(cursor)
            except psycopg.Error as error:
                raise LogUnavailable(f"{self._address}: {reason(error)}") from None

    def close(self) -> None:
        """Give back the connection; closing twice is harmless."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()


class _View:
    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self._cursor = cursor

    def require_known(self) -> None:
        row = self._cursor.execute("SELECT schema_version FROM map_head").fetchone()
        if row is not None and row != (SCHEMA_VERSION,):
            raise LogUnavailable(f"the database does not hold a completeness map of version {SCHEMA_VERSION}")

    def head(self) -> LoggedHead | None:
        row = self._cursor.execute("SELECT head, idx FROM map_head").fetchone()
        return LoggedHead(MapHead.decode(row[0]), row[1]) if row else None

    def subjects(self, labels: Sequence[bytes]) -> dict[bytes, Subject]:
        sql: Final = "SELECT label, count, frontier FROM map_subjects WHERE label = ANY(%s)"
        return {row[0]: subject_of(*row) for row in self._cursor.execute(sql, (list(labels),))}

    def buckets(self, prefixes: Sequence[bytes]) -> dict[bytes, list[Subject]]:
        sql: Final = """
            SELECT label, count, frontier FROM unnest(%s::bytea[], %s::bytea[]) AS touched (low, high)
            JOIN map_subjects ON label BETWEEN low AND high ORDER BY label
        """
        found: dict[bytes, list[Subject]] = {prefix: [] for prefix in prefixes}
        ranges = [bounds(prefix) for prefix in prefixes]
        for row in self._cursor.execute(sql, ([low for low, _ in ranges], [high for _, high in ranges])):
            found[row[0][:2]].append(subject_of(*row))
        return found

    def first_within(self, low: bytes, high: bytes) -> Subject | None:
        sql: Final = (
            "SELECT label, count, frontier FROM map_subjects WHERE label BETWEEN %s AND %s ORDER BY label LIMIT 1"
        )
        row = self._cursor.execute(sql, (low, high)).fetchone()
        return subject_of(*row) if row else None

    def every(self) -> list[Subject]:
        sql: Final = "SELECT label, count, frontier FROM map_subjects ORDER BY label"
        return [subject_of(*row) for row in self._cursor.execute(sql)]

    def pages(self, numbers: Sequence[int]) -> dict[int, Page]:
        rows = self._cursor.execute("SELECT number, places FROM map_pages WHERE number = ANY(%s)", (list(numbers),))
        return {number: Page.decode(places) for number, places in rows}

    def tags(self) -> Mapping[bytes, bytes]:
        return dict(self._cursor.execute("SELECT tag, label FROM map_tags").fetchall())

    def put_subjects(self, subjects: Iterable[Subject]) -> None:
        sql: Final = """
            INSERT INTO map_subjects SELECT * FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[])
            ON CONFLICT (label) DO UPDATE SET count = excluded.count, frontier = excluded.frontier
        """
        kept = list(subjects)
        columns = [one.label for one in kept], [one.count for one in kept], [b"".join(one.frontier) for one in kept]
        self._cursor.execute(sql, columns)

    def put_pages(self, pages: Mapping[int, Page]) -> None:
        sql: Final = """
            INSERT INTO map_pages SELECT * FROM unnest(%s::int[], %s::bytea[])
            ON CONFLICT (number) DO UPDATE SET places = excluded.places
        """
        self._cursor.execute(sql, (list(pages), [page.encode() for page in pages.values()]))

    def put_tags(self, tags: Mapping[bytes, bytes]) -> None:
        sql: Final = "INSERT INTO map_tags SELECT * FROM unnest(%s::bytea[], %s::bytea[]) ON CONFLICT DO NOTHING"
        self._cursor.execute(sql, (list(tags), list(tags.values())))

    def put_head(self, head: LoggedHead) -> None:
        sql: Final = """
            INSERT INTO map_head VALUES (1, %s, %s, %s)
            ON CONFLICT (id) DO UPDATE SET head = excluded.head, idx = excluded.idx
        """
        self._cursor.execute(sql, (head.head.encode(), head.index, SCHEMA_VERSION))
