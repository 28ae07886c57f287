"""A restored home in the making: in a folder of its own, until everything in it has been checked."""

from __future__ import annotations

from pathlib import Path

from twinward.backup import archive, sqlite_source
from twinward.backup.create import ELSEWHERE
from twinward.backup.errors import InTheWay
from twinward.backup.key_folders import PEERS, KeysAtHand
from twinward.backup.manifest import POSTGRES, SQLITE, Manifest, Part
from twinward.backup.settings_file import settle
from twinward.backup.sqlite_source import Progress
from twinward.core.config import Settings
from twinward.core.errors import BadInput

_OTHERS = ("witness.db", "chain.db", "studies.db")


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
            sqlite_source.require_sound(to)
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
    if present:
        for one in [home / name for name in _OTHERS] + sorted((home / PEERS).rglob("*.db")):
            if one.is_file():
                target = staging / one.relative_to(home)
                target.unlink(missing_ok=True)
                sqlite_source.copy_file(one, target)
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
    sqlite_source.copy_file(
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
        sqlite_source.copy_file(staging / part.name, target)


def fill_servers(settings: Settings, tables: dict[str, list[tuple[Part, Path]]]) -> None:
    """Servers' databases: lay the tables, then put the rows back. Raises ``BadInput`` where the settings name none."""
    if not tables:
        return
    from twinward.backup.postgres_source import put_back
    from twinward.node.tables import lay

    uris = settings.databases
    for name, parts in tables.items():
        roles = [role for part, _ in parts for role in part.roles]
        targets = {uris[role] for role in roles}
        if len(targets) != 1 or next(iter(targets)).startswith("sqlite:"):
            raise BadInput(
                f"{name[3:]} was in a PostgreSQL database: the settings must name one for it",
                hint="set TWINWARD_RECORDS, TWINWARD_KEYRING, TWINWARD_LOG to empty databases",
            )
        uri = next(iter(targets))
        lay(uri, roles)
        put_back(uri, parts)
