"""What every key service must do, and the names of the keys it holds.

A *key service* holds versioned key-encryption keys (KEKs) that never leave it. The node hands it twin
keys to wrap and gets wrapped bytes back. Backends stand in ``providers/``, one file each, and are chosen
by URI from an explicit map; each passes the suite in ``testing/provider_conformance.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NewType, Protocol

TenantId = NewType("TenantId", str)
"""One hospital's name inside a key service, e.g. ``st-anna``."""


@dataclass(frozen=True, slots=True, order=True)
class KekId:
    """A key-encryption key: one tenant's, one version. Versions start at 1 and only grow."""

    tenant: TenantId
    version: int

    def __str__(self) -> str:
        return f"{self.tenant}/kek/{self.version}"


class WrappedKey(NamedTuple):
    """A wrapped key and the context it is bound to. A tuple: a rotation makes a million of them."""

    wrapped: bytes
    context: bytes

    def __repr__(self) -> str:
        return "WrappedKey(…)"


class KeyProvider(Protocol):
    """A key service. Every method raises a ``KeyProviderError`` subclass; none lets a backend's own error out.

    ``context`` binds a wrapped key to its place (tenant, twin, generation): unwrapping under any other
    context raises ``OpenError``.
    """

    @property
    def uri(self) -> str:
        """Where the service is, without any secret in it."""
        ...

    def create(self, key: KekId) -> None:
        """Make a KEK. Making one that exists is harmless; remaking a destroyed one raises ``KeyDestroyed``."""
        ...

    def versions(self, tenant: TenantId) -> tuple[int, ...]:
        """The live KEK versions of a tenant, ascending."""
        ...

    def wrap(self, key: KekId, plaintext_key: bytes, context: bytes) -> bytes:
        """Encrypt a 32-byte key under a KEK, bound to ``context``."""
        ...

    def unwrap(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a wrapped key. Raises ``OpenError`` for altered bytes or another context."""
        ...

    def rewrap(self, source: KekId, target: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Move a wrapped key to another KEK; a service that can does it without showing the key."""
        ...

    def rewrap_many(self, source: KekId, target: KekId, keys: Sequence[WrappedKey]) -> list[bytes]:
        """``rewrap`` of many in their order: for rotations. The first that fails is raised; then none is returned."""
        ...

    def destroy(self, key: KekId) -> None:
        """Destroy a KEK for good. Idempotent. Afterwards every use of it raises ``KeyDestroyed``."""
        ...

    def close(self) -> None:
        """End sessions and connections, forget keys held here. Idempotent; the provider is not used afterwards."""
        ...

    def mac(self, tenant: TenantId, label: bytes, message: bytes) -> bytes:
        """A 32-byte pseudo-random value for ``message`` under a tenant key separated by ``label``.

        Stable over KEK rotation: blind-index keys are derived from it.
        """
        ...
