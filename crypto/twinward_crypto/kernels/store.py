"""Whether compiled kernels may be had, the loading of them, and the compiling ahead. Imports numba only for that.

``ready`` is written into their folder (``place``) last. An installation that nobody may write to is given its kernels
when it is made (``TWINWARD_KERNELS=/opt/twinward/kernels python -m twinward_crypto.kernels``) and reads them only.
"""

from __future__ import annotations

import fcntl
import importlib
import mmap
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Final

from twinward_crypto.kernels.place import OFF, VARIABLE, folder, has_ifma, installation, meddler, versions

FAMILIES: Final = ("screen", "residues", "bfv", "ckks", "edwards", *(("edwards8",) if has_ifma() else ()))
"""Modules of this package that hold kernels, as far as this processor runs them."""
_READY: Final = "ready"
_LOCK: Final = "lock"
"""Says whose folder it is, and is held by whoever compiles into it."""
_EXECUTABLE: Final = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC

_loaded: dict[str, ModuleType | None] = {}
_loading = threading.RLock()


def load(family: str) -> ModuleType | None:
    """A family's kernels, where they were compiled ahead and may be trusted; None: compute plainly.

    A family that cannot be loaded is not tried again by this process.
    """
    if family in _loaded:
        return _loaded[family]
    if family not in FAMILIES or unusable():
        return None
    with _loading:
        if family not in _loaded:
            _loaded[family] = _imported(family)
        return _loaded[family]


def loaded(family: str) -> ModuleType | None:
    """A family's kernels where this process has loaded them already."""
    return _loaded.get(family)


def unusable() -> str:
    """Why no kernel is to be had here, in words, with what to do; empty where they are ready."""
    if os.environ.get(VARIABLE) == OFF:
        return f"turned off by {VARIABLE}"
    if not versions():
        return "numba is not installed: it comes with the extra node"
    try:
        place = folder()
        if not (place / _READY).is_file():
            return "they are not compiled yet"
        if who := meddler(place):
            return f"others may write to {who}: make it yours alone, or name another folder by {VARIABLE}"
    except (OSError, RuntimeError) as error:  # no home, a folder that may not be looked into, a link in a circle
        return f"their folder cannot be read ({type(error).__name__}): name another one by {VARIABLE}"
    return ""


def prepare() -> Path:
    """Compile what is not compiled yet, one process at a time; the folder. Earlier versions' folders are deleted.

    A process of an earlier version that still runs keeps what it has loaded, and computes plainly otherwise.

    Raises:
        PermissionError: others may write to the folder.
        ImportError: numba is not installed, or cannot compile here.
    """
    if not versions():
        raise ImportError("numba is not installed: it comes with the extra node")
    place = folder()
    with _written_by_nobody_else():
        place.mkdir(parents=True, exist_ok=True)
        if who := meddler(place):
            raise PermissionError(f"others may write to {who}: name another folder by {VARIABLE}")
        if (place / _READY).is_file():
            return place
        with (place / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.truncate(0)
            lock.write(installation())
            lock.flush()
            from twinward_crypto.kernels import compiler

            with compiler.allowed():
                for family in FAMILIES:
                    importlib.import_module(f"{__package__}.{family}")
            (place / _READY).touch()
    _forget_earlier(place)
    return place


def _forget_earlier(place: Path) -> None:
    """Delete what this very installation compiled before, unless it is being compiled; others' folders stay."""
    for other in place.parent.iterdir():
        if other == place or other.is_symlink():
            continue
        with suppress(OSError, UnicodeDecodeError), open(other / _LOCK, opener=_without_waiting) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The folders above may be others' to add to, as /tmp is: they say nothing about what is deleted.
            if os.fstat(lock.fileno()).st_uid == other.lstat().st_uid == os.geteuid() and lock.read() == installation():
                shutil.rmtree(other)


def _without_waiting(path: str, flags: int) -> int:
    """A pipe of this name would be waited for."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


@contextmanager
def _written_by_nobody_else() -> Iterator[None]:
    """What is made within it is its owner's to write and everybody's to read, whatever the umask is."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _imported(family: str) -> ModuleType | None:
    """The module, all of it from the folder. Whatever is wrong with it, the plain code computes instead."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=_EXECUTABLE).close()  # refused here, it would end the process in LLVM
        return importlib.import_module(f"{__package__}.{family}")
    except Exception:  # noqa: BLE001 - of numba's many failures none may keep a hospital from answering
        return None
