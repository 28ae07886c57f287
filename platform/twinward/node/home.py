"""A node's home as a folder: what belongs to whom, taking it away, and its one server.

Whoever serves a home holds a lock that dies with its process, also by kill -9: a POSIX record lock (fcntl(2),
F_SETLK), not flock(2). Children do not inherit it, so a scoring process that outlives a killed server keeps nobody out.
Closing any descriptor of the file would drop it, so the server opens it nowhere else.

In the file the server says how far it followed what other processes did: a command that lets somebody leave a cohort
waits for that before it says that it is done.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import BadInput, Conflict

LOCK_FILE = "serving.lock"
"""In a home that was ever served. It holds the server's process id, and the moment up to which it followed others."""
RESTORED_FILE = "restored.json"
"""In a home that was restored and not put to work yet."""
CONTACT_WORK_LOCK = "contact-work.lock"
"""In a node's home; it holds nothing: one process at a time tells patients of an approved study."""
COHORT_LIFE_LOCK = "cohort-life.lock"
STUDY_READING_LOCK = "study-reading.lock"
"""In the home of each hospital that reads patients for studies."""
"""In a node's home; it holds nothing: one process at a time decides about the snapshot."""
_MAX_BYTES = 64
FOLLOWED_WITHIN_S = 30.0
LEAST_FREE_BYTES = 2 << 30
_LOOK_AGAIN_S = 0.02
_served_here: set[Path] = set()
"""Homes that this process serves."""
_PROBES_OUTWAITED = 5


@dataclass(frozen=True)
class Serving:
    """The one server of a home."""

    descriptor: int

    def followed(self, moment_ns: int) -> None:
        """Say that what other processes did before a ``moment`` is followed."""
        os.pwrite(self.descriptor, f"{os.getpid():>20} {moment_ns:>20}".encode(), 0)


def moment() -> int:
    """Now, in nanoseconds since the machine started: the same for all of its processes, and never set back."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def await_followed(home: Path, since_ns: int, *, within_s: float = FOLLOWED_WITHIN_S) -> bool:
    """Wait until the server of a home has followed what was done before a moment; at once where nobody serves it.

    Not for the server's own process: looking would drop its lock.

    Returns:
        False where it has not, within that time.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            require_not_served(home)
        except Conflict:
            pass
        else:
            return True
        words = (home / LOCK_FILE).read_bytes()[:_MAX_BYTES].split()
        if len(words) == 2 and words[1].isdigit() and int(words[1]) >= since_ns:
            return True
        time.sleep(_LOOK_AGAIN_S)
    return False


@contextmanager
def serving(home: Path) -> Iterator[Serving]:
    """Be the one server of a home.

    Raises:
        Conflict: another process serves it.
        BadInput: the home cannot be written.
    """
    _require_not_own(home)
    descriptor = _open(home / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    _served_here.add(home.resolve())
    try:
        for _ in range(_PROBES_OUTWAITED):  # somebody who only looks holds it for a moment
            with suppress(Conflict):
                _take(descriptor, home, fcntl.LOCK_EX)
                break
            time.sleep(_LOOK_AGAIN_S)
        else:
            _take(descriptor, home, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        held = Serving(descriptor)
        held.followed(0)
        yield held
    finally:
        _served_here.discard(home.resolve())
        os.close(descriptor)


def require_not_served(home: Path) -> None:
    """Raise ``Conflict`` while a process serves a home. For what would take it away from under the server."""
    _require_not_own(home)
    if not (home / LOCK_FILE).exists():
        return
    descriptor = _open(home / LOCK_FILE, os.O_RDONLY)
    try:
        _take(descriptor, home, fcntl.LOCK_SH)  # shared: who looks is not taken for a server by others who look
    finally:
        os.close(descriptor)


def is_served(home: Path) -> bool:
    """Whether a process serves a home, this one or another."""
    try:
        require_not_served(home)
    except Conflict:
        return True
    return False


def free_bytes(home: Path) -> int:
    """How much room is left where a home is."""
    return shutil.disk_usage(home).free


def is_nearly_full(home: Path) -> bool:
    """Whether so little room is left that soon nothing can be logged."""
    return free_bytes(home) < LEAST_FREE_BYTES


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BadInput(f"{path} cannot be opened: {error.strerror}", hint="is the home yours to write?") from None


def _require_not_own(home: Path) -> None:
    """The server's own process opens the lock's file no second time: closing that would drop its lock (POSIX)."""
    if home.resolve() in _served_here:
        raise Conflict(f"{home} is being served by this process", hint="stop that server first")


def _take(descriptor: int, home: Path, kind: int) -> None:
    try:
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        words = os.pread(descriptor, _MAX_BYTES, 0).decode("ascii", "replace").split()
        by = f" by process {words[0]}" if words and words[0].isdigit() else ""
        raise Conflict(f"{home} is being served{by}", hint="stop that server first, or give another --home") from None


def remove_node(home: Path) -> None:
    """Delete a node's home, if it is one: a folder that is not empty and holds no ``twinward.toml`` is left alone.

    Raises:
        Conflict: it is no node's home, or a process serves it.
    """
    if not home.exists():
        return
    if any(home.iterdir()) and not (home / FILE_NAME).is_file():
        raise Conflict(f"{home} is not a node's home and is not touched", hint="give another --home")
    require_not_served(home)
    shutil.rmtree(home)


def tighten(home: Path) -> None:
    """Close a home to everybody but its owner, as it was made: one that was opened since tells names, sizes and times.

    A home on a read-only disk stays as it is.

    Raises:
        BadInput: it belongs to somebody else and is open to others.
    """
    status = home.stat()
    if not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return
    try:
        home.chmod(stat.S_IRWXU)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise BadInput(f"{home} is open to others, and not yours to close", hint=f"chmod 700 {home}") from None


def empty(folder: Path) -> None:
    """Delete everything in a folder, but not the folder."""
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()


def home_of(settings: Settings, name: str) -> Path:
    """The folder of a member of an embedded consortium: this node's own, or one in ``peers/``."""
    return settings.home if name == settings.tenant else settings.home / "peers" / name
