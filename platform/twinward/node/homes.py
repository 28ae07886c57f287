"""A node's home as a folder: what belongs to whom, and taking it away."""

from __future__ import annotations

import shutil
from pathlib import Path

from twinward.config import FILE_NAME, Settings
from twinward.errors import Conflict
from twinward.private_files import write_private

__all__ = ["empty", "home_of", "remove_node", "write_private"]


def remove_node(home: Path) -> None:
    """Delete a node's home, if it is one: a folder that is not empty and holds no ``twinward.toml`` is left alone."""
    if not home.exists():
        return
    if any(home.iterdir()) and not (home / FILE_NAME).is_file():
        raise Conflict(f"{home} is not a node's home and is not touched", hint="give another --home")
    shutil.rmtree(home)


def empty(folder: Path) -> None:
    """Delete everything in a folder, but not the folder."""
    for one in folder.iterdir():
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()


def home_of(settings: Settings, name: str) -> Path:
    """The folder of a member of an embedded consortium: this node's own, or one in ``peers/``."""
    return settings.home if name == settings.tenant else settings.home / "peers" / name
