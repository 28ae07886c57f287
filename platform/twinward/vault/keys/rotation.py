"""Rotation: every twin key under a new KEK in one pass over the keyring, and old KEKs destroyed.

Only wrapped twin keys are rewritten. A batch is one transaction under the keyring's write lock, so whatever the process
dies of, each key is under the old KEK or under the new one, and the next rotation goes on with those left behind. What
is to be destroyed at the key service is written down first: a destruction that was interrupted is finished next time.

Rows are read in the order of their key and moved with the driver's own bulk statements: on SQLite ``executemany``, on
PostgreSQL one ``UPDATE … FROM unnest``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from twinward.vault.errors import RecordDamaged
from twinward.vault.keys.wrapped_keys import held_versions, translated_keys
from twinward.vault.storage.tables import RetiringKek, WrappedTwinKey
from twinward_crypto import hierarchy
from twinward_crypto.keys import KekId, KeyProvider, TenantId, WrappedKey
from twinward_ledger.storage import Database, table_of

FIRST_BATCH, LARGEST_BATCH = 1024, 16384
"""Keys in one transaction: it grows while a batch is quick, since a key service on the network may not be."""
QUICK_S, SLOW_S = 0.25, 1.0

Progress = Callable[[int, int], None]
"""Called with (twin keys done, twin keys in all)."""
_Row = tuple[str, int, int, bytes]

_keys = table_of(WrappedTwinKey)
_retiring = table_of(RetiringKek)

_READ = {
    "sqlite": "SELECT twin, generation, kek_version, wrapped FROM wrapped_twin_key"
    " WHERE twin > ? AND kek_version < ? ORDER BY twin LIMIT ?",
    "postgresql": "SELECT twin, generation, kek_version, wrapped FROM wrapped_twin_key"
    " WHERE twin > %s AND kek_version < %s ORDER BY twin LIMIT %s",
}
_MOVE_SQLITE = "UPDATE wrapped_twin_key SET kek_version = ?, wrapped = ? WHERE twin = ? AND generation = ?"
_MOVE_POSTGRES = (
    "UPDATE wrapped_twin_key AS kept SET kek_version = %s, wrapped = moved.wrapped"
    " FROM unnest(%s::text[], %s::int[], %s::bytea[]) AS moved(twin, generation, wrapped)"
    " WHERE kept.twin = moved.twin AND kept.generation = moved.generation"
)


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """What a rotation would do.

    Attributes:
        kek: the version that would wrap every key.
        new: whether that version would be made.
        keys: how many twin keys would be wrapped anew.
        retiring: the versions that could be destroyed afterwards.
    """

    kek: int
    new: bool
    keys: int
    retiring: tuple[int, ...]


class Rotation:
    """Moves one tenant's wrapped keys from KEK to KEK."""

    def __init__(self, database: Database, provider: KeyProvider, tenant: TenantId) -> None:
        self._database = database
        self._provider = provider
        self._tenant = tenant

    def plan(self, beyond: int = 0) -> RotationPlan:
        """What ``run`` and ``retire`` would do now. Changes nothing."""
        with self._database.reading() as connection, translated_keys():
            versions = held_versions(self._provider, self._tenant)
            behind = _behind(connection, versions[-1])
            new = behind == 0 or versions[-1] <= beyond
            kek = max(versions[-1], beyond) + 1 if new else versions[-1]
            keys = _behind(connection, kek)
            retiring = {*(one for one in versions if one < kek), *_unfinished(connection)}
        return RotationPlan(kek, new, keys, tuple(sorted(retiring)))

    def run(self, progress: Progress | None = None, *, beyond: int = 0) -> int:
        """Wrap every twin key under the newest KEK, a new one unless an interrupted rotation has made it.

        Args:
            progress: told after every batch.
            beyond: the KEK must be newer than this version.

        Returns:
            The KEK's version.
        """
        with self._database.writing() as connection, translated_keys():
            target, total = self._target(connection, beyond)
        done, after, size = 0, "", FIRST_BATCH
        while True:
            started = time.monotonic()
            with self._database.writing() as connection, translated_keys():
                rows = self._move_batch(connection, target, after, size)
            if progress is not None and (rows or done == 0):
                done += len(rows)
                progress(done, max(done, total))
            if not rows:
                return target
            after = rows[-1][0]
            size = _next_size(size, time.monotonic() - started)

    def retire(self) -> list[int]:
        """Destroy every KEK version that wraps no key any more, save the newest. Returns the versions, ascending."""
        with self._database.writing() as connection, translated_keys():
            idle = self._idle(connection)
            known = _unfinished(connection)
            fresh = [{"kek_version": version} for version in idle if version not in known]
            if fresh:
                connection.execute(insert(_retiring), fresh)
        with self._database.writing() as connection, translated_keys():
            doomed = sorted(_unfinished(connection) - _in_use(connection))
            for version in doomed:
                self._provider.destroy(KekId(self._tenant, version))
            if doomed:
                connection.execute(delete(_retiring).where(_retiring.c.kek_version.in_(doomed)))
        return doomed

    def idle(self) -> list[int]:
        """The versions that ``retire`` would destroy now. Changes nothing."""
        with self._database.reading() as connection, translated_keys():
            return sorted({*self._idle(connection), *_unfinished(connection)})

    def _target(self, connection: Connection, beyond: int) -> tuple[int, int]:
        newest = held_versions(self._provider, self._tenant)[-1]
        remaining = _behind(connection, newest)
        if remaining and newest > beyond:
            return newest, remaining
        target = max(newest, beyond) + 1
        self._provider.create(KekId(self._tenant, target))
        return target, _behind(connection, target)

    def _move_batch(self, connection: Connection, target: int, after: str, size: int) -> Sequence[_Row]:
        dialect = connection.dialect.name
        found: Sequence[Any] = connection.exec_driver_sql(_READ[dialect], (after, target, size)).fetchall()
        rows = [_checked(row) for row in found]
        goal, place = KekId(self._tenant, target), hierarchy.wrap_contexts(self._tenant)
        moved: list[bytes] = []
        for version, run in groupby(rows, key=itemgetter(2)):
            wrapped = [WrappedKey(sealed, place(twin, generation)) for twin, generation, _, sealed in run]
            moved += self._provider.rewrap_many(KekId(self._tenant, version), goal, wrapped)
        if not rows:
            return rows
        if dialect == "postgresql":
            twins, generations, _, _ = zip(*rows, strict=True)
            connection.exec_driver_sql(_MOVE_POSTGRES, (target, list(twins), list(generations), moved))
        else:
            each = [(target, wrapped, row[0], row[1]) for row, wrapped in zip(rows, moved, strict=True)]
            connection.exec_driver_sql(_MOVE_SQLITE, each)
        return rows

    def _idle(self, connection: Connection) -> list[int]:
        *older, _newest = held_versions(self._provider, self._tenant)
        used = _in_use(connection)
        return [version for version in older if version not in used]


def _checked(row: Any) -> _Row:
    """A row whose columns hold what they should: SQLite would let an intruder store anything."""
    twin, generation, kek_version, wrapped = row
    if not (isinstance(generation, int) and isinstance(kek_version, int) and isinstance(wrapped, bytes)):
        raise RecordDamaged("a column of the keyring holds something else: the keyring was altered")
    return twin, generation, kek_version, wrapped


def _next_size(size: int, took_s: float) -> int:
    if took_s < QUICK_S:
        return min(2 * size, LARGEST_BATCH)
    return max(size // 2, 1) if took_s > SLOW_S else size


def _behind(connection: Connection, target: int) -> int:
    return int(connection.execute(select(func.count()).where(_keys.c.kek_version < target)).scalar_one())


def _in_use(connection: Connection) -> set[int]:
    return set(connection.execute(select(_keys.c.kek_version).distinct()).scalars())


def _unfinished(connection: Connection) -> set[int]:
    return set(connection.execute(select(_retiring.c.kek_version)).scalars())
