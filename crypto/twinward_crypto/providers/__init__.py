"""Key services, one file each, chosen by URI from the map below: ``local:/var/lib/twinward/keys``."""

from __future__ import annotations

from pathlib import Path

from twinward_crypto.errors import UnknownProvider
from twinward_crypto.keys import KeyProvider
from twinward_crypto.providers.local import LocalKeyProvider


def open_provider(uri: str, *, passphrase: str | None = None, key_file: Path | None = None) -> KeyProvider:
    """Open the key service a URI names.

    Args:
        uri: ``local:FOLDER``.
        passphrase: for ``local``: unlocks the key store; without it a key file does.
        key_file: for ``local``: where the key file is, ``FOLDER/master.key`` unless given.

    Raises:
        UnknownProvider: no provider for this scheme; the message names those that exist.
        KeyProviderError: the service refused or failed.
    """
    scheme, separator, rest = uri.partition(":")
    opener = _SCHEMES.get(scheme)
    if opener is None or not separator or not rest:
        raise UnknownProvider(f"no key provider for {scheme or uri!r}; write one of: {', '.join(_USAGE.values())}")
    return opener(rest, passphrase, key_file)


def _open_local(rest: str, passphrase: str | None, key_file: Path | None) -> KeyProvider:
    return LocalKeyProvider(Path(rest), passphrase=passphrase, key_file=key_file)


_SCHEMES = {"local": _open_local}
_USAGE = {"local": "local:FOLDER"}
