"""Rotation: every wrapping key under a new KEK in one pass over the keyring, and old KEKs destroyed.

A batch is one transaction under the keyring's write lock, so whatever the process dies of, each wrapping key is under
the old KEK or under the new one, and the next rotation goes on with those left behind. What is to be destroyed at the
key service is written down first: a destruction that was interrupted is finished next time. Twins' keys stay as they
are, but for those that a KEK still wraps itself, as releases before wrapping keys left them: they are put under one.

From the moment that a KEK is made no wrapping key of before wraps a further twin. ``renew`` replaces those of before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from twinward.vault.errors import RecordDamaged
from twinward.vault.keys.wrapped_keys import held_versions, keks_in_use, keys_by_kek, translated_keys
from twinward.vault.keys.wrapping_keys import Held, WrappingKeys
from twinward.vault.storage.tables import RetiringKek, WrappedTwinKey, WrappingKeyRow
from twinward_crypto import hierarchy
from twinward_crypto.keys import KekId, KeyProvider, TenantId, WrappedKey
from twinward_ledger.storage import Database, table_of

FIRST_BATCH, LARGEST_BATCH = 128, 1024
"""Keys in one transaction: it grows while a batch is quick, since a key service on the network may not be."""
QUICK_S, SLOW_S = 0.25, 1.0
CALLS_AT_ONCE = 8
"""To the key service, for keys that a KEK wraps itself: each may wait for the network."""

Progress = Callable[[int, int], None]
"""Called with (twin keys done, twin keys in all)."""

_keys = table_of(WrappedTwinKey)
_wrapping = table_of(WrappingKeyRow)
_retiring = table_of(RetiringKek)

_Row = tuple[str, int, int, bytes]
_DIRECT = select(_keys.c.twin, _keys.c.generation, _keys.c.kek_version, _keys.c.wrapped)


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

    def __init__(self, database: Database, provider: KeyProvider, tenant: TenantId, wrapping: WrappingKeys) -> None:
        self._database = database
        self._provider = provider
        self._tenant = tenant
        self._wrapping = wrapping

    def plan(self, beyond: int = 0) -> RotationPlan:
        """What ``run`` and ``retire`` would do now. Changes nothing."""
        with self._database.reading() as connection, translated_keys():
            versions = held_versions(self._provider, self._tenant)
            new = not _is_behind(connection, versions[-1]) or versions[-1] <= beyond
            kek = max(versions[-1], beyond) + 1 if new else versions[-1]
            keys = _behind(connection, kek)
            retiring = {*(one for one in versions if one < kek), *_unfinished(connection)}
        return RotationPlan(kek, new, keys, tuple(sorted(retiring)))

    def run(self, progress: Progress | None = None, *, beyond: int = 0) -> int:
        """Wrap every wrapping key under the newest KEK, a new one unless an interrupted rotation has made it.

        Args:
            progress: told after every batch.
            beyond: the KEK must be newer than this version.

        Returns:
            The KEK's version.
        """
        with self._database.writing() as connection, translated_keys():
            target, total = self._target(connection, beyond)
        _tell(progress, total, self._batches(target))
        return target

    def renew(self, progress: Progress | None = None) -> None:
        """Put every twin's key under a fresh wrapping key, one wrapping key a transaction. Interrupted, begin again."""
        with self._database.reading() as connection:
            numbers = connection.execute(select(_wrapping.c.number).order_by(_wrapping.c.number)).scalars().all()
            total = int(connection.execute(select(func.count()).select_from(_keys)).scalar_one())
        _tell(progress, total, map(self._renew, numbers))

    def retire(self) -> list[int]:
        """Destroy every KEK version that wraps no key any more, save the newest. Returns the versions, ascending."""
        with self._database.writing() as connection, translated_keys():
            idle = self._idle(connection)
            known = _unfinished(connection)
            fresh = [{"kek_version": version} for version in idle if version not in known]
            if fresh:
                connection.execute(insert(_retiring), fresh)
        with self._database.writing() as connection, translated_keys():
            doomed = sorted(_unfinished(connection) - keks_in_use(connection))
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
        if not _is_behind(connection, newest) or newest <= beyond:
            newest = max(newest, beyond) + 1
            self._provider.create(KekId(self._tenant, newest))
            self._wrapping.close_all(connection)
        return newest, _behind(connection, newest)

    def _batches(self, target: int) -> Iterator[int]:
        """Move all that is behind, a transaction a step; how many twins' keys each step was for."""
        for move in (self._move_wrapping_keys, self._move_twin_keys):
            size = FIRST_BATCH
            while True:
                started = time.monotonic()
                with self._database.writing() as connection, translated_keys():
                    twins = move(connection, target, size)
                if twins is None:
                    break
                yield twins
                size = _next_size(size, time.monotonic() - started)

    def _move_wrapping_keys(self, connection: Connection, target: int, size: int) -> int | None:
        wanted = select(_wrapping).where(_wrapping.c.kek_version < target).order_by(_wrapping.c.number).limit(size)
        rows = connection.execute(wanted).all()
        if not rows:
            return None
        goal, moved = KekId(self._tenant, target), []
        for version, run in groupby(sorted(rows, key=attrgetter("kek_version")), key=attrgetter("kek_version")):
            some = list(run)
            wrapped = [WrappedKey(one.wrapped, hierarchy.wrapping_context(self._tenant, one.number)) for one in some]
            again = self._provider.rewrap_many(KekId(self._tenant, version), goal, wrapped)
            moved += [{"at": one.number, "now": new} for one, new in zip(some, again, strict=True)]
        moving = update(_wrapping).where(_wrapping.c.number == bindparam("at"))
        connection.execute(moving.values(kek_version=target, wrapped=bindparam("now")), moved)
        within = _keys.c.wrapping_key.in_([one.number for one in rows])
        return int(connection.execute(select(func.count()).where(within)).scalar_one())

    def _move_twin_keys(self, connection: Connection, target: int, size: int) -> int | None:
        """Keys that a KEK wraps itself, put under wrapping keys."""
        direct = (_keys.c.wrapping_key == 0) & (_keys.c.kek_version < target)
        rows = [_checked(row) for row in connection.execute(_DIRECT.where(direct).order_by(_keys.c.twin).limit(size))]
        if not rows:
            return None
        place, at_once = hierarchy.wrap_contexts(self._tenant), -(-len(rows) // CALLS_AT_ONCE)

        def unwrapped(some: Sequence[_Row]) -> list[Held]:
            return [
                Held(twin, generation, self._provider.unwrap(KekId(self._tenant, kek), sealed, place(twin, generation)))
                for twin, generation, kek, sealed in some
            ]

        with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="twinward-unwrap") as pool:
            shares = pool.map(unwrapped, [rows[at : at + at_once] for at in range(0, len(rows), at_once)])
            held = [one for share in shares for one in share]
        self._wrapping.fill(connection, held, KekId(self._tenant, target))
        return len(rows)

    def _renew(self, number: int) -> int:
        with self._database.writing() as connection, translated_keys():
            if connection.execute(select(_wrapping.c.number).where(_wrapping.c.number == number)).first() is None:
                return 0  # an erasure has replaced it meanwhile
            newest = held_versions(self._provider, self._tenant)[-1]
            return self._wrapping.renew(connection, number, KekId(self._tenant, newest))

    def _idle(self, connection: Connection) -> list[int]:
        *older, _newest = held_versions(self._provider, self._tenant)
        used = keks_in_use(connection)
        return [version for version in older if version not in used]


def _checked(row: Any) -> _Row:
    """A row whose columns hold what they should: SQLite would let an intruder store anything."""
    twin, generation, kek_version, wrapped = row
    if not (isinstance(generation, int) and isinstance(kek_version, int)):
        raise RecordDamaged("a column of the keyring holds something else: the keyring was altered")
    return twin, generation, kek_version, wrapped


def _tell(progress: Progress | None, total: int, steps: Iterator[int]) -> None:
    """Take the steps, and say how far they are; once also where there are none."""
    done, said = 0, False
    for twins in steps:
        done += twins
        if progress is not None and twins:
            progress(done, max(done, total))
            said = True
    if progress is not None and not said:
        progress(done, max(done, total))


def _next_size(size: int, took_s: float) -> int:
    if took_s < QUICK_S:
        return min(2 * size, LARGEST_BATCH)
    return max(size // 2, 1) if took_s > SLOW_S else size


def _behind(connection: Connection, target: int) -> int:
    """Twins' keys under KEKs before this one."""
    return sum(many for version, many in keys_by_kek(connection).items() if version < target)


def _is_behind(connection: Connection, target: int) -> bool:
    """Whether anything is, be it a wrapping key that wraps nothing."""
    return any(version < target for version in keks_in_use(connection))


def _unfinished(connection: Connection) -> set[int]:
    return set(connection.execute(select(_retiring.c.kek_version)).scalars())
