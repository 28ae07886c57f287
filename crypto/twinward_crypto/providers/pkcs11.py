"""A hardware security module, or anything else that speaks PKCS#11: KEKs are made in the token and never leave it.

    pkcs11:token=twinward?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/twinward/pin

An RFC 7512 URI; ``;`` is accepted where it writes ``?`` and ``&``. The PIN is in the file of ``pin-source`` or is
handed in separately, never in the URI. The token must do AES-GCM with a nonce from its caller, and HMAC-SHA512 (tokens
in FIPS mode that insist on a nonce of their own refuse the first wrap).

A wrapped key has 62 bytes: version ``0x01`` | suite ``0x01`` | nonce 12 | ciphertext 32 | GCM tag 16. The nonce is
random: one KEK wraps up to 2**32 keys (NIST SP 800-38D section 8.3), a tenant's twins many times over. The key is
encrypted as data, not by ``C_WrapKey``: PKCS#11's key wraps bind no associated data, so a wrapped key could be moved.

PKCS#11 names are not unique, so make keys from one process at a time; two at once are noticed and one is refused.
A process that forks must open its provider after the fork.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from twinward_crypto.errors import KeyDestroyed, KeyNotFound, KeyProviderError, OpenError, ProviderLocked
from twinward_crypto.kdf import KEY_BYTES, RandomBytes, block_input, length_prefixed, require_key
from twinward_crypto.keys import KekId, TenantId, WrappedKey
from twinward_crypto.providers._key_names import (
    TENANT_MAC,
    kek_name,
    mac_name,
    require_possible,
    tombstone_name,
    versions_among,
    wrap_aad,
)
from twinward_crypto.providers._secret_file import read_secret

if TYPE_CHECKING:
    from twinward_crypto.providers._pkcs11_token import Pkcs11Token

HEADER = b"\x01\x01"
NONCE_BYTES = 12
TAG_BYTES = 16
WRAPPED_BYTES = len(HEADER) + NONCE_BYTES + KEY_BYTES + TAG_BYTES
_ATTRIBUTES = frozenset({"token", "module-path", "pin-source"})


class Pkcs11KeyProvider:
    """A ``KeyProvider`` on a PKCS#11 token. Threads may share it.

    Attributes:
        uri: the URI without ``pin-source``.
    """

    def __init__(self, module: Path, token: str, *, pin: str, random: RandomBytes = os.urandom) -> None:
        """Log in to a token.

        Args:
            module: the vendor's PKCS#11 library.
            token: the token's label.
            pin: the user PIN.
            random: source of nonces.

        Raises:
            ProviderLocked: no such token, or a wrong PIN.
            KeyProviderError: the extra is missing, the library cannot be loaded, or a mechanism is missing.
        """
        self._token = _open_token(module, token, pin)
        self._random = random
        self.uri = f"pkcs11:token={quote(token)}?module-path={quote(str(module))}"

    @classmethod
    def from_uri(cls, rest: str, *, pin: str | None = None) -> Pkcs11KeyProvider:
        """Open what follows ``pkcs11:`` in a URI. A PIN that is handed in counts before ``pin-source``."""
        attributes = _parse(rest)
        for needed in ("token", "module-path"):
            if needed not in attributes:
                raise KeyProviderError(f"a pkcs11 URI needs {needed}=…")
        if pin is None:
            source = attributes.get("pin-source")
            if source is None:
                raise ProviderLocked("the token's PIN is missing: give pin-source=FILE or a passphrase file")
            pin = read_secret(Path(source.removeprefix("file://").removeprefix("file:")), "the token's PIN")
        return cls(Path(attributes["module-path"]), attributes["token"], pin=pin)

    def create(self, key: KekId) -> None:
        """Make a KEK in the token, and the tenant's MAC key with its first one."""
        require_possible(key)
        if self._token.has_mark(tombstone_name(key)):
            raise KeyDestroyed(f"{key} was destroyed; make the next version instead")
        if self._token.has_key(kek_name(key)):
            return
        # A MAC key that went missing later is never replaced: that would change every index and signing key.
        if not self._token.has_key(mac_name(key.tenant)) and not self._ever_had_keks(key.tenant):
            self._token.make_hmac_key(mac_name(key.tenant))
        self._token.make_aes_key(kek_name(key))

    def versions(self, tenant: TenantId) -> tuple[int, ...]:
        """The live KEK versions of a tenant, ascending, as the token lists them."""
        live = versions_among(self._token.key_labels(), tenant, "kek")
        return tuple(sorted(live - versions_among(self._token.mark_labels(), tenant, "tombstone")))

    def wrap(self, key: KekId, plaintext_key: bytes, context: bytes) -> bytes:
        """Encrypt a 32-byte key in the token, bound to ``context``; 62 bytes."""
        self._require_live(key)
        require_key(plaintext_key)
        nonce = self._random(NONCE_BYTES)
        return HEADER + nonce + self._token.encrypt(kek_name(key), nonce, wrap_aad(key, context), plaintext_key)

    def unwrap(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a wrapped key in the token."""
        self._require_live(key)
        if len(wrapped) != WRAPPED_BYTES or not wrapped.startswith(HEADER):
            raise OpenError
        nonce, sealed = wrapped[len(HEADER) :][:NONCE_BYTES], wrapped[len(HEADER) + NONCE_BYTES :]
        return self._token.decrypt(kek_name(key), nonce, wrap_aad(key, context), sealed)

    def rewrap(self, source: KekId, target: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Move a wrapped key to another KEK. It passes through this process: PKCS#11 has no such operation."""
        return self.wrap(target, self.unwrap(source, wrapped, context), context)

    def rewrap_many(self, source: KekId, target: KekId, keys: Sequence[WrappedKey]) -> list[bytes]:
        """Move many, one after the other: a session is one conversation."""
        return [self.rewrap(source, target, key.wrapped, key.context) for key in keys]

    def destroy(self, key: KekId) -> None:
        """Delete a KEK from the token. Its mark comes first: a crash in between leaves it unusable, not remakeable."""
        if not self._token.has_mark(tombstone_name(key)):
            if not self._token.has_key(kek_name(key)):
                raise KeyNotFound(f"{key} does not exist")
            self._token.mark(tombstone_name(key))
        self._token.delete_key(kek_name(key))

    def mac(self, tenant: TenantId, label: bytes, message: bytes) -> bytes:
        """32 pseudo-random bytes: the block of ``kdf.derive``, with its HMAC computed in the token."""
        if not self._token.has_key(mac_name(tenant)):
            raise KeyNotFound(f"tenant {tenant} has no keys yet; create its first KEK")
        block = block_input(TENANT_MAC, length_prefixed(label, message), KEY_BYTES)
        return self._token.hmac_sha512(mac_name(tenant), block)[:KEY_BYTES]

    def close(self) -> None:
        """End the session with the token."""
        self._token.close()

    def __repr__(self) -> str:
        return f"Pkcs11KeyProvider({self.uri!r})"

    def __reduce__(self) -> str:
        raise TypeError("a key provider is not pickled: it holds a session with a token")

    def _require_live(self, key: KekId) -> None:
        if self._token.has_mark(tombstone_name(key)):
            raise KeyDestroyed(f"{key} was destroyed; what it wrapped is gone for good")
        if not self._token.has_key(kek_name(key)):
            raise KeyNotFound(f"{key} does not exist")

    def _ever_had_keks(self, tenant: TenantId) -> bool:
        marks = versions_among(self._token.mark_labels(), tenant, "tombstone")
        return bool(marks or versions_among(self._token.key_labels(), tenant, "kek"))


def _open_token(module: Path, token: str, pin: str) -> Pkcs11Token:
    try:
        from twinward_crypto.providers._pkcs11_token import Pkcs11Token
    except ImportError:
        raise KeyProviderError("PKCS#11 needs python-pkcs11; run: pip install 'twinward[pkcs11]'") from None
    return Pkcs11Token(module, token, pin)


def _parse(rest: str) -> dict[str, str]:
    """RFC 7512 attributes. Unknown and repeated ones are refused: a URI that is not understood opens nothing."""
    attributes: dict[str, str] = {}
    for part in rest.replace("?", ";").replace("&", ";").split(";"):
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise KeyProviderError("a PIN does not belong in a URI; put it in a file and give pin-source=FILE")
        if name not in _ATTRIBUTES or not equals or not value or name in attributes:
            raise KeyProviderError(f"a pkcs11 URI has {', '.join(sorted(_ATTRIBUTES))}, once each")
        attributes[name] = unquote(value)
    return attributes
