"""A restored home in the making: in a folder of its own, until everything in it has been checked, with settings
that say where its parts are now, not where they were on the lost machine."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import tomlkit
import tomlkit.exceptions

from twinward.backup import archive, file_sources
from twinward.backup.create import ELSEWHERE
from twinward.backup.errors import BackupDamaged, InTheWay
from twinward.backup.file_sources import Progress
from twinward.backup.key_folders import PEERS, KeysAtHand
from twinward.backup.manifest import POSTGRES, SQLITE, Manifest, Part
from twinward.core.config import ANSWERS_BEGIN_FILE, ANSWERS_FILE, FILE_NAME, Settings
from twinward.core.errors import BadInput
from twinward.core.private_files import write_private

_OTHERS = ("witness.db", "chain.db", ANSWERS_FILE)


def unpack(
    reader: archive.ArchiveReader, found: Manifest, staging: Path, progress: Progress
) -> dict[str, list[tuple[Part, Path]]]:
    """Every part out of the archive, checked; the tables of servers' databases by the part of their name."""
    staging.mkdir(mode=0o700, parents=True)
    total, done = sum(part.size_bytes for part in found.parts), 0
    tables: dict[str, list[tuple[Part, Path]]] = {}
    for part in found.parts:
        done_before = done

        def advance(size: int, name: str = part.name) -> None:
            nonlocal done
            done += size
            progress(name, done, total)

        to = staging / part.name
        reader.copy(part, to, advance)
        done = done_before + part.size_bytes
        if part.kind == SQLITE:
            file_sources.require_sound(to)
        elif part.kind == POSTGRES:
            tables.setdefault(part.name.rsplit("/", 1)[0], []).append((part, to))
    return tables


def lay_out(
    staging: Path, home: Path, found: Manifest, keys: KeysAtHand, *, keep_keyring: bool, present: bool
) -> Settings:
    """Make the staging folder a whole home: keys in, and what must not be turned back.

    Raises:
        KeysMissing: a member of the embedded consortium is without its keys.
        BadInput: there is no keyring to keep.
    """
    for one in staging.rglob(ANSWERS_FILE):
        one.unlink()  # of a backup of an earlier release: what it lacks would be answered again
    if present:
        for one in [home / name for name in _OTHERS] + sorted((home / PEERS).rglob("*.db")):
            if one.is_file():
                target = staging / one.relative_to(home)
                target.unlink(missing_ok=True)
                file_sources.copy_file(one, target)
        for one in home.rglob(ANSWERS_BEGIN_FILE):
            write_private(staging / one.relative_to(home), one.read_bytes())
    keys.lay_into(staging)
    keys.require_members(staging)
    settle(staging, keys.settled(Settings.load(staging), staging))
    settings = Settings.load(staging)
    if keep_keyring:
        _keep_keyring(staging, home, found, settings, present)
    return settings


def _keep_keyring(staging: Path, home: Path, found: Manifest, settings: Settings, present: bool) -> None:
    part = found.roles().get("keyring")
    if not present or part is None or part.kind != SQLITE or part.name.startswith(f"{ELSEWHERE}/"):
        raise BadInput("--keep-keyring keeps the SQLite keyring in the home that is replaced; there is none")
    (staging / part.name).unlink()
    file_sources.copy_file(
        Path(settings.keyring_uri.partition(":")[2].replace(str(staging), str(home))), staging / part.name
    )


def put_elsewhere(staging: Path, found: Manifest, settings: Settings, placed: list[Path]) -> None:
    """Databases whose place the settings name outside the home, noted in ``placed``. Nothing there is overwritten.

    Raises ``InTheWay`` where something stands in such a place.
    """
    uris = settings.databases
    for part in found.parts:
        if not part.name.startswith(f"{ELSEWHERE}/"):
            continue
        target = Path(uris[part.roles[0]].partition(":")[2])
        if target.exists():
            raise InTheWay(f"{target} is there already", hint="move it away, then try again")
        placed.append(target)
        file_sources.copy_file(staging / part.name, target)


def fill_servers(settings: Settings, tables: dict[str, list[tuple[Part, Path]]]) -> None:
    """Servers' databases: lay the tables, then put the rows back. Raises ``BadInput`` where the settings name none."""
    if not tables:
        return
    from twinward.backup.postgres_source import put_back
    from twinward.node.tables import lay

    uris = settings.databases
    for name, parts in tables.items():
        roles = [role for part, _ in parts for role in part.roles]
        targets = {uris.get(role, "sqlite:") for role in roles}
        if len(targets) != 1 or next(iter(targets)).startswith("sqlite:"):
            raise BadInput(
                f"{name[3:]} was in a PostgreSQL database: the settings must name one for it",
                hint="set TWINWARD_RECORDS, TWINWARD_KEYRING, TWINWARD_LOG (and TWINWARD_STATE) to empty databases",
            )
        uri = next(iter(targets))
        lay(uri, roles)
        put_back(uri, parts)


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
            f"the settings in {FILE_NAME} cannot be changed to {', '.join(values)}",
            hint=f"{FILE_NAME} must be TOML that says each of them once, outside of any table",
        )
    write_private(path, changed.encode())
