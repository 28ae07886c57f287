"""What the ledger is held against: a log that is a table, every commit on the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.benchmarks.harness import Figure, Ratio, Row, Samples, Target, percentile, raw_of

BODY_BYTES = 800
"""About what a sealed event takes; the plain insert writes as much."""

PLAIN = "plain SQLite insert"


def plain_log(path: Path) -> sqlite3.Connection:
    """A log that is a table: one row an event, WAL, every commit on the disk."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE log (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL, body BLOB NOT NULL)")
    return connection


def insert(connection: sqlite3.Connection, count: int) -> None:
    """Rows of an event's size in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    rows = [(b"l" * 38, b"b" * BODY_BYTES)] * count
    connection.executemany("INSERT INTO log (leaf, body) VALUES (?, ?)", rows)
    connection.execute("COMMIT")


def single_calls(work: str, samples: dict[str, Samples], ours: str, *, note: str) -> list[Row]:
    """Two rows of single calls against plain inserts: the median, and the 99th percentile with the design's target."""
    rows = []
    for share, target in ((0.5, None), (0.99, Target("p99 ≤100 ms", "value", "most", 100))):
        mine, base = (percentile(samples[name].wall_s, share) for name in (ours, PLAIN))
        rows.append(
            Row(
                f"{work}, p{100 * share:.0f}, {note}",
                Figure(mine * 1e3, "ms"),
                Figure(base * 1e3, "ms"),
                f"{PLAIN}, p{100 * share:.0f}",
                Ratio(mine / base, "times"),
                target,
                raw_of(samples[ours], samples[PLAIN]),
            )
        )
    return rows
