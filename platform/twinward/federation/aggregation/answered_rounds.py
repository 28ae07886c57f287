"""Which rounds of which studies a hospital answered, in one SQLite file: so that none is answered twice, whatever ends
the process or whoever asks.

An answer is written here, with the whole of what will be sent, *before* it is sent, in one transaction that is on disk
when it returns. Killed before, nothing had left and the round may be computed anew, with fresh noise; killed after,
the very bytes are there to be sent again. Of two processes that compute one round, one writes it and the other's
answer is thrown away. Only the newest answer of a study keeps its bytes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from twinward.core.errors import Unavailable
from twinward.federation.errors import RoundRefused
from twinward_ledger.storage import sqlite_files

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    study BLOB NOT NULL, round INTEGER NOT NULL, request BLOB NOT NULL, masked BLOB, PRIMARY KEY (study, round)
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class AnsweredRound:
    """The newest round that was answered in a study.

    Attributes:
        number: from 1.
        request: SHA-256 of what was asked: model, keys and round.
        masked: the answer, as it was sent or was about to be.
    """

    number: int
    request: bytes
    masked: bytes


class AnsweredRounds:
    """One hospital's memory of its answers. Safe to share between threads, and the file between processes.

    Raises:
        Unavailable: the file cannot be opened, read or written. Nothing is answered then.
    """

    def __init__(self, path: Path | str) -> None:
        """Open or create the file."""
        self._lock = threading.Lock()
        with _translated():
            self._connection = sqlite_files.connect(path)
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _SCHEMA):
                self._connection.execute(statement)

    def newest(self, study: bytes) -> AnsweredRound | None:
        """The newest round answered in the study of this fingerprint, None where there was none."""
        sql = "SELECT round, request, masked FROM answers WHERE study = ? ORDER BY round DESC LIMIT 1"
        with self._lock, _translated():
            row = self._connection.execute(sql, (study,)).fetchone()
        return None if row is None else AnsweredRound(*row)

    def keep(self, study: bytes, answer: AnsweredRound) -> None:
        """Write an answer down, on disk when this returns.

        Raises:
            RoundRefused: this round, or a later one, was answered before, by whatever process.
        """
        newer = "SELECT 1 FROM answers WHERE study = ? AND round >= ?"
        with self._lock, _translated(), self._transaction() as connection:
            if connection.execute(newer, (study, answer.number)).fetchone():
                raise RoundRefused(
                    f"round {answer.number} of this study was answered before", hint="a round is answered once"
                )
            connection.execute("UPDATE answers SET masked = NULL WHERE study = ?", (study,))
            row = (study, answer.number, answer.request, answer.masked)
            connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(
            "this hospital's memory of answered rounds cannot be used, so nothing is answered",
            hint="see to the disk and the permissions of studies.db in the hospital's home",
        ) from error
