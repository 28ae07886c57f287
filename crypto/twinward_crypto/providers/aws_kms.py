"""AWS KMS: KEKs are KMS keys, found by alias, and never leave the service.

    aws-kms:eu-central-1?profile=twinward
    aws-kms:eu-central-1?endpoint=https://vpce-0abc.kms.eu-central-1.vpce.amazonaws.com

Credentials come from AWS's own chain (environment, profile, instance role), never from the URI. ``endpoint`` is https,
or http on this machine's loopback for an emulator.

Each KEK version is a KMS key of its own with an alias; a tenant has one HMAC key besides, and one key named ``grave``
that seals nothing. **Destroying** a version schedules its key's deletion, which AWS carries out after seven days: until
then the key opens nothing, but whoever may ``kms:CancelKeyDeletion`` could bring it back, so deny that to everybody.
The version's alias is then moved to the grave, where it says for ever that the version existed. Aliases of a key are
few (AWS's quota is 50): once every version up to V is in the grave, one alias ``floor/V`` stands for all of them.

A wrapped key is version ``0x01`` | suite ``0x03`` | KMS's own ciphertext, which is opaque and about 160 bytes long. The
encryption context binds it: tenant, KEK version, and SHA-256 of everything the other services take as associated data.
CloudTrail shows that context, not the twin's id.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from twinward_crypto.errors import KeyDestroyed, KeyNotFound, KeyProviderError, OpenError
from twinward_crypto.kdf import KEY_BYTES, block_input, length_prefixed, require_key
from twinward_crypto.keys import KekId, TenantId, WrappedKey
from twinward_crypto.providers._bulk import side_by_side
from twinward_crypto.providers._key_names import TENANT_MAC, require_possible, tenant_name, wrap_aad

if TYPE_CHECKING:
    from twinward_crypto.providers._kms_service import KeyKind, KmsService

HEADER = b"\x01\x03"
MAX_WRAPPED_BYTES = 1024
"""Far above what KMS makes of 32 bytes; bounds what is sent to it."""
SETTLING_ATTEMPTS, SETTLING_PAUSE_S = 20, 0.25
"""KMS is eventually consistent: a new alias may take a moment to be seen."""

_REGION = re.compile(r"[a-z]{2}(-[a-z0-9]+)+-\d{1,2}", re.ASCII)
_PARAMETERS = frozenset({"profile", "endpoint"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class AwsKmsKeyProvider:
    """A ``KeyProvider`` on AWS KMS. Threads may share it.

    Attributes:
        uri: ``aws-kms:`` and the region.
    """

    def __init__(
        self,
        region: str,
        *,
        profile: str | None = None,
        endpoint: str | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Reach the service.

        Args:
            region: e.g. ``eu-central-1``.
            profile: of AWS's configuration files, instead of the environment's credentials.
            endpoint: where KMS is, instead of the region's public address.
            pause: waits some seconds, between looks for an alias that is not to be seen yet.

        Raises:
            ProviderLocked: unreachable, or the credentials are missing or refused.
            KeyProviderError: the extra is missing, or a region or endpoint that cannot be.
        """
        if not _REGION.fullmatch(region):
            raise KeyProviderError("a KMS key service is named by aws-kms:REGION, e.g. aws-kms:eu-central-1")
        _require_safe(endpoint)
        self._service = _open_service(region, profile, endpoint)
        self._pause = pause
        self.uri = f"aws-kms:{region}"
        self._service.aliases(_prefix_of_all())

    @classmethod
    def from_uri(cls, rest: str) -> AwsKmsKeyProvider:
        """Open what follows ``aws-kms:`` in a URI."""
        region, _, query = rest.partition("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            raise KeyProviderError("a KMS URI is aws-kms:REGION?profile=NAME&endpoint=URL") from None
        given = dict(pairs)
        if len(given) != len(pairs) or not given.keys() <= _PARAMETERS or not all(given.values()):
            raise KeyProviderError(f"a KMS URI has {', '.join(sorted(_PARAMETERS))}, once each, and no credentials")
        return cls(region, profile=given.get("profile"), endpoint=given.get("endpoint"))

    def create(self, key: KekId) -> None:
        """Make a KEK, and the tenant's HMAC key and grave with its first one."""
        require_possible(key)
        names = _Names(key.tenant, self._service.aliases(_prefix(key.tenant)))
        if names.buried(key.version):
            raise KeyDestroyed(f"{key} was destroyed; make the next version instead")
        if key.version in names.keks():
            if self._service.key(_kek(key)).dying:
                raise KeyDestroyed(f"{key} was destroyed; make the next version instead")
            return
        # Keys that went missing later are never replaced: that would change every index and signing key.
        if not names.any_kek():
            if _mac(key.tenant) not in names.aliases:
                self._make(_mac(key.tenant), "mac", key.tenant)
            if names.grave is None:
                self._make(_grave(key.tenant), "seal", key.tenant)
        elif names.grave is None:
            raise KeyNotFound(f"the grave of tenant {key.tenant} is missing: its alias was deleted")
        self._make(_kek(key), "seal", key.tenant)

    def versions(self, tenant: TenantId) -> tuple[int, ...]:
        """The live KEK versions of a tenant, ascending, as the aliases list them."""
        names = _Names(tenant, self._service.aliases(_prefix(tenant)))
        live = [version for version in names.keks() if not names.buried(version)]
        return tuple(sorted(version for version in live if not self._service.key(_kek(KekId(tenant, version))).dying))

    def wrap(self, key: KekId, plaintext_key: bytes, context: bytes) -> bytes:
        """Encrypt a 32-byte key in the service, bound to ``context``; about 160 bytes."""
        kms_key = self._live(key)
        require_key(plaintext_key)
        return HEADER + self._service.encrypt(kms_key, plaintext_key, _encryption_context(key, context))

    def unwrap(self, key: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a wrapped key in the service."""
        kms_key, sealed = self._live(key), _sealed(wrapped)
        plaintext_key = self._service.decrypt(kms_key, sealed, _encryption_context(key, context))
        if len(plaintext_key) != KEY_BYTES:
            raise OpenError
        return plaintext_key

    def rewrap(self, source: KekId, target: KekId, wrapped: bytes, context: bytes) -> bytes:
        """Move a wrapped key to another KEK inside the service (``ReEncrypt``): it is not shown."""
        return self.rewrap_many(source, target, [WrappedKey(wrapped, context)])[0]

    def rewrap_many(self, source: KekId, target: KekId, keys: Sequence[WrappedKey]) -> list[bytes]:
        """Move many, several calls side by side."""
        opens, closes = self._live(source), self._live(target)

        def move(key: WrappedKey) -> bytes:
            before, after = _encryption_context(source, key.context), _encryption_context(target, key.context)
            return HEADER + self._service.rewrap(opens, closes, _sealed(key.wrapped), before, after)

        return side_by_side(move, keys)

    def destroy(self, key: KekId) -> None:
        """Schedule the deletion of a KEK's KMS key, then bury its alias; in between, it opens nothing already.

        It is undone by nobody who lacks ``kms:CancelKeyDeletion``, and by nobody at all after seven days.
        """
        names = _Names(key.tenant, self._service.aliases(_prefix(key.tenant)))
        if not names.buried(key.version):
            kms_key = names.keks().get(key.version)
            if kms_key is None:
                raise KeyNotFound(f"{key} does not exist")
            if names.grave is None:
                raise KeyNotFound(f"the grave of tenant {key.tenant} is missing: its alias was deleted")
            self._service.destroy(kms_key)
            self._service.rename(_kek(key), names.grave)
        self._level(key.tenant)

    def mac(self, tenant: TenantId, label: bytes, message: bytes) -> bytes:
        """32 pseudo-random bytes: the block of ``kdf.derive``, with its HMAC computed by the service."""
        block = block_input(TENANT_MAC, length_prefixed(label, message), KEY_BYTES)
        try:
            return self._service.hmac_sha512(_mac(tenant), block)[:KEY_BYTES]
        except KeyNotFound:
            raise KeyNotFound(f"tenant {tenant} has no keys yet; create its first KEK") from None

    def close(self) -> None:
        """Close the connections."""
        self._service.close()

    def __repr__(self) -> str:
        return f"AwsKmsKeyProvider({self.uri!r})"

    def __reduce__(self) -> str:
        raise TypeError("a key provider is not pickled: it holds credentials")

    def _make(self, alias: str, kind: KeyKind, tenant: TenantId) -> None:
        made = self._service.make(kind, owner=tenant_name(tenant))
        if not self._service.name(alias, made):  # another process was faster: its key counts
            self._service.destroy(made)
        for _ in range(SETTLING_ATTEMPTS):
            try:
                self._service.key(alias)
            except KeyNotFound:
                self._pause(SETTLING_PAUSE_S)
            else:
                return
        raise KeyProviderError(f"KMS does not show {alias} after making it; try again")

    def _live(self, key: KekId) -> str:
        """The id of a KEK's KMS key, as long as it is alive."""
        try:
            require_possible(key)
            found = self._service.key(_kek(key))
            destroyed = found.dying or found.id == self._service.key(_grave(key.tenant)).id
        except KeyNotFound:
            names = _Names(key.tenant, self._service.aliases(_prefix(key.tenant)))
            if not names.buried(key.version):
                raise KeyNotFound(f"{key} does not exist") from None
            destroyed = True
        if destroyed:
            raise KeyDestroyed(f"{key} was destroyed; what it wrapped is gone for good")
        return found.id

    def _level(self, tenant: TenantId) -> None:
        """Let one alias stand for all versions from 1 up to the highest below which none is alive."""
        names = _Names(tenant, self._service.aliases(_prefix(tenant)))
        floor = names.floor
        while names.keks().get(floor + 1, "") == names.grave:
            floor += 1
        if names.grave is None or floor == names.floor:
            return
        self._service.name(_floor(tenant, floor), names.grave)
        for version in [one for one in names.keks() if one <= floor]:
            self._service.unname(_kek(KekId(tenant, version)))
        if names.floor:
            self._service.unname(_floor(tenant, names.floor))


class _Names:
    """What a tenant's aliases say."""

    def __init__(self, tenant: TenantId, aliases: Mapping[str, str]) -> None:
        self.aliases = aliases
        self.grave = aliases.get(_grave(tenant))
        self._prefix = _prefix(tenant)
        self.floor = max(self._numbered("floor"), default=0)

    def keks(self) -> dict[int, str]:
        """Versions that have an alias, and the id of the key it stands for."""
        return self._numbered("kek")

    def buried(self, version: int) -> bool:
        """Whether a version was destroyed, as far as aliases say."""
        return version <= self.floor or (self.grave is not None and self.keks().get(version) == self.grave)

    def any_kek(self) -> bool:
        """Whether the tenant ever had a KEK."""
        return bool(self.floor or self.keks())

    def _numbered(self, kind: str) -> dict[int, str]:
        pattern = re.compile(re.escape(f"{self._prefix}{kind}/") + r"([1-9][0-9]{0,9})", re.ASCII)
        return {int(match[1]): target for name, target in self.aliases.items() if (match := pattern.fullmatch(name))}


def _prefix_of_all() -> str:
    return "alias/twinward/"


def _prefix(tenant: TenantId) -> str:
    return f"{_prefix_of_all()}{tenant_name(tenant)}/"


def _kek(key: KekId) -> str:
    return f"{_prefix(key.tenant)}kek/{key.version}"


def _mac(tenant: TenantId) -> str:
    return f"{_prefix(tenant)}mac"


def _grave(tenant: TenantId) -> str:
    return f"{_prefix(tenant)}grave"


def _floor(tenant: TenantId, version: int) -> str:
    return f"{_prefix(tenant)}floor/{version}"


def _encryption_context(key: KekId, context: bytes) -> dict[str, str]:
    return {
        "twinward-tenant": tenant_name(key.tenant),
        "twinward-kek": str(key.version),
        "twinward-place": hashlib.sha256(wrap_aad(key, context)).hexdigest(),
    }


def _sealed(wrapped: bytes) -> bytes:
    if not len(HEADER) < len(wrapped) <= MAX_WRAPPED_BYTES or not wrapped.startswith(HEADER):
        raise OpenError
    return wrapped[len(HEADER) :]


def _require_safe(endpoint: str | None) -> None:
    if endpoint is None:
        return
    try:
        parts = urlsplit(endpoint)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    except ValueError:
        raise KeyProviderError("the KMS endpoint is not a URL") from None
    if not safe or not parts.hostname or parts.username or parts.password:
        raise KeyProviderError("the KMS endpoint is https (http on this machine only), without credentials")


def _open_service(region: str, profile: str | None, endpoint: str | None) -> KmsService:
    try:
        from twinward_crypto.providers._kms_service import KmsService
    except ImportError:
        raise KeyProviderError("AWS KMS needs boto3; run: pip install 'twinward[aws]'") from None
    return KmsService(region, profile=profile, endpoint=endpoint)
