"""Twins' keys as the keyring's table holds them: under a wrapping key, bound to their place. Each call is a part of the
caller's transaction. Rows of before there were wrapping keys are under a KEK, until a rotation moves them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, union, union_all, update

from twinward.core.clock import Clock
from twinward.core.sentences import sentence
from twinward.core.vocabulary import TwinId
from twinward.vault.errors import RecordDamaged, TwinExists, TwinNotFound, TwinShredded, VaultUnavailable
from twinward.vault.keys.erasure_journal import PendingShred
from twinward.vault.keys.twin_keys import RetainedKeys, TwinKeys
from twinward.vault.keys.wrapping_keys import Held, WrappingKey, WrappingKeys
from twinward.vault.storage.tables import ShreddedTwin, WrappedTwinKey, WrappingKeyRow, in_order
from twinward_crypto import hierarchy
from twinward_crypto.errors import KeyDestroyed, KeyProviderError, OpenError, ParameterError
from twinward_crypto.kdf import RandomBytes
from twinward_crypto.keys import KekId, KeyProvider, TenantId
from twinward_ledger.storage import table_of

_keys = table_of(WrappedTwinKey)
_shredded = table_of(ShreddedTwin)
_wrapping = table_of(WrappingKeyRow)
_outer = {"outer_kek": _wrapping.c.kek_version, "outer_wrapped": _wrapping.c.wrapped}
_with_outer = select(_keys, *(column.label(name) for name, column in _outer.items())).outerjoin(
    _wrapping, _wrapping.c.number == _keys.c.wrapping_key
)
"""A twin's row beside the wrapping key that it names, of one state of the database."""


class WrappedKeys:
    """One tenant's wrapped keys. It holds no key itself; ``wrapping`` are the keys between them and the KEK."""

    def __init__(self, provider: KeyProvider, tenant: TenantId, clock: Clock, random: RandomBytes) -> None:
        self._provider = provider
        self._tenant = tenant
        self._clock = clock
        self._random = random
        self.wrapping = WrappingKeys(provider, tenant, random)

    def require_keks(self, connection: Connection) -> None:
        """Raise ``VaultUnavailable`` unless the service holds the newest KEK that wraps a key here, or a newer one.

        Versions only grow, and the newest is never destroyed: a service that lacks it is another, or an older copy. A
        keyring may be older than its service, as after a restore: what a destroyed KEK wrapped in it does not open.
        """
        newest, needed = self._newest_kek(), max(keks_in_use(connection), default=0)
        if newest.version < needed:
            raise VaultUnavailable(
                f"the key service {self._provider.uri} holds no KEK of {self._tenant} newer than {newest.version}, "
                f"and twins' keys here are wrapped under KEK {needed}",
                hint="the key service is another one, or an older copy: name the one that wrapped them",
            )

    def reserve(self, connection: Connection, twins: Sequence[TwinId]) -> list[TwinKeys]:
        """Make keys for those of these twins that have none, and give these. Raises ``TwinShredded``."""
        wanted: list[str] = []
        for some in in_order(frozenset(twins)):
            gone = connection.execute(select(_shredded.c.twin).where(_shredded.c.twin.in_(some))).scalars().first()
            if gone is not None:
                raise TwinShredded(sentence("twin {gone} was shredded; a new twin takes a new name", gone=gone))
            kept = frozenset(connection.execute(select(_keys.c.twin).where(_keys.c.twin.in_(some))).scalars())
            wanted += [twin for twin in some if twin not in kept]
        kek = self._newest_kek()
        made: list[TwinKeys] = []
        while len(made) < len(wanted):
            outer, room = self.wrapping.with_room(connection, kek)
            rows = []
            for twin in wanted[len(made) : len(made) + room]:
                generation, key = hierarchy.FIRST_GENERATION, hierarchy.new_twin_key(self._random)
                place = {"twin": twin, "generation": generation, "kek_version": 0, "wrapping_key": outer.number}
                rows.append(place | {"created": False, "wrapped": outer.wrap(twin, generation, key)})
                made.append(TwinKeys(TwinId(twin), generation, key))
            connection.execute(insert(_keys), rows)
        return made

    def create(self, connection: Connection, twins: Sequence[TwinId]) -> None:
        """Make twins of these names, with keys. Raises ``TwinExists``, ``TwinShredded``."""
        self.reserve(connection, twins)
        if len(frozenset(twins)) < len(twins):
            raise TwinExists("a twin is named twice")
        for some in in_order(twins):
            wanted = _keys.c.twin.in_(some)
            earlier = connection.execute(select(_keys.c.twin).where(wanted, _keys.c.created)).scalars().first()
            done = connection.execute(update(_keys).where(wanted, _keys.c.created.is_(False)).values(created=True))
            if earlier is not None or done.rowcount < len(some):
                raise TwinExists(sentence("twin {twin} exists already", twin=earlier or some[0]))

    def find(self, connection: Connection, twin: TwinId) -> Row[Any] | None:
        """A twin's row, if it has one. Raises ``TwinShredded``."""
        row = connection.execute(_with_outer.where(_keys.c.twin == twin).order_by(_keys.c.generation)).first()
        if row is None and self.is_shredded(connection, twin):
            raise TwinShredded(sentence("twin {twin} was shredded: nothing of it opens any more", twin=twin))
        return row

    def find_created(self, connection: Connection, twins: Sequence[TwinId]) -> list[Row[Any]]:
        """The rows of those of these twins that were created and not shredded, by wrapping key."""
        found: list[Row[Any]] = []
        for some in in_order(frozenset(twins)):
            found += connection.execute(_with_outer.where(_keys.c.twin.in_(some), _keys.c.created)).all()
        return sorted(found, key=lambda row: str(row.wrapping_key))

    def open(self, row: Row[Any], outer: WrappingKey | None = None) -> TwinKeys:
        """Unwrap what a row holds, with its wrapping key where that is open. Raises as ``outer``."""
        with translated_keys(opening=True):
            place = self._place(row)
            outer = outer or self.outer(row)
            if outer is None:
                key = self._provider.unwrap(KekId(self._tenant, row.kek_version), row.wrapped, place)
            else:
                key = outer.unwrap(row.twin, row.generation, row.wrapped)
            kept = None if row.kept is None else RetainedKeys.open(key, row.kept, place)
        return TwinKeys(TwinId(row.twin), row.generation, key, kept)

    def outer(self, row: Row[Any]) -> WrappingKey | None:
        """The wrapping key that a row is under; none where a KEK wraps it itself.

        Raises:
            RecordDamaged: it does not open.
            TwinShredded: the KEK that wrapped it was destroyed.
            VaultUnavailable: the key service refused or failed.
        """
        with translated_keys(opening=True):
            if row.wrapping_key == 0:
                return None
            return self.wrapping.open(row.wrapping_key, row.outer_kek, row.outer_wrapped)

    def shred(self, connection: Connection, doomed: Sequence[PendingShred]) -> list[tuple[bytes, ...]]:
        """Destroy the keys that open what is doomed; return the tags of each one's categories that went.

        What wrapped them is renewed: no copy of a key that went is ever opened by what is kept here. Where a row does
        not open under the wrapping key that it names, another may be what wrapped it, and all of them are renewed:
        whoever can write the database would have that one carried on, and put the row back.

        Raises:
            TwinNotFound: there was never such a twin.
            TwinShredded: categories of a twin that is gone altogether.
            RecordDamaged: another key under the same wrapping key does not open.
        """
        tags, behind = [], set[int]()
        for one in doomed:
            row = connection.execute(_with_outer.where(_keys.c.twin == one.twin)).first()
            if row is not None:
                behind |= self._wrapped_by(connection, row)
            tags.append(self._renew(connection, one, row) if one.categories else self._delete(connection, one.twin))
        for number in sorted(behind):
            self.wrapping.renew(connection, number, self._newest_kek())
        return tags

    def is_shredded(self, connection: Connection, twin: TwinId) -> bool:
        """Whether a twin's key was destroyed on purpose."""
        return connection.execute(select(_shredded.c.twin).where(_shredded.c.twin == twin)).first() is not None

    def _wrapped_by(self, connection: Connection, row: Row[Any]) -> set[int]:
        """The wrapping keys that may have wrapped a row's key: the one that it names, if it opens under that one."""
        with suppress(RecordDamaged, TwinShredded):
            self.open(row)
            return {row.wrapping_key} - {0}
        if not isinstance(row.wrapping_key, int):
            raise RecordDamaged("a column of numbers holds something else: the keyring was altered")
        return {row.wrapping_key, *connection.execute(select(_wrapping.c.number)).scalars()} - {0}

    def _delete(self, connection: Connection, twin: TwinId) -> tuple[bytes, ...]:
        deleted = connection.execute(delete(_keys).where(_keys.c.twin == twin)).rowcount
        if deleted:
            connection.execute(insert(_shredded).values(twin=twin, shredded_at_ms=self._clock.now_ms()))
        elif not self.is_shredded(connection, twin):
            raise TwinNotFound(sentence("no twin {twin}", twin=twin))
        return ()

    def _renew(self, connection: Connection, doomed: PendingShred, row: Row[Any] | None) -> tuple[bytes, ...]:
        """Give a twin a new key, under which everything is kept that the old one gave, save the shredded categories."""
        if row is None and self.is_shredded(connection, doomed.twin):
            raise TwinShredded(sentence("twin {twin} was shredded: nothing of it is left", twin=doomed.twin))
        if row is None or not row.created:
            raise TwinNotFound(sentence("no twin {twin}", twin=doomed.twin))
        keys, key = self.open(row), hierarchy.new_twin_key(self._random)
        generation = row.generation + 1
        place = hierarchy.wrap_context(self._tenant, doomed.twin, generation)
        kept = keys.without(doomed.categories).seal(key, place, generation)
        moved = {"generation": generation, "kept": kept}
        connection.execute(update(_keys).where(_keys.c.twin == doomed.twin).values(moved))
        self.wrapping.fill(connection, [Held(doomed.twin, generation, key)], self._newest_kek())
        return tuple(keys.category_tag(category) for category in sorted(doomed.categories))

    def _newest_kek(self) -> KekId:
        """What wraps new keys. Raises ``VaultUnavailable``: the service holds none."""
        return KekId(self._tenant, held_versions(self._provider, self._tenant)[-1])

    def _place(self, row: Row[Any]) -> bytes:
        """What a stored key is bound to."""
        if not all(isinstance(one, int) for one in (row.generation, row.kek_version, row.wrapping_key)):
            raise RecordDamaged("a column of numbers holds something else: the keyring was altered")
        return hierarchy.wrap_context(self._tenant, row.twin, row.generation)


def keks_in_use(connection: Connection) -> frozenset[int]:
    """The KEK versions that wrap something in this keyring. Raises ``RecordDamaged``."""
    direct = select(_keys.c.kek_version).where(_keys.c.wrapping_key == 0)
    found = connection.execute(union(direct, select(_wrapping.c.kek_version))).scalars().all()
    if not all(isinstance(one, int) for one in found):
        raise RecordDamaged("a column of numbers holds something else: the keyring was altered")
    return frozenset(found)


def keys_by_kek(connection: Connection) -> dict[int, int]:
    """How many twins' keys each KEK version wraps, directly or through a wrapping key."""
    direct = select(_keys.c.kek_version, func.count()).where(_keys.c.wrapping_key == 0).group_by(_keys.c.kek_version)
    inner = select(_keys.c.wrapping_key, func.count().label("many")).group_by(_keys.c.wrapping_key).subquery()
    within = select(_wrapping.c.kek_version, func.sum(inner.c.many)).join(
        inner, inner.c.wrapping_key == _wrapping.c.number
    )
    counted: Counter[int] = Counter()
    for version, many in connection.execute(union_all(direct, within.group_by(_wrapping.c.kek_version))):
        counted[int(version)] += int(many)
    return dict(counted)


def held_versions(provider: KeyProvider, tenant: TenantId) -> tuple[int, ...]:
    """The live KEK versions of a tenant, ascending, at least one; the last wraps new keys.

    Raises:
        VaultUnavailable: the service holds none.
        KeyProviderError: it refused or failed.
    """
    versions = provider.versions(tenant)
    if not versions:
        raise VaultUnavailable(
            f"the key service {provider.uri} holds no key of {tenant}",
            hint="name the key service that this node was made with, or restore it from its backup",
        )
    return versions


@contextmanager
def translated_keys(*, opening: bool = False) -> Iterator[None]:
    """Turn the crypto leaf's errors into the vault's.

    ``opening`` a twin's key: then a KEK that was destroyed is how the twin was shredded. Elsewhere it is a KEK that
    should be there.
    """
    try:
        yield
    except KeyProviderError as error:
        if opening and isinstance(error, KeyDestroyed):
            raise TwinShredded(
                "the key that wrapped this twin's key was destroyed: nothing of it opens any more"
            ) from error
        hint = error.hint or "check the key service"
        raise VaultUnavailable(f"the key service refused: {error}", hint=hint) from error
    except (OpenError, ParameterError) as error:
        raise RecordDamaged("a wrapped twin key does not open: the keyring was altered, or is another's") from error
