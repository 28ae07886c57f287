"""Accounts on SQLite: a row each, in one truth for every process, and none that this node did not write.

Each row is vouched for under the hospital's key, and the log records how far the store has come (``vouched_store``):
whoever can write the file makes nobody a clinician, brings no revoked token back and lets no account disappear. A row
that nobody vouches for is no account; one that was altered, or a file that is older, is ``StoreAltered``.

When officers last looked and when tokens were last used are notes beside them, which decide nothing.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from twinward.access.account_record import AccountRecord, TokenRecord
from twinward.access.vouched_store import Row, VouchedStore, Writer
from twinward.audit.interfaces import EventKeys, HeadTrail
from twinward.audit.models import Head
from twinward.core.errors import Conflict, NotFound, Unavailable
from twinward.core.vocabulary import Role
from twinward_crypto.kdf import length_prefixed
from twinward_ledger.storage import sqlite_files

STORE: Final = "accounts"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS account_record (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS visit"
    " (account TEXT PRIMARY KEY, size INTEGER NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS used (account TEXT NOT NULL, token INTEGER NOT NULL, day INTEGER NOT NULL,"
    " PRIMARY KEY (account, token)) WITHOUT ROWID",
)
Check = Callable[[AccountRecord, Iterator[AccountRecord]], None]
"""Raises where an account may not be changed, in view of it and of all others."""

_FIND = "SELECT record FROM account_record WHERE id = ?"
_PUT = "INSERT OR REPLACE INTO account_record VALUES (?, ?)"
_BUSY_S = 10.0


class AccountStore:
    """The rows of one node's accounts. Safe to share between threads and processes.

    Args:
        path: the file.
        keys: whose tenant key vouches for the rows.
        heads: the log's record of how far the store has come; None keeps none.
        now_ms: when what an earlier release kept is taken over, if there is any.
        adopts: whether rows that nothing vouches for may be an earlier release's; else they are somebody else's.

    Attributes:
        taken_over: whether the file was of an earlier release, and had no chain.
    """

    def __init__(
        self, path: Path, keys: EventKeys, heads: HeadTrail | None, now_ms: int, *, adopts: bool = True
    ) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, tuple[bytes, AccountRecord]] = {}
        try:
            self._notes = _connect(path, 0)  # a note of use waits for nobody
            with closing(_connect(path, _BUSY_S)) as file:
                self.taken_over = _brought_up_to_date(file, now_ms)
        except sqlite3.Error as error:
            raise Unavailable(f"the {STORE} store cannot be opened: {error}") from error
        self._store = VouchedStore(path, STORE, _SCHEMA, keys, heads, adopt=_rows, adopts=adopts)

    def find(self, account: str) -> AccountRecord | None:
        """An account as it is now, whoever changed it last. Raises ``StoreAltered``, ``Unavailable``."""
        digest = self._store.newest(account)
        if not digest:
            return None
        known = self._records.get(account)
        if known is None or known[0] != digest:
            known = self._read(account)
        return None if known is None else known[1]

    def all(self) -> list[AccountRecord]:
        """Every account, by id. Raises as ``find``."""
        names = sorted({name for name, _ in self._store.verify()})
        return [record for record in map(self.find, names) if record is not None]

    def add(self, record: AccountRecord, announce: Callable[[], None]) -> None:
        """Add an account once ``announce`` has returned. Raises ``Conflict`` where there is one of that id."""
        with self._store.writing() as writer:
            if writer.newest(record.id):
                raise Conflict(f"there is an account {record.id!r} already")
            announce()
            _put(writer, record)

    def change(
        self,
        account: str,
        changed: Callable[[AccountRecord], AccountRecord],
        announce: Callable[[AccountRecord], None],
        check: Check | None = None,
    ) -> AccountRecord:
        """Change an account, as it is now, once ``announce`` has returned. Raises ``NotFound``, and as ``find``.

        ``check`` sees the account and all others before that, while nobody else can change any.
        """
        with self._store.writing() as writer:
            digest = writer.newest(account)
            if not digest:
                raise NotFound(f"there is no account {account!r}", hint="`twinward account list` prints all")
            found = self._parsed(account, writer.db.execute(_FIND, (account,)).fetchone(), digest)
            if check is not None:
                check(found, self._others(writer, account))
            record = changed(found)
            announce(record)
            _put(writer, record)
        return record

    def visit(self, account: str, size: int, at_ms: int) -> tuple[int, int]:
        """Note that somebody has seen the log up to ``size``; return (size, at_ms) of the time before."""
        with self._noting() as notes:
            found = notes.execute("SELECT size, at_ms FROM visit WHERE account = ?", (account,)).fetchone()
            notes.execute("INSERT OR REPLACE INTO visit VALUES (?, ?, ?)", (account, size, at_ms))
        return (0, 0) if found is None else (int(found[0]), int(found[1]))

    def note_use(self, account: str, token: int, day: int) -> bool:
        """Note on which day something was last used, if nobody is writing just now; whether it was noted."""
        with suppress(sqlite3.Error):
            self._notes.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?)", (account, token, day))
            return True
        return False

    def used(self) -> dict[tuple[str, int], int]:
        """The day (since the epoch) on which each token was last used; 0 stands for the password."""
        with self._noting() as notes:
            rows = notes.execute("SELECT account, token, day FROM used").fetchall()
        return {(str(account), int(token)): int(day) for account, token, day in rows}

    def verify(self, recorded: Head | None = None) -> int:
        """Hold every row against the chain, and the chain against the log. Returns how many changes there were.

        Args:
            recorded: a head that is known to stand in the log.

        Raises:
            StoreAltered: a row or a change was altered, added, taken away or turned back.
        """
        changes = self._store.verify(recorded)
        with self._store.reading() as reader:
            found = dict(_rows(reader.db))
        if found != dict(changes):  # the newest change of each; no account is ever deleted
            raise self._store.altered("rows are missing, altered or were added")
        return len(changes)

    def close(self) -> None:
        """Give back the file."""
        self._notes.close()
        self._store.close()

    def _read(self, account: str) -> tuple[bytes, AccountRecord] | None:
        with self._store.reading() as reader:
            digest = reader.newest(account)
            if not digest:
                return None
            record = self._parsed(account, reader.db.execute(_FIND, (account,)).fetchone(), digest)
        with self._lock:
            self._records[account] = digest, record
        return digest, record

    def _others(self, writer: Writer, account: str) -> Iterator[AccountRecord]:
        for name, record in writer.db.execute("SELECT id, record FROM account_record WHERE id <> ?", (account,)):
            if digest := writer.newest(name):
                yield self._parsed(name, (record,), digest)

    def _parsed(self, account: str, row: tuple[str] | None, digest: bytes) -> AccountRecord:
        """The record of a row that is vouched for by this digest. Raises ``StoreAltered``."""
        if row is None or not isinstance(row[0], str) or _digest(account, row[0]) != digest:
            raise self._store.altered("a row is not the one that was written last")
        record = AccountRecord.model_validate_json(row[0])
        if record.role is Role.NODE:  # taken over from a file that somebody had written to
            raise self._store.altered("an account acts as the node itself")
        return record

    @contextmanager
    def _noting(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._notes
        except sqlite3.Error as error:
            raise Unavailable(f"the {STORE} store cannot be read: {error}") from error


def _put(writer: Writer, record: AccountRecord) -> None:
    text = record.model_dump_json()
    writer.db.execute(_PUT, (record.id, text))
    writer.note(record.id, _digest(record.id, text))


def _digest(account: str, record: str) -> bytes:
    return hashlib.sha256(length_prefixed(account.encode(), record.encode())).digest()


def _rows(db: sqlite3.Connection) -> Iterator[Row]:
    """What is there, to be vouched for where no chain was begun yet."""
    for name, record in db.execute("SELECT id, record FROM account_record ORDER BY id").fetchall():
        yield str(name), _digest(str(name), str(record))


def _brought_up_to_date(db: sqlite3.Connection, now_ms: int) -> bool:
    """Bring the rows of an earlier release into today's form; whether the file has rows and no chain.

    Where a chain was begun, a table of the old form was made by somebody else, and is not looked at.
    """
    if _has(db, "change"):
        return False
    for statement in _SCHEMA:
        db.execute(statement)
    if _has(db, "account"):
        db.execute("BEGIN IMMEDIATE")
        _convert(db, now_ms)
        db.execute("DROP TABLE account")
        db.execute("COMMIT")
    return db.execute("SELECT 1 FROM account_record LIMIT 1").fetchone() is not None


def _has(db: sqlite3.Connection, table: str) -> bool:
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    return found is not None


def _convert(db: sqlite3.Connection, now_ms: int) -> None:
    """The form before this one: a table ``account``, with a password or one token a row."""
    for name, role, called, unit, password, token, size, at_ms in db.execute("SELECT * FROM account").fetchall():
        record = AccountRecord(
            id=name,
            role=role,
            name=called,
            unit=unit,
            password=password,
            password_at_ms=now_ms if password else 0,
            tokens=(TokenRecord(number=1, sha256=bytes(token).hex(), made_at_ms=now_ms),) if token else (),
        )
        db.execute(_PUT, (name, record.model_dump_json()))
        if size:
            db.execute("INSERT OR REPLACE INTO visit VALUES (?, ?, ?)", (name, size, at_ms))


def _connect(path: Path, timeout_s: float) -> sqlite3.Connection:
    db = sqlite_files.connect(path, timeout_s=timeout_s)
    db.execute("PRAGMA journal_mode = WAL")
    return db
