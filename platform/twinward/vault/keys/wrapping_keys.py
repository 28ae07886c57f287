"""Wrapping keys: each wraps the keys of up to a thousand twins, and the key service's KEK wraps it.

A rotation of the KEK rewraps these alone. An erasure replaces the one that wrapped what was erased, in the transaction
that deletes the row: the old one is then in no keyring but in copies of before, under KEKs of before, and those are
destroyed before an erasure is said to be done. So **no wrapping key that ever wrapped a shredded key is wrapped anew**.

A number names one key for ever. Keys of twins are ``TE1`` envelopes under it, bound to the number and to the place
(tenant, twin, generation). A wrapping key is in this process's memory while a transaction or one unwrapping lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from twinward.core.sentences import sentence
from twinward.vault.errors import RecordDamaged
from twinward.vault.storage.tables import WrappedTwinKey, WrappingKeyRow
from twinward_crypto import hierarchy
from twinward_crypto.envelope import SealingKey
from twinward_crypto.errors import OpenError
from twinward_crypto.kdf import RandomBytes
from twinward_crypto.keys import KekId, KeyProvider, TenantId
from twinward_ledger.storage import table_of

TWINS_PER_WRAPPING_KEY = 1_000

_twin_keys = table_of(WrappedTwinKey)
_wrapping = table_of(WrappingKeyRow)

_MOVE_SQLITE = (
    "UPDATE wrapped_twin_key SET kek_version = 0, wrapping_key = ?, wrapped = ? WHERE twin = ? AND generation = ?"
)
_MOVE_POSTGRES = (
    "UPDATE wrapped_twin_key AS kept SET kek_version = 0, wrapping_key = %s, wrapped = moved.wrapped"
    " FROM unnest(%s::text[], %s::int[], %s::bytea[]) AS moved(twin, generation, wrapped)"
    " WHERE kept.twin = moved.twin AND kept.generation = moved.generation"
)


class Held(NamedTuple):
    """A twin's key, unwrapped within a transaction that wraps it anew."""

    twin: str
    generation: int
    key: bytes

    def __repr__(self) -> str:
        return "Held(…)"


class WrappingKey:
    """One wrapping key, unwrapped. It has no representation and is never pickled."""

    __slots__ = ("_key", "_place", "number")

    def __init__(self, tenant: TenantId, number: int, key: bytes) -> None:
        self.number = number
        self._key = SealingKey(key)
        self._place: Callable[[str, int], bytes] = hierarchy.inner_contexts(tenant, number)

    def wrap(self, twin: str, generation: int, key: bytes) -> bytes:
        """A twin's key under this one, bound to its place: 112 bytes."""
        return self._key.seal(key, self._place(twin, generation))

    def unwrap(self, twin: str, generation: int, wrapped: bytes) -> bytes:
        """What ``wrap`` wrapped. Raises ``OpenError``."""
        return self._key.open(wrapped, self._place(twin, generation))

    def __reduce__(self) -> str:
        raise TypeError("a wrapping key is not pickled")


class WrappingKeys:
    """One tenant's wrapping keys in the keyring. Each call is a part of the caller's transaction; none is kept."""

    def __init__(self, provider: KeyProvider, tenant: TenantId, random: RandomBytes) -> None:
        self._provider = provider
        self._tenant = tenant
        self._random = random

    def with_room(self, connection: Connection, kek: KekId) -> tuple[WrappingKey, int]:
        """The wrapping key for keys that are made now, and for how many more; a new one under ``kek`` where none is."""
        newest = connection.execute(select(_wrapping).order_by(_wrapping.c.number.desc()).limit(1)).first()
        if newest is not None and not newest.closed:
            wraps = select(func.count()).where(_twin_keys.c.wrapping_key == newest.number)
            room = TWINS_PER_WRAPPING_KEY - int(connection.execute(wraps).scalar_one())
            if room > 0:
                return self.open(newest.number, newest.kek_version, newest.wrapped), room
        return self._make(connection, kek, closed=False), TWINS_PER_WRAPPING_KEY

    def open(self, number: object, kek_version: object, wrapped: bytes | None) -> WrappingKey:
        """Unwrap one that the keyring's table holds. Raises ``RecordDamaged``, or an error of the key service."""
        if not isinstance(number, int) or number < 1 or not isinstance(kek_version, int) or wrapped is None:
            raise RecordDamaged("the key that wraps a twin's key is missing or altered: the keyring was altered")
        place = hierarchy.wrapping_context(self._tenant, number)
        key = self._provider.unwrap(KekId(self._tenant, kek_version), wrapped, place)
        return WrappingKey(self._tenant, number, key)

    def fill(self, connection: Connection, held: Sequence[Held], kek: KekId) -> None:
        """Put keys that have rows under wrapping keys with room."""
        at = 0
        while at < len(held):
            into, room = self.with_room(connection, kek)
            self._put(connection, held[at : at + room], into)
            at += room

    def renew(self, connection: Connection, number: int, kek: KekId) -> int:
        """Wrap what this one wraps under a fresh key, and delete it. Returns how many keys there were.

        Raises:
            RecordDamaged: one of the keys does not open.
            KeyProviderError: the key service refused or failed.
        """
        row = connection.execute(select(_wrapping).where(_wrapping.c.number == number)).first()
        if row is None:
            raise RecordDamaged("the key that wraps a twin's key is missing: the keyring was altered")
        old = self.open(row.number, row.kek_version, row.wrapped)
        wanted = select(_twin_keys.c.twin, _twin_keys.c.generation, _twin_keys.c.wrapped)
        rows = connection.execute(wanted.where(_twin_keys.c.wrapping_key == number).order_by(_twin_keys.c.twin)).all()
        held = [Held(one.twin, one.generation, _unwrapped(old, one)) for one in rows]
        self._put(connection, held, self._make(connection, kek, closed=True))
        connection.execute(delete(_wrapping).where(_wrapping.c.number == number))
        return len(held)

    def close_all(self, connection: Connection) -> None:
        """Let none of those that are there wrap further twins: what is made from now on is under new ones."""
        connection.execute(update(_wrapping).where(_wrapping.c.closed.is_(False)).values(closed=True))

    def _make(self, connection: Connection, kek: KekId, *, closed: bool) -> WrappingKey:
        # The newest row is only ever deleted after a newer one was made, so a number is never used twice.
        number = 1 + int(connection.execute(select(func.coalesce(func.max(_wrapping.c.number), 0))).scalar_one())
        key = hierarchy.new_twin_key(self._random)
        wrapped = self._provider.wrap(kek, key, hierarchy.wrapping_context(self._tenant, number))
        row = {"number": number, "kek_version": kek.version, "closed": closed, "wrapped": wrapped}
        connection.execute(insert(_wrapping).values(row))
        return WrappingKey(self._tenant, number, key)

    def _put(self, connection: Connection, held: Sequence[Held], into: WrappingKey) -> None:
        moved = [into.wrap(*one) for one in held]
        if not moved:
            return
        if connection.dialect.name == "postgresql":
            twins, generations, _ = zip(*held, strict=True)
            connection.exec_driver_sql(_MOVE_POSTGRES, (into.number, list(twins), list(generations), moved))
        else:
            each = [(into.number, wrapped, one.twin, one.generation) for one, wrapped in zip(held, moved, strict=True)]
            connection.exec_driver_sql(_MOVE_SQLITE, each)


def _unwrapped(key: WrappingKey, row: Any) -> bytes:
    if not isinstance(row.generation, int):
        raise RecordDamaged("a column of numbers holds something else: the keyring was altered")
    try:
        return key.unwrap(row.twin, row.generation, row.wrapped)
    except OpenError:
        said = sentence("the wrapped key of twin {twin} does not open: the keyring was altered", twin=row.twin)
        raise RecordDamaged(said) from None
