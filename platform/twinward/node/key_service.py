"""The hospital's key service, opened: of what stands in the node's room the least, so that it costs the least."""

from __future__ import annotations

from pathlib import Path

from twinward.core.config import Settings
from twinward.core.secret_files import secret_in
from twinward_crypto.keys import KeyProvider
from twinward_crypto.providers import open_provider


def own_keys(settings: Settings, *, make: bool = False, key_file: Path | None = None) -> KeyProvider:
    """The hospital's key service, opened. ``make`` a local one that is not there yet: for a new node only.

    A local one's key file lies beside it unless ``key_file`` says where.

    Raises:
        BadInput: the passphrase cannot be read.
        KeyProviderError: the service refused or failed, or is not there.
    """
    return open_provider(settings.keys_uri, passphrase=_passphrase(settings), make=make, key_file=key_file)


def _passphrase(settings: Settings) -> str | None:
    if settings.passphrase_file is None:
        return None
    return secret_in(settings.passphrase_file, "the passphrase")
