"""The settings that a restored home is given: where its parts are now, not where they were on the lost machine."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from twinward.backup.errors import BackupDamaged
from twinward.core.config import FILE_NAME
from twinward.core.private_files import write_private


def settle(home: Path, values: Mapping[str, str]) -> None:
    """Write some settings into a home's file, an empty one as left out; everything else in it stays as it is.

    Raises:
        BackupDamaged: the file is not one whose lines can be told apart.
    """
    path = home / FILE_NAME
    text = path.read_text(encoding="utf-8")
    try:
        before = tomllib.loads(text)
        wanted = {name: value for name, value in values.items() if value != before.get(name, "")}
        if not wanted:
            return
        named = re.compile(rf"\s*({'|'.join(map(re.escape, wanted))})\s*=")
        kept = [line for line in text.splitlines() if not named.match(line)]
        own = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in wanted.items() if value]
        changed = "\n".join([*own, *kept]) + "\n"  # first: written last, a table would swallow them
        stays = {name: value for name, value in before.items() if name not in wanted}
        settled = tomllib.loads(changed) == stays | {name: value for name, value in wanted.items() if value}
    except tomllib.TOMLDecodeError:
        settled = False
    if not settled:
        raise BackupDamaged(
            f"the settings in the backup cannot be changed to {', '.join(values)}",
            hint=f"{FILE_NAME} must say each of them in a line of its own",
        )
    write_private(path, changed.encode())
