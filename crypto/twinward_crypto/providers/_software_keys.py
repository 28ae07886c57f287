"""KEKs held in this process's memory: what the local and the in-memory providers share.

A wrapped key is a ``TE1`` envelope (112 bytes) under the KEK, with the KEK's version in the header's generation field
and the context below; or, where the provider was opened as hybrid, 1,171 bytes: see ``_hybrid_wrap``. Both are
unwrapped whichever way it was opened, so a rotation moves every key to the one form or the other.

Python cannot zero memory: keys stay in the heap until the interpreter reuses the pages.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from twinward_crypto.envelope import OVERHEAD_BYTES, SealingKey, open_sealed, seal
from twinward_crypto.errors import KeyDestroyed, KeyNotFound
from twinward_crypto.kdf import KEY_BYTES, RandomBytes, derive, length_prefixed, require_key
from twinward_crypto.keys import KekId, TenantId, WrappedKey
from twinward_crypto.providers import _hybrid_wrap
from twinward_crypto.providers._key_names import TENANT_MAC, require_possible, wrap_aad, wrap_aad_of

WRAPPED_BYTES = OVERHEAD_BYTES + KEY_BYTES


@dataclass(slots=True)
class TenantKeys:
    """One tenant's keys. ``destroyed`` remembers versions that are gone, so that none is made twice."""

    mac_key: bytes = field(repr=False)
    keks: dict[int, bytes] = field(default_factory=dict, repr=False)
    destroyed: set[int] = field(default_factory=set)


class SoftwareKeys:
    """The work of a ``KeyProvider`` over a dictionary. A subclass says where the dictionary comes from and goes to.

    A subclass overrides ``_load`` (called before every use) and ``_save`` (called inside every change, which must be
    durable when it returns).
    """

    def __init__(self, random: RandomBytes = os.urandom, *, hybrid: bool = False) -> None:
        self._random = random
        self._hybrid = hybrid
        self._tenants: dict[TenantId, TenantKeys] = {}

    def create(self, key: KekId) -> None:
        """Make a KEK, and the tenant's MAC key with its first one."""
        require_possible(key)
        self._load()
        tenant = self._tenants.get(key.tenant) or TenantKeys(self._random(KEY_BYTES))
        if key.version in tenant.destroyed:
            raise KeyDestroyed(f"{key} was destroyed; make the next version instead")
        if key.version not in tenant.keks:
            tenant.keks[key.version] = self._random(KEY_BYTES)
            self._tenants[key.tenant] = tenant
            self._save()

    def versions(self, tenant: TenantId) -> tuple[int, ...]:
        """The live KEK versions of a tenant, ascending."""
        self._load()
        keys = self._tenants.get(tenant)
        return tuple(sorted(keys.keks)) if keys else ()

    def wrap(self, key: KekId, plaintext_key: bytes, context: bytes) -> bytes:
        """Encrypt a 32-byte key under a KEK, bound to ``context``; 112 bytes, 1,171 as a hybrid."""
        return self._wrap(self._kek(key), key.version, plaintext_key, wrap_aad(key, context))

    def unwrap(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a wrapped key of either form."""
        return self._unwrap(self._kek(key), wrapped, wrap_aad(key, context))

    def rewrap(self, source: KekId, target: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Move a wrapped key to another KEK."""
        return self.rewrap_many(source, target, [WrappedKey(wrapped, context)])[0]

    def rewrap_many(self, source: KekId, target: KekId, keys: Sequence[WrappedKey]) -> list[bytes]:
        """Move many. The KEKs are looked up once."""
        opens, closes = self._kek(source), self._kek(target)
        before, after, version = wrap_aad_of(source), wrap_aad_of(target), target.version
        moved = []
        opening, closing = SealingKey(opens), SealingKey(closes)
        for key in keys:
            context = length_prefixed(key.context)
            if self._hybrid or len(key.wrapped) != WRAPPED_BYTES:
                plaintext_key = self._unwrap(opens, key.wrapped, before + context)
                moved.append(self._wrap(closes, version, plaintext_key, after + context))
            else:  # what a rotation does by the million
                plaintext_key = opening.open(key.wrapped, before + context)
                moved.append(closing.seal(plaintext_key, after + context, generation=version))
        return moved

    def _wrap(self, kek: bytes, version: int, plaintext_key: bytes, aad: bytes) -> bytes:
        require_key(plaintext_key)
        if self._hybrid:
            return _hybrid_wrap.wrap(kek, plaintext_key, aad)
        return seal(kek, plaintext_key, aad, generation=version)

    def _unwrap(self, kek: bytes, wrapped: bytes, aad: bytes) -> bytes:
        if len(wrapped) == WRAPPED_BYTES:
            return open_sealed(kek, wrapped, aad)
        return _hybrid_wrap.unwrap(kek, wrapped, aad)

    def destroy(self, key: KekId) -> None:
        """Forget a KEK for good and remember that it existed."""
        self._load()
        tenant = self._tenants.get(key.tenant)
        if tenant is not None and key.version in tenant.destroyed:
            return
        if tenant is None or key.version not in tenant.keks:
            raise KeyNotFound(f"{key} does not exist")
        del tenant.keks[key.version]
        tenant.destroyed.add(key.version)
        self._save()

    def mac(self, tenant: TenantId, label: bytes, message: bytes) -> bytes:
        """32 pseudo-random bytes under the tenant's MAC key, which no rotation touches."""
        self._load()
        keys = self._tenants.get(tenant)
        if keys is None:
            raise KeyNotFound(f"tenant {tenant} has no keys yet; create its first KEK")
        return derive(keys.mac_key, TENANT_MAC, length_prefixed(label, message))

    def close(self) -> None:
        """Forget the keys."""
        self._tenants = {}

    def __reduce__(self) -> str:
        raise TypeError("a key provider is not pickled: it holds keys")

    def _load(self) -> None:
        """Bring ``_tenants`` up to date."""

    def _save(self) -> None:
        """Make ``_tenants`` durable."""

    def _kek(self, key: KekId) -> bytes:
        self._load()
        tenant = self._tenants.get(key.tenant)
        if tenant is not None and key.version in tenant.keks:
            return tenant.keks[key.version]
        if tenant is not None and key.version in tenant.destroyed:
            raise KeyDestroyed(f"{key} was destroyed; what it wrapped is gone for good")
        raise KeyNotFound(f"{key} does not exist")
