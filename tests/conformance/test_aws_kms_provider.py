from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import botocore.exceptions
import httpx
import pytest

from twinward_crypto.errors import KeyDestroyed, KeyNotFound, KeyProviderError, OpenError, ProviderLocked
from twinward_crypto.kdf import length_prefixed
from twinward_crypto.keys import KekId, KeyProvider, TenantId
from twinward_crypto.providers import open_provider
from twinward_crypto.providers._kms_service import ATTEMPTS, KmsService
from twinward_crypto.providers.aws_kms import AwsKmsKeyProvider
from twinward_crypto.testing.provider_conformance import ANNA, CONTEXT, FIRST, SECOND, TWIN_KEY, KeyProviderConformance

pytestmark = pytest.mark.slow  # AWS's wire format is spoken in full, by moto

REGION = "eu-central-1"
SECRET = "planted-aws-secret-access-key-000000000"  # what must never show
Open = Callable[[], AwsKmsKeyProvider]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Moto's HTTP server: AWS's wire format, in this process."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture(scope="module", autouse=True)
def credentials() -> Iterator[None]:
    """Of nobody."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@pytest.fixture(autouse=True)
def account(server: str) -> None:
    """An account without keys."""
    httpx.post(f"{server}/moto-api/reset").raise_for_status()


@pytest.fixture(scope="module")
def uri(server: str) -> str:
    return f"aws-kms:{REGION}?endpoint={server}"


@pytest.fixture
def open_it(uri: str) -> Iterator[Open]:
    opened: list[AwsKmsKeyProvider] = []

    def open_one() -> AwsKmsKeyProvider:
        provider = open_provider(uri)
        assert isinstance(provider, AwsKmsKeyProvider)
        opened.append(provider)
        return provider

    yield open_one
    for provider in opened:
        provider.close()


@pytest.fixture(scope="module")
def connected(uri: str, credentials: None) -> Iterator[AwsKmsKeyProvider]:
    """One client for all tests, since making one takes a second: the provider itself remembers nothing."""
    provider = open_provider(uri)
    assert isinstance(provider, AwsKmsKeyProvider)
    yield provider
    provider.close()


@pytest.fixture
def provider(connected: AwsKmsKeyProvider) -> AwsKmsKeyProvider:
    return connected


@pytest.fixture(scope="module")
def operator(server: str) -> Iterator[Any]:
    """What an operator does beside the node."""
    client = boto3.client("kms", region_name=REGION, endpoint_url=server)
    yield client
    client.close()


def alias_names(operator: Any) -> list[str]:
    names = (alias["AliasName"] for alias in operator.list_aliases()["Aliases"])
    return sorted(name for name in names if name.startswith("alias/twinward/"))


class TestAwsKmsProvider(KeyProviderConformance):
    @pytest.fixture
    def provider(self, connected: AwsKmsKeyProvider) -> KeyProvider:
        return connected

    def test_closing_twice_is_harmless(self, provider: KeyProvider, open_it: Open) -> None:
        super().test_closing_twice_is_harmless(open_it())


def test_rewrapping_never_shows_the_key(provider: AwsKmsKeyProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.create(FIRST)
    provider.create(SECOND)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    monkeypatch.setattr(provider._service, "decrypt", None)  # a rotation's policy needs no kms:Decrypt
    moved = provider.rewrap(FIRST, SECOND, wrapped, CONTEXT)
    monkeypatch.undo()
    provider.destroy(FIRST)
    assert provider.unwrap(SECOND, moved, CONTEXT) == TWIN_KEY


def test_destroying_schedules_deletion_and_buries_the_alias(provider: AwsKmsKeyProvider, operator: Any) -> None:
    provider.create(SECOND)
    key_id = operator.describe_key(KeyId="alias/twinward/st-anna/kek/2")["KeyMetadata"]["KeyId"]
    provider.destroy(SECOND)
    assert operator.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    grave = operator.describe_key(KeyId="alias/twinward/st-anna/grave")["KeyMetadata"]
    assert operator.describe_key(KeyId="alias/twinward/st-anna/kek/2")["KeyMetadata"]["KeyId"] == grave["KeyId"]
    with pytest.raises(KeyDestroyed):
        provider.create(SECOND)


def test_graves_of_versions_that_follow_each_other_become_one_alias(provider: AwsKmsKeyProvider, operator: Any) -> None:
    for version in range(1, 8):
        provider.create(KekId(ANNA, version))
    for version in (2, 4, 1, 3, 6):
        provider.destroy(KekId(ANNA, version))
    common = ["alias/twinward/st-anna/grave", "alias/twinward/st-anna/mac"]
    left = ["floor/4", "kek/5", "kek/6", "kek/7"]
    assert alias_names(operator) == sorted(common + [f"alias/twinward/st-anna/{name}" for name in left])
    assert provider.versions(ANNA) == (5, 7)
    for version in (1, 2, 3, 4, 6):
        with pytest.raises(KeyDestroyed):
            provider.create(KekId(ANNA, version))
        with pytest.raises(KeyDestroyed):
            provider.wrap(KekId(ANNA, version), TWIN_KEY, CONTEXT)
        provider.destroy(KekId(ANNA, version))


def test_a_destruction_that_was_interrupted_is_finished(provider: AwsKmsKeyProvider, operator: Any) -> None:
    provider.create(FIRST)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    key_id = operator.describe_key(KeyId="alias/twinward/st-anna/kek/1")["KeyMetadata"]["KeyId"]
    operator.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)  # and then the process was killed
    assert provider.versions(ANNA) == ()
    for use in (
        lambda: provider.unwrap(FIRST, wrapped, CONTEXT),
        lambda: provider.wrap(FIRST, TWIN_KEY, CONTEXT),
        lambda: provider.create(FIRST),
    ):
        with pytest.raises(KeyDestroyed):
            use()
    provider.destroy(FIRST)
    assert "alias/twinward/st-anna/floor/1" in alias_names(operator)


def test_mac_is_the_documented_derivation(provider: AwsKmsKeyProvider, operator: Any) -> None:
    provider.create(FIRST)
    block = b"\x00\x00\x00\x01twinward/tenant-mac\x00" + length_prefixed(b"l", b"m") + (256).to_bytes(4, "big")
    digest = operator.generate_mac(KeyId="alias/twinward/st-anna/mac", Message=block, MacAlgorithm="HMAC_SHA_512")
    assert provider.mac(ANNA, b"l", b"m") == digest["Mac"][:32]
    with pytest.raises(KeyProviderError, match="4096"):
        provider.mac(ANNA, b"l", bytes(5000))


def test_a_lost_alias_is_not_replaced_silently(provider: AwsKmsKeyProvider, operator: Any) -> None:
    provider.create(FIRST)
    operator.delete_alias(AliasName="alias/twinward/st-anna/mac")
    provider.create(SECOND)
    with pytest.raises(KeyNotFound):
        provider.mac(ANNA, b"l", b"m")
    operator.delete_alias(AliasName="alias/twinward/st-anna/grave")
    for use in (lambda: provider.create(KekId(ANNA, 3)), lambda: provider.destroy(FIRST)):
        with pytest.raises(KeyNotFound):
            use()


def test_what_an_operator_rotates_inside_kms_changes_nothing(provider: AwsKmsKeyProvider, operator: Any) -> None:
    provider.create(FIRST)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    operator.enable_key_rotation(
        KeyId=operator.describe_key(KeyId="alias/twinward/st-anna/kek/1")["KeyMetadata"]["KeyId"]
    )
    assert provider.unwrap(FIRST, wrapped, CONTEXT) == TWIN_KEY


def test_a_disabled_key_is_an_error_that_says_so(provider: AwsKmsKeyProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    provider.create(FIRST)
    for code, said, expected in (
        ("DisabledException", "key is disabled", KeyProviderError),
        ("KMSInvalidStateException", "arn is pending deletion.", KeyDestroyed),
        ("KMSInvalidStateException", "arn is pending import.", KeyProviderError),
        ("AccessDeniedException", "User x is not authorized to perform: kms:Encrypt", ProviderLocked),
        ("ExpiredTokenException", "expired", ProviderLocked),
        ("ThrottlingException", "Rate exceeded", KeyProviderError),
        ("KMSInternalException", "secret-in-the-answer", KeyProviderError),
    ):
        failing(provider, monkeypatch, code, said)
        with pytest.raises(expected) as caught:
            provider.wrap(FIRST, TWIN_KEY, CONTEXT)
        assert said not in str(caught.value)


def failing(provider: AwsKmsKeyProvider, monkeypatch: pytest.MonkeyPatch, code: str, said: str) -> None:
    """From now on KMS answers a call to encrypt so."""
    import botocore.exceptions

    def refuse(**_: object) -> None:
        raise botocore.exceptions.ClientError({"Error": {"Code": code, "Message": said}}, "Encrypt")

    monkeypatch.setattr(provider._service._client, "encrypt", refuse)


def test_the_context_that_cloudtrail_shows_names_no_twin(
    provider: AwsKmsKeyProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.create(FIRST)
    seen: list[dict[str, Any]] = []
    encrypt = provider._service._client.encrypt
    monkeypatch.setattr(provider._service._client, "encrypt", lambda **said: seen.append(said) or encrypt(**said))
    provider.wrap(FIRST, TWIN_KEY, b"twin-0198")
    context = seen[0]["EncryptionContext"]
    assert context.keys() == {"twinward-tenant", "twinward-kek", "twinward-place"}
    assert "0198" not in str(context)


@pytest.mark.parametrize("name", ["St-Anna", "st_anna", "st.anna.kek.1", "Österreich", "a" * 128, "a b/../c"])
def test_tenants_of_any_name_stay_apart(provider: AwsKmsKeyProvider, name: str) -> None:
    other = KekId(TenantId(name), 1)
    provider.create(FIRST)
    provider.create(other)
    assert provider.versions(other.tenant) == provider.versions(ANNA) == (1,)
    assert provider.unwrap(other, provider.wrap(other, TWIN_KEY, CONTEXT), CONTEXT) == TWIN_KEY
    provider.destroy(other)
    assert provider.versions(ANNA) == (1,)


def test_everything_outlives_the_client(open_it: Open) -> None:
    first = open_it()
    first.create(FIRST)
    wrapped, mac = first.wrap(FIRST, TWIN_KEY, CONTEXT), first.mac(ANNA, b"l", b"m")
    again = open_it()
    assert again.unwrap(FIRST, wrapped, CONTEXT) == TWIN_KEY
    assert again.mac(ANNA, b"l", b"m") == mac


def test_more_aliases_than_a_page_holds_are_seen(provider: AwsKmsKeyProvider, operator: Any) -> None:
    key_id = operator.create_key()["KeyMetadata"]["KeyId"]
    for number in range(120):
        operator.create_alias(AliasName=f"alias/other-{number}", TargetKeyId=key_id)
    provider.create(FIRST)
    provider.create(SECOND)
    assert provider.versions(ANNA) == (1, 2)


def test_two_that_make_a_key_at_once_have_one(open_it: Open, operator: Any) -> None:
    providers = [open_it() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: one.create(FIRST), providers))
    wrapped = providers[0].wrap(FIRST, TWIN_KEY, CONTEXT)
    assert {one.unwrap(FIRST, wrapped, CONTEXT) for one in providers} == {TWIN_KEY}
    assert len({one.mac(ANNA, b"l", b"m") for one in providers}) == 1


def test_foreign_ciphertexts_do_not_open(provider: AwsKmsKeyProvider, operator: Any) -> None:
    provider.create(FIRST)
    key_id = operator.create_key()["KeyMetadata"]["KeyId"]
    foreign = operator.encrypt(KeyId=key_id, Plaintext=TWIN_KEY)["CiphertextBlob"]
    for wrapped in (b"\x01\x03" + foreign, foreign, b"\x01\x03", b"\x01\x03" + bytes(2000), b"\x01\x01" + foreign):
        with pytest.raises(OpenError):
            provider.unwrap(FIRST, wrapped, CONTEXT)


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "Frankfurt",
        "eu-central-1?secret=x",
        "eu-central-1?endpoint=http://kms.example",
        "eu-central-1?endpoint=https://user:secret@kms.example",
        "eu-central-1?endpoint=https://[kms",
        "eu-central-1?endpoint=",
        "eu-central-1?profile=a&profile=b",
        "eu-central-1?x",
    ],
)
def test_a_uri_that_is_not_understood_opens_nothing(rest: str) -> None:
    with pytest.raises(KeyProviderError) as caught:
        open_provider(f"aws-kms:{rest}")
    assert "secret" not in str(caught.value).replace("secret=x", "")


def test_a_passphrase_is_not_taken(uri: str) -> None:
    with pytest.raises(KeyProviderError, match="passphrase"):
        open_provider(uri, passphrase="x")


def test_missing_credentials_and_a_gone_service_lock(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinward_crypto.providers._kms_service.ATTEMPTS", 1)
    with pytest.raises(ProviderLocked, match="EndpointConnectionError"):
        open_provider(f"aws-kms:{REGION}?endpoint=http://127.0.0.1:9")
    with pytest.raises(ProviderLocked, match="ProfileNotFound"):
        open_provider(f"{uri}&profile=nobody")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ProviderLocked, match="NoCredentialsError"):
        open_provider(uri)


def test_a_service_that_hangs_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinward_crypto.providers._kms_service.READ_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        silent.settimeout(0)
        service = KmsService(REGION, profile=None, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ProviderLocked, match="ReadTimeoutError"):
            service.aliases("alias/twinward/")
        tried = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                tried += 1
        assert 1 <= tried <= ATTEMPTS
        for call in (lambda: service.key("alias/x"), lambda: service.encrypt("x", b"k", {})):
            with pytest.raises(ProviderLocked, match="asked again in"):
                call()
        with pytest.raises(BlockingIOError):
            silent.accept()
        service.close()


@pytest.mark.parametrize(
    ("code", "told", "hinted"),
    [
        ("ThrottlingException", "throttles", "quota"),
        ("AccessDeniedException", "credentials", "policy"),
        ("NotFoundException", "no such key", "region"),
        ("MalformedPolicyDocumentException", "MalformedPolicy", "CloudTrail"),
    ],
)
def test_an_error_says_what_happened(
    connected: AwsKmsKeyProvider, monkeypatch: pytest.MonkeyPatch, code: str, told: str, hinted: str
) -> None:
    def refuse(**_: object) -> None:
        raise botocore.exceptions.ClientError({"Error": {"Code": code, "Message": "not authorized"}}, "Encrypt")

    monkeypatch.setattr(connected._service._client, "encrypt", refuse)
    with pytest.raises(KeyProviderError, match=told) as caught:
        connected._service.encrypt("key", b"plain", {})
    assert hinted in caught.value.hint
    assert "passphrase" not in f"{caught.value} {caught.value.hint}".lower()


def test_credentials_do_not_show(provider: AwsKmsKeyProvider, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    provider.create(FIRST)
    provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    assert SECRET not in repr(provider) + provider.uri + caplog.text


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "twinward_crypto.providers._kms_service", raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(KeyProviderError, match=r"twinward\[aws\]"):
        open_provider(f"aws-kms:{REGION}")
