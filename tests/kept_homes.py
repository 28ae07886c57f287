"""Homes that were made once in this process, and are copied for the next test: founding one takes half a second."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from twinward.core.clock import Clock
    from twinward.node import Node

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


def founded(home: Path, clock: Clock | None = None) -> Node:
    """An open node on its defaults in which nothing happened yet: for a test of anything but how one is founded."""
    from twinward.core.clock import FixedClock, SystemClock
    from twinward.core.config import Settings
    from twinward.node import create_node, lifecycle

    at_ms = clock.now_ms() if isinstance(clock, FixedClock) else None
    first = None if at_ms is None else FixedClock(at_ms)
    copied(("founded", at_ms), home, lambda made: create_node(Settings.load(made), clock=first).close())
    return lifecycle._opened(Settings.load(home), clock or SystemClock(), None)
