"""Where compiled kernels lie, and whether that place may be trusted.

The folder is ``$TWINWARD_KERNELS``, else ``$XDG_CACHE_HOME/twinward/kernels``, else ``~/.cache/twinward/kernels``;
``TWINWARD_KERNELS=off`` turns kernels off. In it lies a folder for each set of sources, versions and processor.

**What is loaded is executed**, so a folder counts only if it, all above it, every link that leads to it and every file
in it belong to this user or to root, and nobody else may write to them. Others may read it: it holds no secret.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

VARIABLE: Final = "TWINWARD_KERNELS"
OFF: Final = "off"
_HERE: Final = Path(__file__).parent
_PACKAGES: Final = ("numba", "llvmlite", "numpy")


def folder() -> Path:
    """The folder of exactly these sources, versions and processor."""
    named = os.environ.get(VARIABLE)
    if named and named != OFF:
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


@lru_cache(maxsize=1)
def versions() -> str:
    """Which numba there is, and on what it stands; empty where there is none. Imports nothing."""
    try:
        return " ".join(f"{name} {version(name)}" for name in _PACKAGES)
    except PackageNotFoundError:
        return ""


def has_ifma() -> bool:
    """Whether compilers here may multiply 52 bits in eight lanes: the processor can, and numba is told of no other."""
    told = any(os.environ.get(name) for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"))
    return "avx512ifma" in _processor().split() and not told


@lru_cache(maxsize=1)
def installation() -> str:
    """Names this installation on this kind of processor, whatever its version: of its folders it needs the newest."""
    return hashlib.sha256(f"{sys.prefix} {_HERE} {platform.machine()} {_processor()}".encode()).hexdigest()


@lru_cache(maxsize=1)
def _key() -> str:
    digest = hashlib.sha256(f"{installation()} {sys.version} {versions()}".encode())
    for source in sorted(_HERE.glob("*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:24]


@lru_cache(maxsize=1)
def _processor() -> str:
    """What the first processor is and can do: compiled code is for that one."""
    described = Path("/proc/cpuinfo")
    if not described.is_file():
        return platform.processor()
    lines = described.read_text().split("\n\n", 1)[0].splitlines()
    return " ".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU ")))
