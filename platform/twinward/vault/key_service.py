"""What a key service's refusals mean to the vault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twinward.vault.errors import RecordDamaged, TwinShredded, VaultUnavailable
from twinward_crypto.errors import KeyDestroyed, KeyProviderError, OpenError, ParameterError


@contextmanager
def translated_keys() -> Iterator[None]:
    """Turn the crypto leaf's errors into the vault's."""
    try:
        yield
    except KeyDestroyed as error:
        raise TwinShredded(
            "the key that wrapped this twin's key was destroyed: nothing of it opens any more"
        ) from error
    except KeyProviderError as error:
        raise VaultUnavailable(f"the key service refused: {error}", hint="check the key service") from error
    except (OpenError, ParameterError) as error:
        raise RecordDamaged("a wrapped twin key does not open: the keyring was altered, or is another's") from error
