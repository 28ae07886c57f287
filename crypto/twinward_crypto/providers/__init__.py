"""Key services, one file each, chosen by URI from the map below: ``local:/var/lib/twinward/keys``."""

from __future__ import annotations

from pathlib import Path

from twinward_crypto.errors import KeyProviderError, UnknownProvider
from twinward_crypto.keys import KeyProvider
from twinward_crypto.providers._secret_file import is_exposed, read_secret
from twinward_crypto.providers.aws_kms import AwsKmsKeyProvider
from twinward_crypto.providers.local import LocalKeyProvider
from twinward_crypto.providers.pkcs11 import Pkcs11KeyProvider
from twinward_crypto.providers.vault_transit import TransitKeyProvider

__all__ = ["is_exposed", "open_provider", "read_secret"]


def open_provider(
    uri: str, *, passphrase: str | None = None, key_file: Path | None = None, make: bool = False
) -> KeyProvider:
    """Open the key service a URI names.

    Args:
        uri: ``local:FOLDER``, ``local-hybrid:FOLDER``, ``pkcs11:token=LABEL?module-path=LIBRARY&pin-source=FILE``
            (RFC 7512), ``transit:https://HOST:PORT/MOUNT?token-file=FILE&ca-file=FILE``, or ``aws-kms:REGION``.
        passphrase: what unlocks the service, read from a file by the caller: for ``local`` a passphrase (without one a
            key file does), for ``pkcs11`` the token's PIN instead of ``pin-source``, for ``transit`` the server's token
            instead of ``token-file``. ``aws-kms`` takes none.
        key_file: for ``local``: where the key file is, ``FOLDER/master.key`` unless given.
        make: for ``local``: make the key store where there is none. All others exist before they are opened.

    Raises:
        UnknownProvider: no provider for this scheme; the message names those that exist.
        KeyNotFound: there is no such local key store.
        KeyProviderError: the service refused or failed, or its extra is not installed.
    """
    scheme, separator, rest = uri.partition(":")
    opener = _SCHEMES.get(scheme)
    if opener is None or not separator or not rest:
        raise UnknownProvider(f"no key provider for {scheme or uri!r}; write one of: {', '.join(_USAGE.values())}")
    return opener(rest, passphrase, key_file, make)


def _open_local(rest: str, passphrase: str | None, key_file: Path | None, make: bool) -> KeyProvider:
    return LocalKeyProvider(Path(rest), passphrase=passphrase, key_file=key_file, make=make)


def _open_local_hybrid(rest: str, passphrase: str | None, key_file: Path | None, make: bool) -> KeyProvider:
    return LocalKeyProvider(Path(rest), passphrase=passphrase, key_file=key_file, make=make, hybrid=True)


def _open_pkcs11(rest: str, passphrase: str | None, _key_file: Path | None, _make: bool) -> KeyProvider:
    return Pkcs11KeyProvider.from_uri(rest, pin=passphrase)


def _open_transit(rest: str, passphrase: str | None, _key_file: Path | None, _make: bool) -> KeyProvider:
    return TransitKeyProvider.from_uri(rest, token=passphrase)


def _open_aws_kms(rest: str, passphrase: str | None, _key_file: Path | None, _make: bool) -> KeyProvider:
    if passphrase is not None:
        hint = "unset TWINWARD_PASSPHRASE_FILE, or take passphrase_file out of twinward.toml"
        raise KeyProviderError("aws-kms takes its credentials from AWS's own chain, and no passphrase", hint=hint)
    return AwsKmsKeyProvider.from_uri(rest)


_SCHEMES = {
    "local": _open_local,
    "local-hybrid": _open_local_hybrid,
    "pkcs11": _open_pkcs11,
    "transit": _open_transit,
    "aws-kms": _open_aws_kms,
}
_USAGE = {
    "local": "local:FOLDER",
    "local-hybrid": "local-hybrid:FOLDER",
    "pkcs11": "pkcs11:token=LABEL?module-path=LIBRARY&pin-source=FILE",
    "transit": "transit:https://HOST:PORT/MOUNT?token-file=FILE",
    "aws-kms": "aws-kms:REGION?profile=NAME",
}
