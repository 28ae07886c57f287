"""What ``node status`` found last, kept sealed in the home: shown again, as of then, while nothing there has changed.

Asking a node how it stands loads all that it is made of, an Ethereum machine among it, for an answer that is mostly the
last one. So the answer is kept with the state of every file that it came from: where it is, its inode, its size, when
it was written and when anything of it was changed (``ctime``, which no program can set). It is shown again only if

* it is at most ten minutes old, of the same day, and not of the future;
* it opens under this home's keys: whoever alters it has none;
* the release and every setting are what they were, where the home is and those of the environment included;
* each file of the home is what it was, and so is each file that a setting names: whatever another process did, on the
  chain or anywhere, the node is asked anew;
* the home is served, or not, as it was, there is room on its disk, and it is not a restored one.

It is kept only where all that the answer rests on lies in the home (not with a database server, another chain or key
service) and where nothing changed while the node was asked. A file that was changed within the last moment may be
changed again without its times telling, so it keeps an answer from being kept (as in git, ``racy-git``). In any doubt
the node is asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from twinward import __version__
from twinward.core.config import Settings
from twinward.core.errors import TwinwardError
from twinward.core.private_files import UNFINISHED, write_private
from twinward.node.errors import translated
from twinward.node.home import LOCK_FILE, RESTORED_FILE, is_nearly_full, is_served
from twinward.node.key_service import own_keys
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import CryptoError
from twinward_crypto.keys import TenantId

NOTE_FILE: Final = "status.sealed"
AGREED_FILE: Final = "agreed.sealed"
"""What the contracts alone said last: see ``agreed_note``."""
SEED: Final = b"twinward/status-note/1"
"""Separates the key that seals it from all others of the hospital (``consortium.identity``)."""
OLDEST_MS: Final = 600_000
JUST_NOW_NS: Final = 50_000_000
"""A file system tells times no finer than the kernel's tick, 10 ms at most."""
MOST_FILES: Final = 10_000
_MOST_BYTES: Final = 1 << 20
DAY_MS: Final = 86_400_000


class _NotKept(Exception):
    """Why no answer is kept of this home, or none is shown."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer rests on: two are equal where nothing in between can have changed it.

    Attributes:
        release: of Twinward.
        settings: a digest of all.
        files: a digest of the state of every file.
        served: whether another process serves the home.
        changed_ns: when the file that was changed last was.
    """

    release: str
    settings: str
    files: str
    served: bool
    changed_ns: int

    @classmethod
    def of(cls, settings: Settings) -> Basis | None:
        """As it is now; None where answers are not kept. Looks, and opens nothing."""
        home = settings.home
        try:
            if not _lies_in_home(settings) or is_nearly_full(home):
                return None
            digest, newest = hashlib.sha256(), 0
            for name, state in _states(settings):
                digest.update(os.fsencode(name) + b"\0" + repr(state).encode() + b"\n")
                newest = max(newest, state[-1])
            chosen = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()
            return cls(__version__, chosen, digest.hexdigest(), is_served(home), newest)
        except (_NotKept, OSError, TwinwardError):
            return None


@dataclass(frozen=True, slots=True)
class NotedStatus:
    """An answer: how the node stood at a moment, for a machine, and its emergencies in sentences."""

    at_ms: int
    shown: dict[str, Any]
    emergencies: list[str]


def noted_status(settings: Settings, now_ms: int) -> NotedStatus | None:
    """The last answer, if it still holds; None where the node is to be asked."""
    basis = Basis.of(settings)
    try:
        with (settings.home / NOTE_FILE).open("rb") as file:
            sealed = file.read(_MOST_BYTES)
        if basis is None:
            return None
        told = json.loads(open_sealed(_key(settings), sealed, SEED))
        note, kept = NotedStatus(**told["status"]), Basis(**told["basis"])
    except (OSError, CryptoError, TwinwardError, ValueError, TypeError, KeyError):
        return None
    fresh = 0 <= now_ms - note.at_ms <= OLDEST_MS and now_ms // DAY_MS == note.at_ms // DAY_MS
    return note if fresh and kept == basis else None


def note_status(settings: Settings, found: NotedStatus, before: Basis | None) -> None:
    """Keep an answer, where nothing changed since ``before`` the node was asked. A home that is not written keeps none.

    The node is closed when this is called: closing it changes files.
    """
    if before is None or before.changed_ns + JUST_NOW_NS > found.at_ms * 1_000_000 or before != Basis.of(settings):
        return
    told = {"status": asdict(found), "basis": asdict(before)}
    try:
        write_private(settings.home / NOTE_FILE, seal(_key(settings), json.dumps(told).encode(), SEED))
    except (OSError, CryptoError, TwinwardError):
        return


def _key(settings: Settings) -> bytes:
    with translated():
        provider = own_keys(settings)
        try:
            return provider.mac(TenantId(settings.tenant), SEED, b"")
        finally:
            provider.close()


def _lies_in_home(settings: Settings) -> bool:
    """Whether keys, databases and chain are files in the home, as they are unless settings name others."""
    return not any((settings.keys, settings.records, settings.keyring, settings.log, settings.state, settings.chain))


def _states(settings: Settings) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each file's state, by its name and in order; of folders who owns and may enter them.

    Raises:
        _NotKept, OSError: no answer is kept of such a home.
    """
    home = settings.home
    if (home / RESTORED_FILE).exists():
        raise _NotKept("a restored home")
    count = 0
    for folder, folders, files in os.walk(home, onerror=_raise):
        folders.sort()
        held = os.lstat(folder)
        yield folder, (held.st_mode, held.st_uid)
        for name in sorted(files):
            path = f"{folder}{os.sep}{name}"
            found, count = os.lstat(path), count + 1
            if count > MOST_FILES or stat.S_ISLNK(found.st_mode):
                raise _NotKept("too many files, or one that is elsewhere")
            if not says_nothing(name, found):
                yield path, state_of(found)
    for field in sorted(type(settings).model_fields):
        value = getattr(settings, field)
        if isinstance(value, Path) and field != "home":
            yield field, state_of((home / value).stat())


def state_of(found: os.stat_result) -> tuple[int, ...]:
    """A file's; the last number is when anything of it was changed."""
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _raise(error: OSError) -> None:
    raise error


def says_nothing(name: str, found: os.stat_result) -> bool:
    """What reading alone changes: SQLite's index of a write-ahead log, a log that is empty, the server's lock."""
    empty = name.endswith("-wal") and not found.st_size
    return empty or name.endswith(("-shm", UNFINISHED)) or name in (NOTE_FILE, AGREED_FILE, LOCK_FILE)
