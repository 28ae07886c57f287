"""AWS KMS in one region: the handful of calls that the provider makes, every error translated.

Imported only when the service is opened, since it needs the extra ``aws``. Keys are addressed by key id once an alias
has been looked up; encryption contexts are maps of text, as KMS has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import boto3
import botocore.config
import botocore.exceptions

from twinward_crypto.errors import CryptoError, KeyDestroyed, KeyNotFound, KeyProviderError, OpenError, ProviderLocked
from twinward_crypto.providers._breather import Breather

CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 4
ATTEMPTS = 2
"""A service that hangs is given up after at most 9 seconds; then it is left alone for a while (``_breather``)."""
CONNECTIONS = 16
"""Calls in flight at once; further threads wait."""
PENDING_DAYS = 7
"""The shortest time AWS lets pass between destroying a key and its being gone. Until then it opens nothing."""
MAX_MAC_MESSAGE_BYTES = 4096

_UNREACHABLE = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)
KeyKind = Literal["seal", "mac"]
_SPECS: dict[KeyKind, dict[str, str]] = {
    "seal": {"KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT"},
    "mac": {"KeySpec": "HMAC_512", "KeyUsage": "GENERATE_VERIFY_MAC"},
}
_NOT_OPENED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_LOCKED = frozenset(
    {
        *("AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException"),
        *("InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken"),
    }
)
_BUSY = frozenset(
    {"ThrottlingException", "LimitExceededException", "KMSInternalException", "DependencyTimeoutException"}
)
_DYING = frozenset({"PendingDeletion", "PendingReplicaDeletion"})


@dataclass(frozen=True, slots=True)
class KmsKey:
    """A key as the service describes it."""

    id: str
    dying: bool


class KmsService:
    """One region of one account. Threads may share it."""

    def __init__(self, region: str, *, profile: str | None, endpoint: str | None) -> None:
        """Take credentials from AWS's own chain (environment, profile, instance role). Connects on first use.

        Raises:
            ProviderLocked: there is no such profile.
        """
        settings = botocore.config.Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=CONNECTIONS,
        )
        with _translated():
            session = boto3.session.Session(profile_name=profile, region_name=region)
            self._client: Any = session.client("kms", endpoint_url=endpoint, config=settings)
        self._breather = Breather("KMS")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def aliases(self, prefix: str) -> dict[str, str]:
        """Every alias that starts so, and the id of the key it stands for."""
        with self._asking():
            pages = self._client.get_paginator("list_aliases").paginate()
            return {
                str(alias["AliasName"]): str(alias["TargetKeyId"])
                for page in pages
                for alias in page["Aliases"]
                if alias["AliasName"].startswith(prefix) and "TargetKeyId" in alias
            }

    def key(self, alias_or_id: str) -> KmsKey:
        """A key by its alias or id. Raises ``KeyNotFound``."""
        with self._asking():
            known = self._client.describe_key(KeyId=alias_or_id)["KeyMetadata"]
            return KmsKey(str(known["KeyId"]), known["KeyState"] in _DYING)

    def make(self, kind: KeyKind, *, owner: str) -> str:
        """Make a key, tagged ``twinward = owner``; its id."""
        with self._asking():
            made = self._client.create_key(
                Description="Twinward", Tags=[{"TagKey": "twinward", "TagValue": owner}], **_SPECS[kind]
            )
            return str(made["KeyMetadata"]["KeyId"])

    def name(self, alias: str, key_id: str) -> bool:
        """Give a key an alias. False where the alias exists: somebody else was faster."""
        with self._asking():
            try:
                self._client.create_alias(AliasName=alias, TargetKeyId=key_id)
            except self._client.exceptions.AlreadyExistsException:
                return False
            return True

    def rename(self, alias: str, key_id: str) -> None:
        """Let an alias stand for another key."""
        with self._asking():
            self._client.update_alias(AliasName=alias, TargetKeyId=key_id)

    def unname(self, alias: str) -> None:
        """Delete an alias; one that is gone is no error."""
        with self._asking():
            try:
                self._client.delete_alias(AliasName=alias)
            except self._client.exceptions.NotFoundException:
                return

    def destroy(self, key_id: str) -> None:
        """Schedule a key's deletion, as soon as AWS allows. It opens nothing from now on."""
        if self.key(key_id).dying:
            return
        with self._asking():
            self._client.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=PENDING_DAYS)

    def encrypt(self, key_id: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypt under a symmetric key, bound to the context."""
        with self._asking():
            answer = self._client.encrypt(KeyId=key_id, Plaintext=plaintext, EncryptionContext=dict(context))
            return bytes(answer["CiphertextBlob"])

    def decrypt(self, key_id: str, sealed: bytes, context: Mapping[str, str]) -> bytes:
        """The reverse. Raises ``OpenError`` for whatever the service does not accept."""
        with self._asking(opening=True):
            answer = self._client.decrypt(KeyId=key_id, CiphertextBlob=sealed, EncryptionContext=dict(context))
            return bytes(answer["Plaintext"])

    def rewrap(
        self, source: str, target: str, sealed: bytes, opens: Mapping[str, str], closes: Mapping[str, str]
    ) -> bytes:
        """Move a ciphertext to another key and context, inside the service."""
        with self._asking(opening=True):
            answer = self._client.re_encrypt(
                CiphertextBlob=sealed,
                SourceKeyId=source,
                SourceEncryptionContext=dict(opens),
                DestinationKeyId=target,
                DestinationEncryptionContext=dict(closes),
            )
            return bytes(answer["CiphertextBlob"])

    def hmac_sha512(self, alias: str, message: bytes) -> bytes:
        """64 bytes under an HMAC key."""
        if len(message) > MAX_MAC_MESSAGE_BYTES:
            raise KeyProviderError(f"KMS authenticates at most {MAX_MAC_MESSAGE_BYTES} bytes at once")
        with self._asking():
            answer = self._client.generate_mac(KeyId=alias, Message=message, MacAlgorithm="HMAC_SHA_512")
            return bytes(answer["Mac"])

    @contextmanager
    def _asking(self, *, opening: bool = False) -> Iterator[None]:
        """One call, unless the service has just not answered."""
        self._breather.require_rested()
        try:
            with _translated(opening=opening):
                yield
        except _NoAnswer:
            self._breather.failed()
            raise
        except CryptoError:
            self._breather.answered()
            raise
        self._breather.answered()


class _NoAnswer(ProviderLocked):
    """The service did not answer in time, or cannot be reached."""


@contextmanager
def _translated(*, opening: bool = False) -> Iterator[None]:
    """AWS's errors as the leaf's. Messages name the error's code; AWS's own text may repeat ids and stays out."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        details = error.response.get("Error", {})
        code, said = str(details.get("Code", "unknown")), str(details.get("Message", ""))
        if code in _NOT_OPENED or (opening and code == "AccessDeniedException" and "not authorized" not in said):
            # "The ciphertext refers to a key that does not exist …": KMS reads the key's id in the ciphertext first.
            raise OpenError from None
        if code == "NotFoundException":
            raise KeyNotFound(
                "KMS knows no such key or alias in this account and region",
                hint="check the region and whose credentials these are",
            ) from None
        if code == "KMSInvalidStateException" and "pending deletion" in said:
            raise KeyDestroyed("the KMS key was destroyed while it was used") from None
        if code in _LOCKED:
            raise ProviderLocked(
                f"KMS refuses the credentials, or their policy does not allow this ({code})",
                hint="look at this process's AWS credentials, and at the policy that platform/docs/keys.md lists",
            ) from None
        if code in _BUSY:
            hint = "try again in a moment; for more calls a second, ask AWS for a higher KMS quota"
            raise KeyProviderError(f"KMS is busy or throttles this account: {code}", hint=hint) from None
        hint = "look the code up in AWS's KMS API reference, and at CloudTrail"
        raise KeyProviderError(f"KMS refused or failed: {code}", hint=hint) from None
    except _UNREACHABLE as error:
        reason = type(error).__name__
        hint = "check the region, endpoint= in the URI, and the network"
        raise _NoAnswer(f"KMS cannot be used ({reason}): it does not answer", hint=hint) from None
    except botocore.exceptions.BotoCoreError as error:
        reason = type(error).__name__
        hint = "check the AWS credentials and the profile of this process"
        raise ProviderLocked(f"KMS cannot be used ({reason})", hint=hint) from None
