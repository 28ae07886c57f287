"""What a key service's refusals mean to the vault, and which of its keys wraps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twinward.vault.errors import RecordDamaged, TwinShredded, VaultUnavailable
from twinward_crypto.errors import KeyDestroyed, KeyProviderError, OpenError, ParameterError
from twinward_crypto.keys import KeyProvider, TenantId


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
