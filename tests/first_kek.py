"""What `twinward node init` does for a node's keys, for tests that have no node."""

from __future__ import annotations

from typing import TypeVar

from twinward_crypto.keys import KekId, KeyProvider, TenantId

P = TypeVar("P", bound=KeyProvider)


def with_first_kek(provider: P, tenant: str = "st-anna") -> P:
    """The same key service, holding a KEK of the tenant."""
    if not provider.versions(TenantId(tenant)):
        provider.create(KekId(TenantId(tenant), 1))
    return provider
