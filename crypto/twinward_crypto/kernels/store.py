"""Where compiled kernels lie, whether they may be trusted, and the loading of them. Imports numba only to load.

The folder is ``$TWINWARD_KERNELS``, else ``$XDG_CACHE_HOME/twinward/kernels``, else ``~/.cache/twinward/kernels``;
``TWINWARD_KERNELS=off`` turns kernels off. In it lies a folder for each set of sources, versions and processor:
``ready`` is written into it last. An installation that nobody may write to is given its kernels when it is made
(``TWINWARD_KERNELS=/opt/twinward/kernels python -m twinward_crypto.kernels``) and reads them only.

**What is loaded is executed**, so a folder counts only if it, all above it, every link that leads to it and every file
in it belong to this user or to root, and nobody else may write to them. Others may read it: it holds no secret.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import mmap
import os
import platform
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Final

FAMILIES: Final = ("screen", "residues", "bfv", "ckks", "edwards")
"""Modules of this package that hold kernels."""
VARIABLE: Final = "TWINWARD_KERNELS"
_OFF: Final = "off"
_READY: Final = "ready"
_EXECUTABLE: Final = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
_PACKAGES: Final = ("numba", "llvmlite", "numpy")

_loaded: dict[str, ModuleType | None] = {}
_loading = threading.RLock()


def load(family: str) -> ModuleType | None:
    """A family's kernels, where they were compiled ahead and may be trusted; None: compute plainly.

    A family that cannot be loaded is not tried again by this process.
    """
    if family in _loaded:
        return _loaded[family]
    if unusable():
        return None
    with _loading:
        if family not in _loaded:
            _loaded[family] = _imported(family)
        return _loaded[family]


def unusable() -> str:
    """Why no kernel is to be had here, in words, with what to do; empty where they are ready."""
    if os.environ.get(VARIABLE) == _OFF:
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
    """Compile what is not compiled yet, one process at a time; the folder.

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
        with (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            from twinward_crypto.kernels import compiler

            with compiler.allowed():
                for family in FAMILIES:
                    importlib.import_module(f"{__package__}.{family}")
            (place / _READY).touch()
    return place


def folder() -> Path:
    """The folder of exactly these sources, versions and processor."""
    named = os.environ.get(VARIABLE)
    if named and named != _OFF:
        return Path(named) / _key()
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "twinward" / "kernels" / _key()


def meddler(place: Path) -> Path | None:
    """The first file in this folder, or folder or link from it up, that is another's or that others than this user and
    root may write to; None where none is.

    A folder with the sticky bit, as ``/tmp`` has it, is no such one: what lies in it is its owner's. Links are looked
    at as they stand as well as where they lead: whoever may turn one round says what is loaded.
    """
    named, true = place.absolute(), place.resolve()
    for one in dict.fromkeys((named, *named.parents, true, *true.parents, *sorted(true.iterdir()))):
        found = one.lstat()
        is_link, in_it = stat.S_ISLNK(found.st_mode), one.parent == true
        sticky = found.st_mode & stat.S_ISVTX and one != true and not in_it
        writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky and not is_link
        if found.st_uid not in (0, os.geteuid()) or writable or (is_link and in_it):
            return one
    return None


@contextmanager
def _written_by_nobody_else() -> Iterator[None]:
    """What is made within it is its owner's to write and everybody's to read, whatever the umask is."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


@lru_cache(maxsize=1)
def versions() -> str:
    """Which numba there is, and on what it stands; empty where there is none. Imports nothing."""
    try:
        return " ".join(f"{name} {version(name)}" for name in _PACKAGES)
    except PackageNotFoundError:
        return ""


@lru_cache(maxsize=1)
def _key() -> str:
    here = Path(__file__).parent
    digest = hashlib.sha256(f"{sys.version} {versions()} {platform.machine()} {_processor()} {here}".encode())
    for source in sorted(here.glob("*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:24]


def _processor() -> str:
    """What the first processor is and can do: compiled code is for that one."""
    described = Path("/proc/cpuinfo")
    if not described.is_file():
        return platform.processor()
    lines = described.read_text().split("\n\n", 1)[0].splitlines()
    return " ".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU ")))


def _imported(family: str) -> ModuleType | None:
    """The module, all of it from the folder. Whatever is wrong with it, the plain code computes instead."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=_EXECUTABLE).close()  # refused here, it would end the process in LLVM
        return importlib.import_module(f"{__package__}.{family}")
    except Exception:  # noqa: BLE001 - of numba's many failures none may keep a hospital from answering
        return None
