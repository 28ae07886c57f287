"""A transit engine over HTTPS: the handful of calls that the provider makes, every error translated.

Imported only when an engine is opened, since it needs the extra ``transit``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hvac
import hvac.exceptions

from twinward_crypto.errors import CryptoError, KeyProviderError, OpenError, ProviderLocked
from twinward_crypto.providers._breather import Breather

TIMEOUT_S = 5.0
"""Until an engine that hangs is given up; then it is left alone for a while (``_breather``)."""
KEY_TYPE = "aes256-gcm96"
_TAGGED = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})", re.ASCII)


class TransitEngine:
    """One mount of one server. Ciphertexts are (key version, bytes), so that no second spelling of one exists."""

    def __init__(self, url: str, mount: str, *, token: str, ca_file: Path | None, namespace: str | None) -> None:
        """Reach the server and look at the mount.

        Raises:
            ProviderLocked: unreachable, sealed, its certificate does not verify, or the token is refused.
            KeyProviderError: no transit engine at this mount.
        """
        verify: bool | str = str(ca_file) if ca_file else True
        self._client = hvac.Client(
            url=url, token=token, verify=verify, timeout=TIMEOUT_S, namespace=namespace, allow_redirects=False
        )
        self._mount = mount
        self._breather = Breather("the transit engine")
        self.names()

    def use_token(self, token: str) -> None:
        """Go on with another token."""
        self._client.token = token

    def close(self) -> None:
        """Close the connections."""
        self._client.adapter.close()

    def names(self) -> list[str]:
        """The names of all keys."""
        with self._asking():
            try:
                answer = self._transit.list_keys(mount_point=self._mount)
            except hvac.exceptions.InvalidPath as error:
                if error.errors:
                    raise KeyProviderError(f"no transit engine is mounted at {self._mount!r}") from None
                return []
            names = _field(answer, "keys", list)
            return [str(name) for name in names]

    def make(self, name: str, *, derived: bool) -> None:
        """Make a key that cannot be exported. One that exists stays as it is."""
        with self._asking():
            self._transit.create_key(
                name,
                derived=derived,
                exportable=False,
                allow_plaintext_backup=False,
                key_type=KEY_TYPE,
                mount_point=self._mount,
            )

    def delete(self, name: str) -> None:
        """Delete a key with all its versions, and look whether it is gone."""
        with self._asking():
            self._transit.update_key_configuration(name, deletion_allowed=True, mount_point=self._mount)
            self._transit.delete_key(name, mount_point=self._mount)
        if name in self.names():
            raise KeyProviderError(f"the transit engine still holds {name} after deleting it")

    def encrypt(self, name: str, plaintext: bytes, context: bytes) -> tuple[int, bytes]:
        """Encrypt under a derived key. **The engine makes a key that does not exist:** ask ``names`` first."""
        with self._asking():
            answer = self._transit.encrypt_data(
                name, plaintext=_base64(plaintext), context=_base64(context), mount_point=self._mount
            )
            return _untagged(_field(answer, "ciphertext", str))

    def decrypt(self, name: str, version: int, sealed: bytes, context: bytes) -> bytes:
        """The reverse. Raises ``OpenError`` for whatever the engine does not accept."""
        ciphertext = f"vault:v{version}:{_base64(sealed)}"
        with self._asking():
            try:
                answer = self._transit.decrypt_data(
                    name, ciphertext=ciphertext, context=_base64(context), mount_point=self._mount
                )
            except hvac.exceptions.InvalidRequest:
                raise OpenError from None
            return _unbase64(_field(answer, "plaintext", str))

    def hmac_sha512(self, name: str, version: int, message: bytes) -> bytes:
        """64 bytes under the HMAC key of one version of a named key."""
        with self._asking():
            answer = self._transit.generate_hmac(
                name, _base64(message), key_version=version, algorithm="sha2-512", mount_point=self._mount
            )
            used, digest = _untagged(_field(answer, "hmac", str))
            if used != version:
                raise KeyProviderError("the transit engine used another version of the MAC key than it was asked for")
            return digest

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """One call, unless the engine has just not answered."""
        self._breather.require_rested()
        try:
            with _translated():
                yield
        except _NoAnswer:
            self._breather.failed()
            raise
        except CryptoError:
            self._breather.answered()
            raise
        self._breather.answered()

    @property
    def _transit(self) -> Any:  # hvac is untyped
        return self._client.secrets.transit


class _NoAnswer(ProviderLocked):
    """The engine did not answer in time, or cannot be reached."""


class TokenRefused(ProviderLocked):
    """The engine does not accept the token, or it may not do this."""


def _field(answer: Any, name: str, kind: type) -> Any:
    try:
        value = answer["data"][name]
    except (KeyError, TypeError):
        value = None
    if not isinstance(value, kind):
        raise KeyProviderError("the transit engine gave an answer that is not of its API")
    return value


def _untagged(text: str) -> tuple[int, bytes]:
    match = _TAGGED.fullmatch(text)
    if match is None:
        raise KeyProviderError("the transit engine gave an answer that is not of its API")
    return int(match[1]), _unbase64(match[2])


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise KeyProviderError("the transit engine gave an answer that is not of its API") from None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
        raise TokenRefused(
            "the transit engine refuses the token, or its policy does not allow this",
            hint="write a valid token into the file that token-file names; platform/docs/keys.md lists its policy",
        ) from None
    except hvac.exceptions.RateLimitExceeded:
        hint = "try again in a moment; for more calls a second, raise the quota of this mount in Vault"
        raise KeyProviderError("the transit engine throttles this node: too many requests", hint=hint) from None
    except (hvac.exceptions.VaultDown, hvac.exceptions.VaultNotInitialized):
        raise ProviderLocked("the transit engine's server is sealed or down", hint="unseal or start Vault") from None
    except OSError as error:  # the root of what the HTTP client raises
        reason = type(error).__name__
        if reason == "SSLError":
            hint = "check the address; for a private authority give ca-file=FILE"
            raise ProviderLocked("the transit engine's certificate does not verify", hint=hint) from None
        hint = "check the address in the URI, and the network"
        raise _NoAnswer(f"the transit engine cannot be reached: {reason}", hint=hint) from None
    except hvac.exceptions.VaultError as error:
        hint = "look at Vault's own log"
        raise KeyProviderError(f"the transit engine refused or failed: {type(error).__name__}", hint=hint) from None
