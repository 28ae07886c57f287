"""The completeness map in one SQLite file beside the log: WAL, ``synchronous=FULL``, one writer at a time.

Only labels, counts and hashes lie here, never a patient's id. All of it can be made again from the log and its keys.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from twinward_ledger.completeness.interfaces import LoggedHead, MapView, Page
from twinward_ledger.completeness.map import LABEL_BYTES, MapHead, Subject
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.merkle import HASH_BYTES
from twinward_ledger.storage.sqlite import connect_raw
from twinward_ledger.stores.tables import MAP_FILE

BUSY_TIMEOUT_S = 30.0


class SqliteMapStore:
    """A ``MapStore`` in one SQLite file."""

    def __init__(self, path: Path | str) -> None:
        """Open or create the file. Raises ``LogUnavailable`` if that cannot be done or it is another kind of file."""
        self._path = Path(path)
        self._lock = threading.Lock()
        with self._translated():
            self._connection = connect_raw(self._path, MAP_FILE, timeout_s=BUSY_TIMEOUT_S)

    @contextmanager
    def transaction(self) -> Iterator[MapView]:
        """One transaction at a time, over all processes."""
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield _View(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Give back the file; closing twice is harmless."""
        with self._lock, self._translated():
            self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LogUnavailable(f"{self._path.name}: {error}") from error


class _View:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute
        self._run_many = connection.executemany

    def head(self) -> LoggedHead | None:
        row = self._run("SELECT head, idx FROM head").fetchone()
        return LoggedHead(MapHead.decode(row[0]), row[1]) if row else None

    def subjects(self, labels: Sequence[bytes]) -> dict[bytes, Subject]:
        sql = "SELECT label, count, frontier FROM subjects WHERE label = ?"
        rows = (self._run(sql, (label,)).fetchone() for label in labels)
        return {row[0]: subject_of(*row) for row in rows if row}

    def buckets(self, prefixes: Sequence[bytes]) -> dict[bytes, list[Subject]]:
        sql = "SELECT label, count, frontier FROM subjects WHERE label BETWEEN ? AND ? ORDER BY label"
        return {prefix: [subject_of(*row) for row in self._run(sql, bounds(prefix))] for prefix in prefixes}

    def first_within(self, low: bytes, high: bytes) -> Subject | None:
        sql = "SELECT label, count, frontier FROM subjects WHERE label BETWEEN ? AND ? ORDER BY label LIMIT 1"
        row = self._run(sql, (low, high)).fetchone()
        return subject_of(*row) if row else None

    def every(self) -> list[Subject]:
        return [subject_of(*row) for row in self._run("SELECT label, count, frontier FROM subjects ORDER BY label")]

    def pages(self, numbers: Sequence[int]) -> dict[int, Page]:
        rows = (
            (number, self._run("SELECT places FROM pages WHERE number = ?", (number,)).fetchone()) for number in numbers
        )
        return {number: Page.decode(row[0]) for number, row in rows if row}

    def tags(self) -> Mapping[bytes, bytes]:
        return dict(self._run("SELECT tag, label FROM tags").fetchall())

    def put_subjects(self, subjects: Iterable[Subject]) -> None:
        rows = ((one.label, one.count, b"".join(one.frontier)) for one in subjects)
        self._run_many("INSERT OR REPLACE INTO subjects VALUES (?, ?, ?)", rows)

    def put_pages(self, pages: Mapping[int, Page]) -> None:
        rows = ((number, page.encode()) for number, page in pages.items())
        self._run_many("INSERT OR REPLACE INTO pages VALUES (?, ?)", rows)

    def put_tags(self, tags: Mapping[bytes, bytes]) -> None:
        self._run_many("INSERT OR IGNORE INTO tags VALUES (?, ?)", tags.items())

    def put_head(self, head: LoggedHead) -> None:
        self._run("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (head.head.encode(), head.index))


def subject_of(label: bytes, count: int, frontier: bytes) -> Subject:
    """A patient from its row."""
    hashes = tuple(frontier[start : start + HASH_BYTES] for start in range(0, len(frontier), HASH_BYTES))
    return Subject(label, count, hashes)


def bounds(prefix: bytes) -> tuple[bytes, bytes]:
    """The smallest and largest label under a prefix."""
    rest = LABEL_BYTES - len(prefix)
    return prefix + bytes(rest), prefix + b"\xff" * rest
