"""A node's home as a folder: what belongs to whom, and taking it away."""

from __future__ import annotations

import errno
import shutil
import stat
from pathlib import Path

from twinward.core.config import FILE_NAME, Settings
from twinward.core.errors import BadInput, Conflict
from twinward.node.home import require_not_served


def remove_node(home: Path) -> None:
    """Delete a node's home, if it is one: a folder that is not empty and holds no ``twinward.toml`` is left alone.

    Raises:
        Conflict: it is no node's home, or a process serves it.
    """
    if not home.exists():
        return
    if any(home.iterdir()) and not (home / FILE_NAME).is_file():
        raise Conflict(f"{home} is not a node's home and is not touched", hint="give another --home")
    require_not_served(home)
    shutil.rmtree(home)


def tighten(home: Path) -> None:
    """Close a home to everybody but its owner, as it was made: one that was opened since tells names, sizes and times.

    A home on a read-only disk stays as it is.

    Raises:
        BadInput: it belongs to somebody else and is open to others.
    """
    status = home.stat()
    if not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return
    try:
        home.chmod(stat.S_IRWXU)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise BadInput(f"{home} is open to others, and not yours to close", hint=f"chmod 700 {home}") from None


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
