"""Moving a home's databases out of its files into PostgreSQL: copied whole, compared, and only then named in the home.

Nobody writes to a file while it is copied: its write lock is held until the home names the server, and the home is
served by nobody. What a move that was interrupted has copied is compared with the files and taken as it is, or refused.
The files stay where they are, under another name, until their owner deletes them; a process that opened one meanwhile
can write to it no more.

What a hospital answered in studies, and where those stand that it coordinates, stays in files of the home (ADR 67).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection, Table, insert, select

from twinward.backup.errors import InTheWay, RelocationFailed
from twinward.backup.file_sources import Progress, SqliteSource, is_in_use
from twinward.backup.staging import settle
from twinward.core.config import Settings
from twinward.core.errors import BadInput, Conflict
from twinward.node.home import serving
from twinward.node.store_guard import require_named_in_home, require_there
from twinward.node.store_parts import state_file
from twinward.node.tables import LOG, SMALL_STORES, lay
from twinward.vault.storage.schemas import KEYRING, RECORDS
from twinward_ledger import merkle
from twinward_ledger.log.store import LogStore
from twinward_ledger.storage import Schema, open_database
from twinward_ledger.stores import open_store
from twinward_ledger.stores.completeness import SUFFIX, open_map_store

SET_ASIDE: Final = ".moved"
STATE: Final = "state"
ROLES: Final = (RECORDS.name, KEYRING.name, LOG, STATE)

_SQLITE, _SERVERS = "sqlite:", ("postgresql://", "postgres://")
_ROWS_AT_ONCE, _ENTRIES_AT_ONCE = 1000, 2000
_BY_PARTS = {"yield_per": _ROWS_AT_ONCE}
_MAP_PAGES = range(1 << 16)


@dataclass(frozen=True, slots=True)
class Relocation:
    """What was moved, or would be.

    Attributes:
        roles: records, keyring, log, state.
        rows: how many rows and log entries.
        files: the files they were in, by their names in the home.
    """

    roles: tuple[str, ...]
    rows: int
    files: tuple[str, ...]


def plan_relocation(settings: Settings, to: Mapping[str, str]) -> Relocation:
    """What would be moved. Nothing is changed, and no server is asked.

    Args:
        settings: the node's.
        to: by role, the empty database it is to be in: ``postgresql://user@host/database``.

    Raises:
        BadInput: no database is named, or one that is none of PostgreSQL's.
        Conflict: a role is on a server already.
        StoresNotOwn: a file is gone, or the environment names another one.
    """
    if not to:
        raise BadInput("nothing is named to move", hint="give --records, --keyring, --log or --state")
    require_named_in_home(settings)
    require_there(settings)
    for role, uri in to.items():
        if not uri.startswith(_SERVERS):
            raise BadInput(f"{role} can be moved to PostgreSQL", hint=f"--{role} postgresql://user@host/database")
        if not settings.databases.get(role, _SQLITE).startswith(_SQLITE):
            raise Conflict(f"the {role} of this node is on a server already")
    roles = tuple(role for role in ROLES if role in to)
    files = [file for role in roles for file, _ in _files_of(settings, role)]
    return Relocation(roles, 0, tuple(file.name for file in files))


def relocate(settings: Settings, to: Mapping[str, str], progress: Progress) -> Relocation:
    """Move them, and write into the home where they are now.

    Raises:
        InTheWay: a database holds something else than what is moved there.
        RelocationFailed: what was read back is not what was written; the home is as it was.
        Conflict: a process serves the home, or a file is being written to.
        Unavailable: a server does not answer, or may not be used.

    And as ``plan_relocation``. Whatever is raised, the home works as before, and the same command goes on.
    """
    planned = plan_relocation(settings, to)
    with serving(settings.home), ExitStack() as held:
        files = {role: _files_of(settings, role) for role in planned.roles}
        still: list[SqliteSource] = []
        for file, schema in (one for some in files.values() for one in some):
            if (file.parent / (file.name + SET_ASIDE)).exists():
                raise InTheWay(
                    f"there is a {file.name}{SET_ASIDE} of an earlier move", hint="delete it, or keep it away"
                )
            if schema is not None:
                open_database(f"{_SQLITE}{file}", schema).close()  # a file of an earlier release is upgraded first
            if is_in_use(file):
                raise Conflict(
                    f"{file.name} is in use by another process", hint="end other commands and `twinward site serve`"
                )
            still.append(held.enter_context(_held_still(file)))
        for role, uri in to.items():
            lay(uri, [role])
        rows = 0
        for role in planned.roles:
            for file, schema in files[role]:
                if schema is None:
                    rows += _copy_log(settings.log_uri, to[role], progress)
                else:
                    rows += _copy_tables(file, to[role], schema, progress)
        settle(settings.home, to)
        for source in still:
            source.refuse_writers("it was moved to a server")
        moved = [file for some in files.values() for file, _ in some]
        if LOG in to:
            moved.append(Path(settings.log_uri.removeprefix(_SQLITE)).with_suffix(SUFFIX))
    for file in moved:
        _set_aside(file)
    return Relocation(planned.roles, rows, planned.files)


def _files_of(settings: Settings, role: str) -> list[tuple[Path, Schema | None]]:
    """The files of a role that are there, each with its schema; the log's has none of its own on a server."""
    if role == STATE:
        named = [(settings.home / state_file(schema), schema) for schema in SMALL_STORES]
        return [(file, schema) for file, schema in named if file.exists()]
    schemas = {RECORDS.name: RECORDS, KEYRING.name: KEYRING}
    return [(Path(settings.databases[role].removeprefix(_SQLITE)), schemas.get(role))]


@contextmanager
def _held_still(file: Path) -> Iterator[SqliteSource]:
    source = SqliteSource(file, file.name, ())
    try:
        source.hold()
        yield source
    finally:
        source.close()


def _copy_tables(file: Path, uri: str, schema: Schema, progress: Progress) -> int:
    """All rows of a store, in one transaction; how many. What is there already must be the very same."""
    with (
        closing(open_database(f"{_SQLITE}{file}", schema)) as source,
        closing(open_database(uri, schema)) as target,
        source.reading() as there,
        target.writing() as here,
    ):
        own, servers = schema.tables(server=False), schema.tables(server=True)
        total = 0
        for model in servers.sorted_tables:
            table = own.tables[schema.in_files.get(model.name, model.name)]
            wanted = _Tally.of(there, table)
            found = _Tally.of(here, model)
            if found.rows and found != wanted:
                raise InTheWay(
                    f"the database for {schema.name} holds something else in {model.name}", hint="name an empty one"
                )
            if not found.rows and wanted.rows:
                _copy_rows(there, table, here, model, wanted.rows, progress)
                if _Tally.of(here, model) != wanted:
                    raise RelocationFailed(f"{model.name} does not come back from the server as it was written")
            total += wanted.rows
    return total


def _copy_rows(there: Connection, table: Table, here: Connection, model: Table, total: int, progress: Progress) -> None:
    done = 0
    rows = there.execute(select(table), execution_options=_BY_PARTS)
    for some in rows.mappings().partitions(_ROWS_AT_ONCE):
        here.execute(insert(model), [dict(row) for row in some])
        done += len(some)
        progress(model.name, done, total)


@dataclass(frozen=True, slots=True)
class _Tally:
    """How many rows a table has, and the sum of their hashes modulo 2^256: the same for the same rows in any order."""

    rows: int
    digest: int

    @classmethod
    def of(cls, connection: Connection, table: Table) -> _Tally:
        columns = [table.c[name] for name in sorted(table.c.keys())]
        count = digest = 0
        for row in connection.execute(select(*columns), execution_options=_BY_PARTS):
            hashed = hashlib.sha256(msgspec.msgpack.encode(tuple(row))).digest()
            count, digest = count + 1, (digest + int.from_bytes(hashed, "big")) % (1 << 256)
        return cls(count, digest)


def _copy_log(from_uri: str, to_uri: str, progress: Progress) -> int:
    """The log, entry by entry, its keys and checkpoints, its completeness map; how many entries."""
    with closing(open_store(from_uri, read_only=True)) as source, closing(open_store(to_uri)) as target:
        size, kept = source.size(), target.size()
        if kept > size or (kept and target.root() != merkle.root_at(kept, source.node)):
            raise InTheWay("the database for the log holds another log", hint="name an empty one")
        for start in range(kept, size, _ENTRIES_AT_ONCE):
            stop = min(size, start + _ENTRIES_AT_ONCE)
            target.append([source.entry(index) for index in range(start, stop)])
            progress("log", stop, size)
        _copy_checkpoints(source, target)
        if size and target.root() != source.root():
            raise RelocationFailed("the log on the server has another root than the one in the file")
        if (target.checkpoints(), target.key_changes()) != (source.checkpoints(), source.key_changes()):
            raise RelocationFailed("the log on the server has other checkpoints or keys than the one in the file")
    _copy_map(from_uri, to_uri)
    return size


def _copy_checkpoints(source: LogStore, target: LogStore) -> None:
    """Checkpoints and changes of the key, by size: each change with the one that both keys signed."""
    known = len(target.key_changes())
    newest = max((size for size, _ in target.checkpoints()), default=0)
    changes = [change for change in source.key_changes() if change.number > known]
    for size, note in source.checkpoints():
        for change in changes:
            if change.size == size:
                target.change_key(change)
        if size >= newest:
            target.save_checkpoint(size, note)


def _copy_map(from_uri: str, to_uri: str) -> None:
    with (
        closing(open_map_store(from_uri)) as source,
        closing(open_map_store(to_uri)) as target,
        source.transaction() as there,
        target.transaction() as here,
    ):
        head = there.head()
        here.put_subjects(there.every())
        here.put_pages(there.pages(_MAP_PAGES))
        here.put_tags(there.tags())
        if head is not None:
            here.put_head(head)


def _set_aside(file: Path) -> None:
    for end in ("", "-wal", "-shm"):
        left = file.with_name(file.name + end)
        if left.exists():
            left.rename(file.with_name(file.name + SET_ASIDE + end))
