"""Homes that were made once in this process, and are copied for the next test: founding one takes half a second."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

T = TypeVar("T")
_made: dict[tuple[object, ...], tuple[TemporaryDirectory[str], Any]] = {}


def copied(key: tuple[object, ...], home: Path, make: Callable[[Path], T]) -> T:
    """Put a home there that is like any other of its key, and say what ``make`` said of the first.

    They have the same keys and the same log to start from: for two nodes that must not be one, make each.
    """
    if key not in _made:
        folder = TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"), prefix="kept-home-")
        _made[key] = folder, make(Path(folder.name) / "home")
    folder, said = _made[key]
    shutil.copytree(Path(folder.name) / "home", home, dirs_exist_ok=True)
    return said  # type: ignore[no-any-return]
