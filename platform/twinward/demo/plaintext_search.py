"""Looking for plaintext in a node's files, as a thief would: from another process.

It must be another process. Reading a database's files with ordinary file calls inside a process that has the database
open drops that process's locks on it (POSIX; sqlite.org/howtocorrupt.html, 2.2), and a later writer could corrupt it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from twinward.core.child_processes import without_working_directory

NEEDLE_MIN_BYTES = 6
"""Shorter words would turn up in ciphertext by chance."""


def search_files(home: Path, needles: Iterable[bytes]) -> int:
    """How many of the words occur in any file below ``home``, write-ahead logs included."""
    words = frozenset(needle for needle in needles if len(needle) >= NEEDLE_MIN_BYTES)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as elsewhere:
        with without_working_directory():
            found = elsewhere.submit(_search, home, words)
        return found.result()


def _search(home: Path, words: frozenset[bytes]) -> int:
    found: set[bytes] = set()
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found |= {word for word in words if word in content}
    return len(found)
