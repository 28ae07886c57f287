"""Making a backup of a node that may be running: freeze for a moment, then copy that moment."""

from __future__ import annotations

import glob
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from twinward import __version__
from twinward.backup.archive import ArchiveWriter, writing
from twinward.backup.errors import CannotFreeze, SourceLost
from twinward.backup.file_sources import JournalSource, Progress, SqliteSource
from twinward.backup.manifest import PLAIN, Manifest, sign
from twinward.consortium.identity import Identity
from twinward.consortium.witness.split_views import EVIDENCE_FOLDER
from twinward.core.clock import Clock
from twinward.core.config import (
    ANSWERS_FILE,
    BREACHES_LOCK,
    CONDITIONS_LOCK,
    CONTACTS_LOCK,
    EMERGENCIES_LOCK,
    ERASURE_WORK_LOCK,
    ERASURES_LOCK,
    FILE_NAME,
    FOLLOW_UP_LOCK,
    JOURNAL_FILE,
    POLICY_FILE,
    WRITING_LOCK,
    Settings,
)
from twinward.core.errors import BadInput, NotFound, Unavailable
from twinward.core.private_files import UNFINISHED
from twinward.node.code_list import CODE_LIST_FILE, VALUE_SETS_FOLDER
from twinward.node.home import COHORT_LIFE_LOCK, CONTACT_WORK_LOCK, LOCK_FILE, STUDY_READING_LOCK
from twinward.node.last_backup import LAST_BACKUP, LastBackup, note_backup
from twinward.node.restored_home import MARK

ELSEWHERE = "elsewhere"
KEYS = "keys"
_PLAIN = frozenset({FILE_NAME, POLICY_FILE, "consortium.json", CODE_LIST_FILE})
_SEALED = ".sealed"
_OF_FOLDER = {
    EVIDENCE_FOLDER: (".split-view",),
    "models": (".model", ".card.json"),
    "approvals": (".json",),
    VALUE_SETS_FOLDER: (".json",),
}
"""By a folder of the home or of a hospital in it, the files of it that are no secret and cannot be made again."""
_NONE: tuple[str, ...] = ()
_DATABASE = ".db"
_SQLITE = "sqlite:"
_SERVERS = ("postgresql://", "postgres://")
_OF_SQLITE = ("-wal", "-shm", "-journal")
_OF_JOURNAL = frozenset({JOURNAL_FILE, f"{JOURNAL_FILE}.lock"})
_OF_NO_WORTH = frozenset(
    {
        LOCK_FILE,
        COHORT_LIFE_LOCK,
        CONTACT_WORK_LOCK,
        STUDY_READING_LOCK,
        BREACHES_LOCK,
        CONTACTS_LOCK,
        ERASURES_LOCK,
        ERASURE_WORK_LOCK,
        EMERGENCIES_LOCK,
        FOLLOW_UP_LOCK,
        WRITING_LOCK,
        CONDITIONS_LOCK,
        MARK,
        LAST_BACKUP,
    }
)
_ATTEMPTS = 60
_PAUSE_S = 0.05
_BEGUN_ANEW_AFTER_S = (0.5, 2.0, 8.0)
"""How long to wait before a backup whose connection broke begins anew: a server that restarts is back by then."""
_STAGING = ".copying"
CHAIN_KEY = ".db.key"
"""What signs the blocks of an embedded chain. Key material, so never in a backup."""


class Source(Protocol):
    """A database that can be held still and copied."""

    name: str
    roles: tuple[str, ...]

    def hold(self) -> None:
        """Keep writers out."""
        ...

    def pin(self) -> None:
        """Fix the moment that will be copied."""
        ...

    def release(self) -> None:
        """Let writers go on."""
        ...

    def unpin(self) -> None:
        """Give the moment up."""
        ...

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """What the moment shows."""
        ...

    def save(self, archive: ArchiveWriter, staging: Path, progress: Progress) -> None:
        """Copy the moment into the archive."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made."""

    path: Path
    size_bytes: int
    manifest: Manifest


def make_backup(
    settings: Settings,
    identity: Identity,
    clock: Clock,
    to: Path,
    progress: Progress,
    *,
    beside: Callable[[], None] = lambda: None,
) -> Made:
    """Back a node up into one file. The key service is not in it: see ``key_folders``.

    Args:
        settings: the node's.
        identity: its keys: they sign the manifest.
        clock: says when.
        to: the file to be; a name that is free.
        progress: told what is copied.
        beside: writes what belongs to it, when all is copied and before the file takes its name: once that is there,
            so is everything.

    Raises:
        NotFound: there is no node.
        InTheWay: the name is taken, or another backup is being written to it.
        CannotFreeze: a database was busy all along; try again.
        SourceLost: a connection broke, and broke again each time that the backup began anew.
        BadInput, Unavailable: its folder is not there, or it cannot be written; a database does not answer. Nothing is
            left behind.
    """
    if not (settings.home / FILE_NAME).is_file():
        raise NotFound(f"there is no node in {settings.home}")
    require_folder(to.parent)
    for pause_s in (*_BEGUN_ANEW_AFTER_S, None):
        try:
            manifest = _write(settings, identity, clock, to, progress, beside)
            note_backup(settings.home, LastBackup(manifest.made_at_ms, manifest.log_size, tuple(manifest.keks)))
            return Made(to, to.stat().st_size, manifest)
        except SourceLost as error:  # its moment is gone, so nothing of it can be gone on with
            if pause_s is None:
                raise
            progress(f"begins anew: {error}", 0, 0)
            time.sleep(pause_s)
        except OSError as error:
            raise BadInput(f"{to} cannot be written: {error.strerror or type(error).__name__}") from None
    raise AssertionError("the last attempt returns or raises")


def require_folder(folder: Path) -> None:
    """Raise ``BadInput`` unless it is there: made anew where a disk is not mounted, it would fill the node's own."""
    if not folder.is_dir():
        hint = f"mount it, or make it: mkdir -p {folder}; a backup makes none, lest it fill the disk below a mount"
        raise BadInput(f"there is no folder {folder}", hint=hint)


def _write(
    settings: Settings, identity: Identity, clock: Clock, to: Path, progress: Progress, beside: Callable[[], None]
) -> Manifest:
    """One attempt: whole, or nothing is left."""
    with (
        writing(to) as archive,
        _staging(to) as staging,
        _frozen(_sources(settings)) as sources,
    ):
        made_at_ms = clock.now_ms()
        for source in sources:
            source.save(archive, staging, progress)
        kept, left_out = _files(settings.home)
        for file in kept:
            archive.add(file, file.relative_to(settings.home).as_posix(), PLAIN)
        manifest = _manifest(settings, sources, archive, left_out, made_at_ms)
        archive.finish(sign(manifest, identity.backup_signer(settings.origin)))
        beside()
    return manifest


def _sources(settings: Settings) -> list[Source]:
    """Every database of the node, connected; records, keyring and log first. Then what waits for the log."""
    uris = settings.databases
    by_uri: dict[str, tuple[str, ...]] = {}
    for role, uri in uris.items():
        by_uri[uri] = (*by_uri.get(uri, ()), role)
    opened: list[Source] = []
    with ExitStack() as undo:
        seen: set[Path] = set()
        for uri, roles in by_uri.items():
            name = f"pg/{roles[0]}"
            if uri.startswith(_SQLITE):
                path = Path(uri.removeprefix(_SQLITE))
                seen.add(path.resolve())
                name = _name_of(settings.home, path, roles[0])
            source = _source(uri, name, roles)
            undo.callback(source.close)
            opened.append(source)
        for path in sorted(settings.home.rglob(f"*{_DATABASE}")):
            if path.resolve() not in seen and not _stays(path.relative_to(settings.home)):
                source = SqliteSource(path, path.relative_to(settings.home).as_posix(), ())
                undo.callback(source.close)
                opened.append(source)
        opened.append(JournalSource(settings.home / JOURNAL_FILE))
        undo.pop_all()
    return opened


def rows_of(uri: str, query: str) -> list[tuple[object, ...]]:
    """What a database says now. Nothing is laid or upgraded in it. Raises ``Unavailable``."""
    source = _source(uri, "", ())
    try:
        return source.rows(query)
    finally:
        source.close()


def _source(uri: str, name: str, roles: tuple[str, ...]) -> Source:
    """A database, connected. Raises ``Unavailable``, also for a kind of which no backup is known."""
    if uri.startswith(_SQLITE):
        return SqliteSource(Path(uri.removeprefix(_SQLITE)), name, roles)
    if not uri.startswith(_SERVERS):
        raise Unavailable(
            "a database that the settings name is of a kind that cannot be backed up",
            hint="back it up with its own tools, at the same moment as the rest",
        )
    from twinward.backup.postgres_source import PostgresSource

    return PostgresSource(uri, name, roles)


def _name_of(home: Path, path: Path, role: str) -> str:
    if path.resolve().is_relative_to(home.resolve()):
        return path.resolve().relative_to(home.resolve()).as_posix()
    return f"{ELSEWHERE}/{role}{_DATABASE}"


@contextmanager
def _frozen(sources: list[Source]) -> Iterator[list[Source]]:
    """The sources at one moment. All writers are held for as long as it takes to fix it, and no longer."""
    try:
        for attempt in range(_ATTEMPTS):
            try:
                for source in sources:
                    source.hold()
                for source in sources:
                    source.pin()
            except CannotFreeze:
                for source in sources:
                    source.release()
                    source.unpin()
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_PAUSE_S)
                continue
            for source in sources:
                source.release()
            break
        yield sources
    finally:
        for source in sources:
            source.close()


def _manifest(
    settings: Settings, sources: Sequence[Source], archive: ArchiveWriter, left_out: list[str], made_at_ms: int
) -> Manifest:
    of = {role: source for source in sources for role in source.roles}
    prefix = "" if isinstance(of["log"], SqliteSource) else "log_"
    size = of["log"].rows(f"SELECT size FROM {prefix}head")  # noqa: S608 - a constant
    notes = of["log"].rows(f"SELECT note FROM {prefix}checkpoints ORDER BY size DESC LIMIT 1")  # noqa: S608 - as above
    keks = _keks_in(of["keyring"])
    numbers = [int(row[0]) for row in size + keks if isinstance(row[0], int)]
    if len(numbers) != len(keks) + 1:
        raise Unavailable("the log's head or the keyring cannot be read", hint="twinward audit verify")
    note = notes[0][0] if notes else b""
    return Manifest(
        tenant=settings.tenant,
        origin=settings.origin,
        made_at_ms=made_at_ms,
        made_by=__version__,
        log_size=numbers[0],
        checkpoint=bytes(note).decode() if isinstance(note, bytes) else "",
        keks=numbers[1:],
        parts=archive.parts,
        left_out=left_out,
    )


def _keks_in(keyring: Source) -> list[tuple[object, ...]]:
    """The KEK versions that wrap a twin's key or a wrapping key, ascending: what a restore needs."""
    found = "sqlite_master WHERE name" if isinstance(keyring, SqliteSource) else "pg_tables WHERE tablename"
    if not keyring.rows(f"SELECT 1 FROM {found} = 'wrapping_key'"):  # noqa: S608 - constants
        return keyring.rows("SELECT DISTINCT kek_version FROM wrapped_twin_key ORDER BY 1")  # not opened since
    direct = "SELECT kek_version FROM wrapped_twin_key WHERE wrapping_key = 0"
    return keyring.rows(f"{direct} UNION SELECT kek_version FROM wrapping_key ORDER BY 1")  # noqa: S608 - constants


def _files(home: Path) -> tuple[list[Path], list[str]]:
    """The plain files a backup takes, and what it leaves out: keys, and anything unknown, for it may not be sealed."""
    kept: list[Path] = []
    left: set[str] = set()
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home)
        if _stays(name):
            if name.name in (KEYS, ANSWERS_FILE):
                left.add(name.as_posix())
        elif not path.is_file() or path.suffix == _DATABASE or path.name.endswith(_OF_SQLITE):
            continue
        elif name.as_posix() in _OF_JOURNAL:
            continue  # it was copied with the databases
        elif name.as_posix() in _OF_NO_WORTH or path.suffix == UNFINISHED:
            continue
        elif (
            path.name in _PLAIN or path.suffix == _SEALED or path.name.endswith(_OF_FOLDER.get(name.parent.name, _NONE))
        ):
            kept.append(path)
        else:
            left.add(name.as_posix())
    return kept, sorted(left)


def _stays(name: Path) -> bool:
    """Whether a file never leaves the home in a backup: it is or holds keys, or it must not be turned back."""
    return KEYS in name.parts or name.name == ANSWERS_FILE


@contextmanager
def _staging(to: Path) -> Iterator[Path]:
    """A private folder beside the backup: one copied database at a time passes through it.

    What a killed backup to this name left goes first: that none is at work is known by the lock on what it writes.
    """
    for left in to.parent.glob(f".{glob.escape(to.name)}.*{_STAGING}"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{to.name}.", suffix=_STAGING, dir=to.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
