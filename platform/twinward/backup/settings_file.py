"""The settings that a restored home is given: where its parts are now, not where they were on the lost machine."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import tomlkit
import tomlkit.exceptions

from twinward.backup.errors import BackupDamaged
from twinward.core.config import FILE_NAME
from twinward.core.private_files import write_private


def settle(home: Path, values: Mapping[str, str]) -> None:
    """Write some settings into a home's file, an empty one as left out; everything else in it stays as it is.

    Raises:
        BackupDamaged: the file is not TOML in which these stand by themselves.
    """
    path = home / FILE_NAME
    try:
        file = tomlkit.parse(path.read_text(encoding="utf-8"))
        before = file.unwrap()
        wanted = {name: value for name, value in values.items() if value != before.get(name, "")}
        if not wanted:
            return
        for name, value in wanted.items():
            if value:
                file[name] = value
            else:
                del file[name]
        changed = tomlkit.dumps(file)
        stays = {name: value for name, value in before.items() if name not in wanted}
        settled = tomllib.loads(changed) == stays | {name: value for name, value in wanted.items() if value}
    except (tomlkit.exceptions.TOMLKitError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        settled = False
    if not settled:
        raise BackupDamaged(
            f"the settings in the backup cannot be changed to {', '.join(values)}",
            hint=f"{FILE_NAME} must be TOML that says each of them once, outside of any table",
        )
    write_private(path, changed.encode())
