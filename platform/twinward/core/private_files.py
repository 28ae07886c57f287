"""Files written whole or not at all: those that only their owner may read, and those for everybody.

What is being written stands beside its place under a name that nobody can guess, made with ``O_EXCL``: a link planted
in the folder is neither followed nor written through. A link in the file's own place is replaced, not followed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

UNFINISHED = ".unfinished"
"""How a file that is not whole ends: what a kill -9 left may be removed."""


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read: whole or not at all, durable on return."""
    with replacing(path, 0o600) as file:
        file.write(content)


def create_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read: whole or not at all, durable on return.

    Raises:
        FileExistsError: there is one already; nothing is overwritten.
        OSError: the folder cannot be written.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}{UNFINISHED}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.link(aside, path)  # unlike a rename it refuses to replace
    finally:
        aside.unlink()
    sync_folder(path.parent)


def write_public(path: Path, content: bytes) -> None:
    """Write a file that everybody may read, as far as the folder lets them: whole or not at all, durable on return."""
    with replacing(path, 0o644) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write: it takes the place of ``path`` at the end of the block, durably; gone if the block raises.

    Raises:
        OSError: the folder cannot be written.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}{UNFINISHED}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            yield file
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make what was named, renamed or removed in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
