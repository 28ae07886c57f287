"""A folder that cannot be written, as a snapshot or evidence on a read-only disk is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def read_only(folder: Path, at: Path) -> Iterator[Path]:
    """The folder, where nothing can be written; for root that takes a mount, which a container may not allow."""
    if os.getuid() != 0:
        folders = [folder, *(one for one in folder.rglob("*") if one.is_dir())]
        for one in folders:
            one.chmod(0o500)
        try:
            yield folder
        finally:
            for one in folders:
                one.chmod(0o700)
        return
    at.mkdir()
    bind = subprocess.run(["mount", "--bind", str(folder), str(at)], capture_output=True, check=False)
    if bind.returncode:
        pytest.skip("root cannot mount here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(at)], check=True)
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)
