"""When this home was last backed up: noted beside it, for whoever asks how the node stands. Says nothing of where.

A note and no proof: whoever can write to the home can write one. A backup's own signature is what counts.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec

from twinward.core.private_files import write_private

LAST_BACKUP: Final = "last_backup.json"
_MAX_BYTES: Final = 4096


_Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class LastBackup(msgspec.Struct, frozen=True):
    """The newest backup that this home knows of.

    Attributes:
        at_ms: when its databases were held still.
        log_size: entries of the access log in it.
        keks: versions of the key-encryption key that its keyring needs.
    """

    at_ms: _Number
    log_size: _Number
    keks: tuple[_Number, ...]


def note_backup(home: Path, made: LastBackup) -> None:
    """Note it. A home that cannot be written has its backup all the same."""
    with suppress(OSError):
        write_private(home / LAST_BACKUP, msgspec.json.encode(made))


def last_backup(home: Path) -> LastBackup | None:
    """The note; None where there is none that can be read."""
    try:
        with (home / LAST_BACKUP).open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=LastBackup)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
