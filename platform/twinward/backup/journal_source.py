"""The break-glass journal: what emergencies waited for the log at the moment that a backup shows.

It is read while the log is held still. What was brought into the log before stands in the log's copy, and nothing can
be brought in meanwhile; so each emergency is in the journal's copy, the log's, or both, and its replay appends what the
log lacks. A writer that adds to the journal just then leaves at most half a record at the end, which was not
acknowledged yet: whoever reads the journal cuts it off.
"""

from __future__ import annotations

from pathlib import Path

from twinward.audit.status import MAX_JOURNAL_BYTES
from twinward.backup.archive import ArchiveWriter
from twinward.backup.errors import CannotFreeze
from twinward.backup.manifest import PLAIN
from twinward.backup.sqlite_source import Progress


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
