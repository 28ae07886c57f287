"""The keyring: every twin's key under a wrapping key, and those under the key service's, in a database apart from the
records.

Deleting a row here makes all of a twin's records unreadable, wherever copies of them are. Rotation rewraps wrapping
keys and touches no record. The order of locks: first this database's write lock, then the key service; a KEK is retired
under the same lock that new keys are wrapped under, so no key is ever wrapped under a KEK that is about to go.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from sqlalchemy import Connection, func, select

from twinward.core.clock import Clock
from twinward.core.sentences import sentence
from twinward.core.vocabulary import NOBODY, Category, TwinId
from twinward.vault.errors import RecordDamaged, TwinNotFound, TwinShredded
from twinward.vault.keys.erasure_journal import ErasureJournal, PendingShred, UnfinishedErasure
from twinward.vault.keys.rotation import Progress, Rotation, RotationPlan
from twinward.vault.keys.twin_keys import CACHE_TTL_MS, CACHE_TWINS, KeyCache, TwinKeys
from twinward.vault.keys.wrapped_keys import WrappedKeys, held_versions, keks_in_use, keys_by_kek, translated_keys
from twinward.vault.storage.schemas import KEYRING
from twinward.vault.storage.tables import Erasure, ShreddedTwin, WrappedTwinKey, WrappingKeyRow
from twinward_crypto import blind_index
from twinward_crypto.kdf import RandomBytes
from twinward_crypto.keys import KeyProvider, TenantId
from twinward_ledger.storage import Database, table_of
from twinward_ledger.storage.sqlite import SqliteFile

TENANT_AUDIT = b"twinward/tenant-audit-key"

_keys = table_of(WrappedTwinKey)
_shredded = table_of(ShreddedTwin)
_erasure = table_of(Erasure)
_wrapping = table_of(WrappingKeyRow)


@dataclass(frozen=True, slots=True)
class KeyCensus:
    """The keyring at a glance.

    Attributes:
        shredded: twins whose keys were destroyed.
        keks: versions of the tenant's KEK that the key service holds, oldest first.
        wrapped: twin keys under each KEK version.
    """

    shredded: frozenset[TwinId]
    keks: tuple[int, ...]
    wrapped: Mapping[int, int]

    @property
    def known(self) -> range:
        """Every version that there is or was: they count up from 1."""
        return range(1, max((*self.keks, *self.wrapped), default=0) + 1)


class Keyring:
    """Twins' keys, one tenant's. Also the audit trail's ``EventKeys``. Safe to share between threads."""

    def __init__(
        self,
        place: Path | Database,
        provider: KeyProvider,
        tenant: TenantId,
        clock: Clock,
        *,
        random: RandomBytes = os.urandom,
    ) -> None:
        """Open or make the keyring's database (a SQLite file, or one already open). No KEK is made here.

        Raises:
            VaultUnavailable: the database or the key service cannot be used, or they do not belong together.
        """
        self._provider = provider
        self._tenant = tenant
        self._wrapped = WrappedKeys(provider, tenant, clock, random)
        self._erasures = ErasureJournal()
        self._taggers: dict[str, blind_index.Tagger] = {}
        self._file: Database = SqliteFile(place, KEYRING) if isinstance(place, Path) else place
        try:
            with self._file.writing() as connection, translated_keys():
                self._wrapped.require_keks(connection)
                seen = _newest_erasure(connection)
        except BaseException:
            self._file.close()
            raise
        self._clock = clock
        self._tenant_audit: tuple[int, bytes] = (0, b"")
        self._cache = KeyCache(clock, self.newest_erasure, seen)

    def create(self, twin: TwinId) -> None:
        """Make a new twin's key, durably.

        Raises:
            TwinExists: it was created before.
            TwinShredded: it existed and was shredded.
            VaultUnavailable: nothing was made.
        """
        self.create_all([twin])

    def create_all(self, twins: Sequence[TwinId]) -> None:
        """Make many new twins' keys in one durable step, all or none. Raises as ``create``."""
        if not twins:
            return
        with self._file.writing() as connection, translated_keys():
            self._wrapped.create(connection, twins)
        self._cache.mark_created(twins)

    def reserve(self, twins: Sequence[TwinId]) -> None:
        """Make keys for many twins-to-be in one durable step, so that events about them can be sealed.

        Raises:
            TwinShredded: one of them was shredded; none was made.
        """
        if not twins:
            return
        emptied = self._cache.emptied
        with self._file.writing() as connection, translated_keys():
            made = self._wrapped.reserve(connection, twins)
        self._cache.put_reserved(made, emptied)

    def keys(self, twin: TwinId) -> TwinKeys:
        """The unwrapped key of a twin that was created, from the cache for up to ``CACHE_TTL_MS``.

        Raises:
            TwinNotFound: it was never created.
            TwinShredded: its key was destroyed.
            RecordDamaged: the wrapped key was altered.
            VaultUnavailable: the database or the key service does not answer.
        """
        cached = self._cache.get(twin)
        return cached if cached is not None else self._unwrap(twin, created=True)

    def fetch(self, twins: Collection[TwinId]) -> None:
        """Unwrap the keys of many twins together and keep them as any other, for what follows: bulk only.

        The key service is asked once a wrapping key. Keys that are not to be had are left to whoever asks for them.
        Raises ``VaultUnavailable``.
        """
        wanted = [twin for twin in twins if self._cache.get(twin, created=False) is None]
        emptied = self._cache.emptied
        if not 1 < len(wanted) <= CACHE_TWINS:
            return  # more than are kept would push each other out
        with self._file.reading() as connection:
            rows = self._wrapped.find_created(connection, wanted)
        for _, some in groupby(rows, key=attrgetter("wrapping_key")):
            outer = None
            for row in some:
                with suppress(RecordDamaged, TwinShredded):
                    outer = outer or self._wrapped.outer(row)
                    self._cache.put(TwinId(row.twin), self._wrapped.open(row, outer), emptied)

    def audit_key(self, twin: TwinId | None) -> bytes:
        """The 32-byte key for bodies of events about a twin, or about none or nobody (the tenant's own).

        A twin that is about to be made has one once it was reserved, so that the event of its making is erasable too.
        Raises ``TwinNotFound``, or ``TwinShredded`` once it was shredded (both are ``NotFound``).
        """
        if twin is None or twin == NOBODY:
            return self._tenant_key()
        cached = self._cache.get(twin, created=False)
        if cached is not None:
            return cached.audit_key()
        return self._unwrap(twin, created=False).audit_key()

    def tag(self, label: str, value: str) -> bytes:
        """A 16-byte blind-index tag, stable for this tenant over every rotation."""
        tagger = self._taggers.get(label)
        if tagger is None:
            with translated_keys():
                key = blind_index.index_key(self._provider, self._tenant, label)
            tagger = self._taggers[label] = blind_index.Tagger(key)
        return tagger(value.encode("utf-8", "surrogatepass"))

    def rotate(self, progress: Progress | None = None, *, beyond: int = 0, renew: bool = False) -> int:
        """Rewrap every wrapping key under a new KEK; no record is touched. Returns the KEK's version.

        Interrupted, it goes on where it stopped the next time. The old KEK stays until ``retire``.

        Args:
            progress: told how many twins' keys are done, of how many.
            beyond: the KEK has to be newer than this version, as after a shredding.
            renew: put every twin's key under a fresh wrapping key, too: somebody may have read a node's memory.
        """
        version = self._rotation.run(progress, beyond=beyond)
        if renew:
            self._rotation.renew(progress)
        return version

    def retire(self) -> list[int]:
        """Destroy every KEK version that wraps no key any more, save the newest. Returns the versions.

        From then on no backup of this database that is older than the rotation opens anything.
        """
        return self._rotation.retire()

    def idle_keks(self) -> list[int]:
        """What ``retire`` would destroy. Changes nothing."""
        return self._rotation.idle()

    def rotation_plan(self, beyond: int = 0) -> RotationPlan:
        """What ``rotate`` and ``retire`` would do. Changes nothing."""
        return self._rotation.plan(beyond)

    def shred(self, twin: TwinId, categories: Collection[Category] = ()) -> None:
        """``shred_all`` of one twin, or of some of its categories."""
        self.shred_all([PendingShred(twin, frozenset(categories))])

    def shred_all(self, doomed: Sequence[PendingShred]) -> None:
        """Destroy keys here, all or none in one durable step, and remember what is still to be done about them.

        A shredded twin has no key any more. One of which categories were shredded has a new one (``RetainedKeys``).
        Idempotent. Backups of this database hold the old keys until ``rotate`` and ``retire`` have followed: these are
        ``unfinished`` until ``finish``.

        Raises:
            TwinNotFound: there was never such a twin; nothing was shredded.
            TwinShredded: categories of a twin that is gone altogether.
        """
        with self._file.writing() as connection, translated_keys():
            newest = held_versions(self._provider, self._tenant)[-1]
            shredded = zip(doomed, self._wrapped.shred(connection, doomed), strict=True)
            for number, (one, tags) in enumerate(shredded, start=_newest_erasure(connection) + 1):
                self._erasures.add(connection, number, one, tags, newest)
        self._cache.empty()
        self._file.forget_deleted()

    def newest_erasure(self) -> int:
        """The number of the newest erasure, whichever process made it; 0 before the first."""
        with self._file.reading() as connection:
            return _newest_erasure(connection)

    def erased_since(self, number: int) -> frozenset[TwinId]:
        """Twins of which something was erased after the erasure of this number, in whole or in part."""
        with self._file.reading() as connection:
            return self._erasures.twins_after(connection, number)

    def unfinished(self) -> list[UnfinishedErasure]:
        """Shreddings after which old backups still open something, or whose end is not in the log; the oldest first."""
        with self._file.reading() as connection:
            return self._erasures.unfinished(connection)

    def finish(self, done: Mapping[int, int]) -> None:
        """Note that shreddings are done: number to the index of the event that says so."""
        with self._file.writing() as connection:
            self._erasures.finish(connection, done)

    def census(self) -> KeyCensus:
        """What the keyring holds, counted. Opens nothing."""
        with self._file.reading() as connection, translated_keys():
            wrapped = keys_by_kek(connection)
            shredded = connection.execute(select(_shredded.c.twin)).scalars().all()
            versions = tuple(self._provider.versions(self._tenant))
        return KeyCensus(frozenset(map(TwinId, shredded)), versions, wrapped)

    def twins_from(self, kek: int) -> list[TwinId]:
        """Twins whose keys a KEK wraps or may have wrapped: under it or, since a rotation, under a newer one."""
        with self._file.reading() as connection:
            beside = select(_keys.c.twin).outerjoin(_wrapping, _wrapping.c.number == _keys.c.wrapping_key)
            under = func.coalesce(_wrapping.c.kek_version, _keys.c.kek_version)
            wanted = beside.where(_keys.c.created, under >= kek).order_by(_keys.c.twin)
            return [TwinId(one) for one in connection.execute(wanted).scalars()]

    def is_shredded(self, twin: TwinId) -> bool:
        """Whether a twin's key was destroyed on purpose."""
        with self._file.reading() as connection:
            return self._wrapped.is_shredded(connection, twin)

    def count(self) -> int:
        """How many twins were created and not shredded."""
        with self._file.reading() as connection:
            return connection.execute(select(func.count()).where(_keys.c.created)).scalar_one()

    def outlived_kek(self) -> int | None:
        """The KEK that wraps this keyring's newest keys, where it was destroyed since; None where it is held.

        A rotation wraps every key anew before it destroys a KEK, so such a keyring is an older copy.
        """
        with self._file.reading() as connection, translated_keys():
            newest = max(keks_in_use(connection), default=None)
            return newest if newest not in (None, *held_versions(self._provider, self._tenant)) else None

    def is_empty(self) -> bool:
        """Whether it never held a key: not even of somebody who was asked for and is not known, or was shredded."""
        tables = (_keys, _shredded)
        with self._file.reading() as connection:
            return not any(connection.execute(select(1).select_from(one).limit(1)).first() for one in tables)

    def close(self) -> None:
        """Forget the cached keys and give back the database."""
        self._cache.empty()
        self._tenant_audit = (0, b"")
        self._taggers.clear()
        self._file.close()

    @cached_property
    def _rotation(self) -> Rotation:
        return Rotation(self._file, self._provider, self._tenant, self._wrapped.wrapping)

    def __reduce__(self) -> str:
        raise TypeError("a keyring is not pickled")

    def _tenant_key(self) -> bytes:
        """The key for events about nobody: kept as long as twins' keys are, since every sign-in wants it."""
        until_ms, key = self._tenant_audit
        now_ms = self._clock.now_ms()
        if now_ms >= until_ms:
            with translated_keys():
                key = self._provider.mac(self._tenant, TENANT_AUDIT, b"")
            self._tenant_audit = now_ms + CACHE_TTL_MS, key
        return key

    def _unwrap(self, twin: TwinId, *, created: bool) -> TwinKeys:
        emptied = self._cache.emptied
        with self._file.reading() as connection:
            row = self._wrapped.find(connection, twin)
        if row is None or (created and not row.created):
            raise TwinNotFound(sentence("no twin {twin}", twin=twin), hint="create the twin first")
        keys = self._wrapped.open(row)
        if row.created:
            self._cache.put(twin, keys, emptied)
        return keys


def newest_kek(database: Database) -> int | None:
    """The newest KEK version that wraps a twin's key in a keyring's database; none where none is there."""
    with database.reading() as connection:
        return max(keks_in_use(connection), default=None)


def _newest_erasure(connection: Connection) -> int:
    """The newest erasure's number; 0 before the first. Every process looks for it before it uses a key it has kept."""
    return int(connection.execute(select(func.coalesce(func.max(_erasure.c.number), 0))).scalar_one())
