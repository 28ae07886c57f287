"""Figures that take long, kept one by one in a file as soon as they are measured: what is interrupted goes on.

A figure counts for the code it was measured with: the digest of the sources it depends on is part of its name. A run
may be bounded in time; what it leaves over, the next one measures.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path


class TimeOver(Exception):
    """The time of this run is over before a figure was begun."""


class KeptCells:
    """Figures in a file of JSON lines.

    Args:
        path: the file.
        sources: folders whose Python the figures depend on.
        within_s: no figure is begun after so many seconds; None for no end.
    """

    def __init__(self, path: Path, sources: Iterable[Path], within_s: float | None = None) -> None:
        self._path = path
        self._code = _digest(sources)
        self._end = None if within_s is None else time.monotonic() + within_s
        self._kept = dict(_read(path))

    def value(self, cell: str, measure: Callable[[], float]) -> float:
        """A figure: as it was kept, or measured and kept now. Raises ``TimeOver``."""
        name = f"{self._code} {cell}"
        if name not in self._kept:
            if self._end is not None and time.monotonic() > self._end:
                raise TimeOver(cell)
            self._kept[name] = measure()
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, self._kept[name]]) + "\n")
                file.flush()
                os.fsync(file.fileno())
        return self._kept[name]


def _read(path: Path) -> Iterable[tuple[str, float]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            name, value = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        yield str(name), float(value)


def _digest(sources: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for folder in sources:
        for path in sorted(folder.rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]
