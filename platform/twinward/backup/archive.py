"""The file a backup is: a plain, uncompressed tar (POSIX ustar) of the parts, and ``MANIFEST`` as its last member.

What is in it is sealed already, so compressing would gain nothing. It is written beside its final name and takes that
name only when it is whole and on the disk: a backup that was interrupted leaves nothing that looks like one.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from twinward.backup.errors import BackupDamaged, InTheWay
from twinward.backup.manifest import Manifest, Part
from twinward.core.private_files import sync_folder

MANIFEST = "MANIFEST"
MAX_MANIFEST_BYTES = 256 * 1024
_CHUNK = 1 << 20
Advance = Callable[[int], None]
"""Called with the bytes just done."""


class ArchiveWriter:
    """Writes a backup. Use ``writing``."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
        self.parts: list[Part] = []

    def add(
        self,
        path: Path,
        name: str,
        kind: str,
        *,
        roles: tuple[str, ...] = (),
        columns: tuple[str, ...] = (),
        advance: Advance | None = None,
    ) -> None:
        """Add a file that nobody has open."""
        size = path.stat().st_size
        with path.open("rb") as source:
            hashing = _Hashing(source, advance)
            self._tar.addfile(_member(name, size), hashing)
        self.parts.append(Part(name, kind, size, hashing.digest(), list(roles), list(columns)))

    def finish(self, note: bytes) -> None:
        """Write the signed manifest."""
        self._tar.addfile(_member(MANIFEST, len(note)), io.BytesIO(note))
        self._tar.close()


@contextmanager
def writing(path: Path) -> Iterator[ArchiveWriter]:
    """A backup in the making: whole, durable and under its name at the end of the block, or not there at all.

    Raises:
        InTheWay: there is a file of this name, or another process is writing it.
    """
    if path.exists():
        raise InTheWay(f"{path} is there already", hint="give another name: backups are not overwritten")
    partial = path.with_name(path.name + ".partial")
    with os.fdopen(_alone(partial, path), "wb") as file:  # the lock is held until the file has its name
        try:
            file.truncate()  # what an interrupted one left
            yield ArchiveWriter(file)
            file.flush()
            os.fsync(file.fileno())
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def _alone(partial: Path, path: Path) -> int:
    """A descriptor of what is being written, which no other process writes. Raises ``InTheWay``."""
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino != partial.stat().st_ino:
            raise FileNotFoundError(partial)  # it was finished, or given up, since it was opened
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise InTheWay(f"another backup is being written to {path}", hint="wait for it, or give another name") from None
    return descriptor


class ArchiveReader:
    """Reads a backup; everything it gives out was held against the manifest. Use ``reading``."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {one.name: one for one in tar.getmembers()}
        last = next(reversed(self._members.values()), None)
        if len(self._members) != len(tar.getmembers()) or last is None or last.name != MANIFEST:
            raise _cut_off()
        if not all(one.isreg() for one in self._members.values()) or last.size > MAX_MANIFEST_BYTES:
            raise BackupDamaged("this file is no backup")
        self.note = self._open(last).read()

    def require_whole(self, manifest: Manifest) -> None:
        """Raise ``BackupDamaged`` unless the archive has the manifest's parts, in their lengths, and nothing else."""
        found = {name: one.size for name, one in self._members.items() if name != MANIFEST}
        if found != {part.name: part.size_bytes for part in manifest.parts}:
            raise BackupDamaged("the backup does not hold what its manifest says", hint="take another backup")

    def copy(self, part: Part, to: Path, advance: Advance | None = None) -> None:
        """Write one part out. Raises ``BackupDamaged`` if it is not what was signed; do not use the file then."""
        to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            self._pour(part, file, advance)
            file.flush()
            os.fsync(file.fileno())

    def _pour(self, part: Part, to: BinaryIO, advance: Advance | None) -> None:
        source = _Hashing(self._open(self._members[part.name]), advance)
        while chunk := source.read(_CHUNK):
            to.write(chunk)
        if source.digest() != part.sha256:
            raise BackupDamaged(f"{part.name} in the backup is not what was signed", hint="take another backup")

    def _open(self, member: tarfile.TarInfo) -> BinaryIO:
        opened = self._tar.extractfile(member)
        if opened is None:
            raise _cut_off()
        return opened  # type: ignore[return-value]  # typed as IO[bytes]


@contextmanager
def reading(path: Path) -> Iterator[ArchiveReader]:
    """An archive, open. Raises ``BackupDamaged``: it is none, or cut off."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            yield ArchiveReader(tar)
    except (tarfile.TarError, EOFError):
        raise _cut_off() from None


class _Hashing:
    """A file read once from its beginning, hashed on the way."""

    def __init__(self, source: BinaryIO, advance: Advance | None) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self._advance = advance

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self._hash.update(chunk)
        if self._advance is not None:
            self._advance(len(chunk))
        return chunk

    def digest(self) -> str:
        return self._hash.hexdigest()


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    return member


def _cut_off() -> BackupDamaged:
    return BackupDamaged("this file is no backup, or it is cut off", hint="take another backup")
