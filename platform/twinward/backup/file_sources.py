"""What a backup reads from files: live SQLite files, and the break-glass journal.

An SQLite file is held still, then copied with SQLite's own backup API.

The file is never opened by any other means: closing a descriptor of it would drop the locks that connections of this
process hold (sqlite.org/howtocorrupt.html, 2.2). The copy is made from a read transaction that is open before writers
go on, so it shows that one moment however long it takes (sqlite.org/isolation.html; WAL).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from twinward.audit.status import MAX_JOURNAL_BYTES
from twinward.backup.archive import ArchiveWriter
from twinward.backup.errors import BackupDamaged, CannotFreeze
from twinward.backup.manifest import PLAIN, SQLITE
from twinward_ledger.storage import sqlite_files

HOLD_TIMEOUT_S = 0.1
"""Short: whoever holds one file and waits for another must not wait for us for long."""
PAGES_AT_ONCE = 1024
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and of how much."""


class SqliteSource:
    """One file of the home."""

    def __init__(self, path: Path, name: str, roles: tuple[str, ...]) -> None:
        """Connect. ``name`` is its path in the home."""
        self.name = name
        self.roles = roles
        self._path = path
        with _translated(path):
            self._holder = _connect(path, HOLD_TIMEOUT_S)
            self._reader = _connect(path, HOLD_TIMEOUT_S)

    def hold(self) -> None:
        """Keep writers out. Raises ``CannotFreeze`` if one is at work."""
        with _translated(self._path):
            self._holder.execute("BEGIN IMMEDIATE")

    def pin(self) -> None:
        """Fix the moment that will be copied."""
        with _translated(self._path):
            self._reader.execute("BEGIN")
            self._reader.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def release(self) -> None:
        """Let writers go on."""
        with _translated(self._path):
            if self._holder.in_transaction:
                self._holder.execute("ROLLBACK")

    def refuse_writers(self, because: str) -> None:
        """In place of the hold: who has the file open fails at the next change, for good. Nothing in it changes."""
        with _translated(self._path):
            tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
            for (name,) in self._holder.execute(tables).fetchall():
                for change in ("INSERT", "UPDATE", "DELETE"):
                    self._holder.execute(
                        f'CREATE TRIGGER "closed {name} {change}" BEFORE {change} ON "{name}" '
                        f"BEGIN SELECT RAISE(ABORT, '{because}'); END"
                    )
            self._holder.execute("COMMIT")

    def unpin(self) -> None:
        """Give the moment up, to try again."""
        with _translated(self._path):
            if self._reader.in_transaction:
                self._reader.execute("ROLLBACK")

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What the moment shows."""
        with _translated(self._path):
            return self._reader.execute(sql).fetchall()

    def save(self, archive: ArchiveWriter, staging: Path, progress: Progress) -> None:
        """Copy the moment into the archive."""
        copy = staging / "copy.db"
        with _translated(self._path), closing(sqlite3.connect(copy)) as target:
            target.execute("PRAGMA synchronous = OFF")  # the archive itself is made durable

            def advance(_status: int, remaining: int, total: int) -> None:
                progress(self.name, total - remaining, total)

            self._reader.backup(target, pages=PAGES_AT_ONCE, progress=advance)
        archive.add(copy, self.name, SQLITE, roles=self.roles)
        for one in staging.glob("copy.db*"):
            one.unlink()

    def close(self) -> None:
        """Give back the connections."""
        self._holder.close()
        self._reader.close()


def copy_file(source: Path, to: Path) -> None:
    """Copy a SQLite file that others may have open. Raises ``CannotFreeze``."""
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _translated(source), closing(_connect(source, HOLD_TIMEOUT_S)) as reader, closing(sqlite3.connect(to)) as copy:
        reader.backup(copy)
    to.chmod(0o600)


def require_sound(path: Path) -> None:
    """Raise ``BackupDamaged`` unless a SQLite file is whole and consistent in itself."""
    try:
        with closing(_connect(path, HOLD_TIMEOUT_S)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error:
        found = None
    if found != ("ok",):
        raise BackupDamaged(f"{path.name} in the backup is no sound database", hint="take another backup")


def is_in_use(path: Path) -> bool:
    """Whether any connection, of whatever process, has the file open."""
    try:
        with closing(_connect(path, HOLD_TIMEOUT_S)) as connection:
            # In WAL mode this asks for the file itself, which every open connection holds a share of.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    except sqlite3.Error:
        return False  # no database any more: nobody can be using it
    return False


def _connect(path: Path, timeout_s: float) -> sqlite3.Connection:
    return sqlite_files.connect(path, timeout_s=timeout_s, mode="rw")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise CannotFreeze(f"{path.name} cannot be copied: {error}", hint="try again; look at the disk") from error


class JournalSource:
    """The journal in a home, if an emergency ever made one."""

    roles: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        """Nothing is read yet. ``path`` need not be there."""
        self.name = path.name
        self._path = path
        self._content = b""

    def hold(self) -> None:
        """Nothing: emergencies are never kept waiting."""

    def pin(self) -> None:
        """Read it, at most as much as a journal can hold. Raises ``CannotFreeze``."""
        try:
            with self._path.open("rb") as file:
                self._content = file.read(MAX_JOURNAL_BYTES)
        except FileNotFoundError:
            self._content = b""
        except OSError as error:
            raise CannotFreeze(f"{self.name} cannot be read: {type(error).__name__}") from error

    def release(self) -> None:
        """Nothing was held."""

    def unpin(self) -> None:
        """Forget what was read."""
        self._content = b""

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """None: it has no tables."""
        del sql
        return []

    def save(self, archive: ArchiveWriter, staging: Path, progress: Progress) -> None:
        """Put what was read into the archive; nothing where there was nothing."""
        if not self._content:
            return
        copy = staging / "copy.journal"
        copy.write_bytes(self._content)
        progress(self.name, len(self._content), len(self._content))
        archive.add(copy, self.name, PLAIN)
        copy.unlink()

    def close(self) -> None:
        """Nothing is open."""
