"""HashiCorp Vault's transit engine: KEKs are named keys of the engine and never leave it.

    transit:https://vault.example:8200/transit?token-file=/etc/twinward/vault-token&ca-file=/etc/twinward/ca.pem

Only https, and the certificate is always verified. The token is read anew from its file when the engine refuses it, so
an agent may renew it. The engine's ``encrypt`` makes keys that do not exist: give the node's policy ``update`` but not
``create`` on ``encrypt/*`` (or set ``disable_upsert``), so that no destroyed name is ever made again by accident.

**Two layers.** The engine's ``rewrap`` moves a ciphertext between versions of *one* named key, whose versions can only
be trimmed oldest first; but any KEK must be destroyable alone, so each KEK version is a named key of its own. A twin
key is therefore encrypted under the tenant's ``seal`` key, which stays, and the result under the KEK. Rewrapping opens
and closes the outer layer only: the twin key is never shown, and a token for rotation needs no right to ``decrypt``
with the seal key. Destroying a KEK makes the outer layer, and so the twin key, unreadable.

A wrapped key has 98 bytes: version ``0x01`` | suite ``0x02`` | u32 version of the named KEK | nonce 12 | ciphertext
64 | tag 16. The plaintext of the outer layer is u32 version of the seal key | nonce 12 | ciphertext 32 | tag 16.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from twinward_crypto.errors import KeyDestroyed, KeyNotFound, KeyProviderError, OpenError, ProviderLocked
from twinward_crypto.kdf import KEY_BYTES, block_input, length_prefixed, require_key
from twinward_crypto.keys import KekId, TenantId, WrappedKey
from twinward_crypto.providers._bulk import side_by_side
from twinward_crypto.providers._key_names import (
    TENANT_MAC,
    kek_name,
    mac_name,
    require_possible,
    seal_name,
    tombstone_name,
    versions_among,
    wrap_aad,
)
from twinward_crypto.providers._secret_file import read_secret

if TYPE_CHECKING:
    from twinward_crypto.providers._transit_engine import TransitEngine

SEAL = b"twinward/transit-seal"
HEADER = b"\x01\x02"
OVERHEAD_BYTES = 12 + 16
INNER_BYTES = 4 + OVERHEAD_BYTES + KEY_BYTES
WRAPPED_BYTES = len(HEADER) + 4 + OVERHEAD_BYTES + INNER_BYTES
MAC_KEY_VERSION = 1
"""Pinned, so that an operator's ``rotate`` of the MAC key changes nothing."""

_PARAMETERS = frozenset({"token-file", "ca-file", "namespace"})
_VERSION = struct.Struct(">I")
_T = TypeVar("_T")


class TransitKeyProvider:
    """A ``KeyProvider`` on a transit engine.

    Attributes:
        uri: the URI without its parameters.
    """

    def __init__(
        self,
        url: str,
        mount: str,
        *,
        token: str | None = None,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        namespace: str | None = None,
    ) -> None:
        """Reach the engine.

        Args:
            url: ``https://host:port``.
            mount: where the engine is mounted, e.g. ``transit``.
            token: what the server knows the node by; counts before ``token_file``.
            token_file: where the token is, mode 0600.
            ca_file: PEM certificates to verify the server with, instead of the system's.
            namespace: of Vault Enterprise.

        Raises:
            ProviderLocked: unreachable, sealed, unverified, or the token is missing or refused.
            KeyProviderError: the extra is missing, no https, or no transit engine at the mount.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.password or not mount:
            raise KeyProviderError("a transit engine is named by transit:https://HOST:PORT/MOUNT, without credentials")
        self._token_file = token_file if token is None else None
        self._engine = _open_engine(url, mount, token or self._read_token(), ca_file, namespace)
        self.uri = f"transit:{url}/{quote(mount)}"

    @classmethod
    def from_uri(cls, rest: str, *, token: str | None = None) -> TransitKeyProvider:
        """Open what follows ``transit:`` in a URI. A token that is handed in counts before ``token-file``."""
        try:
            parts = urlsplit(rest)
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise KeyProviderError("a transit URI is transit:https://HOST:PORT/MOUNT?token-file=FILE") from None
        given = dict(pairs)
        if len(given) != len(pairs) or not given.keys() <= _PARAMETERS or not all(given.values()) or parts.fragment:
            raise KeyProviderError(f"a transit URI has {', '.join(sorted(_PARAMETERS))}, once each")
        return cls(
            f"{parts.scheme}://{parts.netloc}",
            unquote(parts.path).strip("/"),
            token=token,
            token_file=Path(given["token-file"]) if "token-file" in given else None,
            ca_file=Path(given["ca-file"]) if "ca-file" in given else None,
            namespace=given.get("namespace"),
        )

    def create(self, key: KekId) -> None:
        """Make a KEK, and the tenant's seal and MAC keys with its first one."""
        require_possible(key)
        names = self._names()
        if tombstone_name(key) in names:
            raise KeyDestroyed(f"{key} was destroyed; make the next version instead")
        if kek_name(key) in names:
            return
        # Keys that went missing later are never replaced: that would change every index and signing key.
        if not (versions_among(names, key.tenant, "kek") or versions_among(names, key.tenant, "tombstone")):
            self._retried(lambda: self._engine.make(mac_name(key.tenant), derived=False))
            self._retried(lambda: self._engine.make(seal_name(key.tenant), derived=True))
        self._retried(lambda: self._engine.make(kek_name(key), derived=True))

    def versions(self, tenant: TenantId) -> tuple[int, ...]:
        """The live KEK versions of a tenant, ascending, as the engine lists them."""
        names = self._names()
        return tuple(sorted(versions_among(names, tenant, "kek") - versions_among(names, tenant, "tombstone")))

    def wrap(self, key: KekId, plaintext_key: bytes, context: bytes) -> bytes:
        """Encrypt a 32-byte key in the engine, bound to ``context``; 98 bytes."""
        self._require_live(key)
        require_key(plaintext_key)
        inner = self._encrypt(seal_name(key.tenant), plaintext_key, _seal_context(key.tenant, context))
        return HEADER + self._encrypt(kek_name(key), inner, wrap_aad(key, context))

    def unwrap(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a wrapped key in the engine."""
        inner = self._inner(key, wrapped, context)
        plaintext_key = self._decrypt(seal_name(key.tenant), inner, _seal_context(key.tenant, context))
        if len(plaintext_key) != KEY_BYTES:
            raise OpenError
        return plaintext_key

    def rewrap(self, source: KekId, target: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Move a wrapped key to another KEK. Only the outer layer is opened: the key itself is not shown."""
        if source.tenant != target.tenant:
            return self.wrap(target, self.unwrap(source, wrapped, context), context)
        return self.rewrap_many(source, target, [WrappedKey(wrapped, context)])[0]

    def rewrap_many(self, source: KekId, target: KekId, keys: Sequence[WrappedKey]) -> list[bytes]:
        """Move many of one tenant's keys, several calls side by side; whether the KEKs live is asked once."""
        if source.tenant != target.tenant:
            return [self.rewrap(source, target, key.wrapped, key.context) for key in keys]
        self._require_live(source)
        self._require_live(target)

        def move(key: WrappedKey) -> bytes:
            inner = self._open_outer(source, key.wrapped, key.context)
            return HEADER + self._encrypt(kek_name(target), inner, wrap_aad(target, key.context))

        return side_by_side(move, keys)

    def destroy(self, key: KekId) -> None:
        """Delete a KEK. Its tombstone comes first: a crash in between leaves it unusable, not remakeable."""
        names = self._names()
        if tombstone_name(key) not in names:
            if kek_name(key) not in names:
                raise KeyNotFound(f"{key} does not exist")
            self._retried(lambda: self._engine.make(tombstone_name(key), derived=False))
        if kek_name(key) in names:
            self._retried(lambda: self._engine.delete(kek_name(key)))

    def mac(self, tenant: TenantId, label: bytes, message: bytes) -> bytes:
        """32 pseudo-random bytes: the block of ``kdf.derive``, with its HMAC computed by the engine."""
        name = mac_name(tenant)
        if name not in self._names():
            raise KeyNotFound(f"tenant {tenant} has no keys yet; create its first KEK")
        block = block_input(TENANT_MAC, length_prefixed(label, message), KEY_BYTES)
        return self._retried(lambda: self._engine.hmac_sha512(name, MAC_KEY_VERSION, block))[:KEY_BYTES]

    def close(self) -> None:
        """Close the connections."""
        self._engine.close()

    def __repr__(self) -> str:
        return f"TransitKeyProvider({self.uri!r})"

    def __reduce__(self) -> str:
        raise TypeError("a key provider is not pickled: it holds a token")

    def _inner(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        self._require_live(key)
        return self._open_outer(key, wrapped, context)

    def _open_outer(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        if len(wrapped) != WRAPPED_BYTES or not wrapped.startswith(HEADER):
            raise OpenError
        inner = self._decrypt(kek_name(key), wrapped[len(HEADER) :], wrap_aad(key, context))
        if len(inner) != INNER_BYTES:
            raise OpenError
        return inner

    def _encrypt(self, name: str, plaintext: bytes, context: bytes) -> bytes:
        version, sealed = self._retried(lambda: self._engine.encrypt(name, plaintext, context))
        if len(sealed) != OVERHEAD_BYTES + len(plaintext):
            raise KeyProviderError("the transit engine's ciphertext has an unexpected length")
        return _VERSION.pack(version) + sealed

    def _decrypt(self, name: str, tagged: bytes, context: bytes) -> bytes:
        (version,) = _VERSION.unpack_from(tagged)
        if version == 0:  # the engine takes it for 1, which would be a second spelling of one ciphertext
            raise OpenError
        return self._retried(lambda: self._engine.decrypt(name, version, tagged[_VERSION.size :], context))

    def _require_live(self, key: KekId) -> None:
        names = self._names()
        if tombstone_name(key) in names:
            raise KeyDestroyed(f"{key} was destroyed; what it wrapped is gone for good")
        if kek_name(key) not in names:
            raise KeyNotFound(f"{key} does not exist")
        if seal_name(key.tenant) not in names:
            raise KeyNotFound(f"the seal key of tenant {key.tenant} is missing; restore the engine from a backup")

    def _names(self) -> frozenset[str]:
        return frozenset(self._retried(self._engine.names))

    def _retried(self, use: Callable[[], _T]) -> _T:
        """Once more with the token its file holds now, where the one in use was refused."""
        from twinward_crypto.providers._transit_engine import TokenRefused

        try:
            return use()
        except TokenRefused:
            if self._token_file is None:
                raise
            self._engine.use_token(self._read_token())
            return use()

    def _read_token(self) -> str:
        if self._token_file is None:
            raise ProviderLocked("the engine's token is missing: give token-file=FILE or a passphrase file")
        return read_secret(self._token_file, "the engine's token")


def _seal_context(tenant: TenantId, context: bytes) -> bytes:
    return length_prefixed(SEAL, tenant.encode("utf-8", "surrogatepass"), context)


def _open_engine(url: str, mount: str, token: str, ca_file: Path | None, namespace: str | None) -> TransitEngine:
    try:
        from twinward_crypto.providers._transit_engine import TransitEngine
    except ImportError:
        raise KeyProviderError("a transit engine needs hvac; run: pip install 'twinward[transit]'") from None
    if ca_file is not None and not ca_file.is_file():
        raise ProviderLocked(f"the certificates in {ca_file} cannot be read")
    return TransitEngine(url, mount, token=token, ca_file=ca_file, namespace=namespace)
