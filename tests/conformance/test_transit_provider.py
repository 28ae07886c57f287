from __future__ import annotations

import base64
import itertools
import ssl
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from twinward_crypto.errors import KeyDestroyed, KeyNotFound, KeyProviderError, OpenError, ProviderLocked
from twinward_crypto.kdf import derive, length_prefixed
from twinward_crypto.keys import KekId, KeyProvider, TenantId
from twinward_crypto.providers import open_provider
from twinward_crypto.providers._key_names import TENANT_MAC
from twinward_crypto.providers.vault_transit import WRAPPED_BYTES, TransitKeyProvider
from twinward_crypto.testing.fake_transit import FakeTransit
from twinward_crypto.testing.provider_conformance import ANNA, CONTEXT, FIRST, SECOND, TWIN_KEY, KeyProviderConformance

KEK, OTHER_KEK = "twinward.st-anna.kek.1", "twinward.st-anna.kek.2"
Open = Callable[[], TransitKeyProvider]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[FakeTransit]:
    with FakeTransit(tmp_path) as fake:
        yield fake


@pytest.fixture
def token_file(tmp_path: Path, vault: FakeTransit) -> Path:
    path = tmp_path / "token"
    path.write_text(vault.token + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def uri(vault: FakeTransit, token_file: Path) -> str:
    return f"transit:{vault.url}/transit?token-file={token_file}&ca-file={vault.ca_file}"


@pytest.fixture
def open_it(uri: str) -> Iterator[Open]:
    opened: list[TransitKeyProvider] = []

    def open_one() -> TransitKeyProvider:
        provider = open_provider(uri)
        assert isinstance(provider, TransitKeyProvider)
        opened.append(provider)
        return provider

    yield open_one
    for provider in opened:
        provider.close()


@pytest.fixture
def provider(open_it: Open) -> TransitKeyProvider:
    return open_it()


class TestTransitProvider(KeyProviderConformance):
    @pytest.fixture
    def provider(self, open_it: Open) -> KeyProvider:
        return open_it()


def post(vault: FakeTransit, path: str, **body: object) -> httpx.Response:
    """What an operator does beside the node."""
    context = ssl.create_default_context(cafile=vault.ca_file)
    url = f"{vault.url}/v1/transit/{path}"
    return httpx.post(url, json=body, headers={"X-Vault-Token": vault.token}, verify=context)


def test_rewrapping_never_shows_the_key(provider: TransitKeyProvider, vault: FakeTransit) -> None:
    provider.create(FIRST)
    provider.create(SECOND)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    vault.requests.clear()
    moved = provider.rewrap(FIRST, SECOND, wrapped, CONTEXT)
    used = [path.removeprefix("/v1/transit/") for _, path in vault.requests if "crypt" in path]
    assert used == [f"decrypt/{KEK}", f"encrypt/{OTHER_KEK}"]  # the seal key, which could, is not asked
    provider.destroy(FIRST)
    assert provider.unwrap(SECOND, moved, CONTEXT) == TWIN_KEY


def test_what_the_kek_alone_opens_is_not_the_key(provider: TransitKeyProvider, vault: FakeTransit) -> None:
    provider.create(FIRST)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    inner = provider._inner(FIRST, wrapped, CONTEXT)
    assert TWIN_KEY not in inner
    assert len(wrapped) == WRAPPED_BYTES == 98


def test_destroying_deletes_the_key_and_leaves_a_tombstone(provider: TransitKeyProvider, vault: FakeTransit) -> None:
    provider.create(FIRST)
    provider.destroy(FIRST)
    assert vault.key_names() == ["twinward.st-anna.mac", "twinward.st-anna.seal", "twinward.st-anna.tombstone.1"]


def test_a_destruction_that_was_interrupted_is_finished(provider: TransitKeyProvider, vault: FakeTransit) -> None:
    provider.create(FIRST)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    post(vault, "keys/twinward.st-anna.tombstone.1")  # and then the process was killed
    assert provider.versions(ANNA) == ()
    with pytest.raises(KeyDestroyed):
        provider.unwrap(FIRST, wrapped, CONTEXT)
    provider.destroy(FIRST)
    assert KEK not in vault.key_names()


def test_no_use_of_a_missing_key_makes_it(provider: TransitKeyProvider, vault: FakeTransit) -> None:
    provider.create(FIRST)
    provider.create(SECOND)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    provider.destroy(SECOND)
    before = vault.key_names()
    with pytest.raises(KeyDestroyed):
        provider.wrap(SECOND, TWIN_KEY, CONTEXT)
    with pytest.raises(KeyDestroyed):
        provider.rewrap(FIRST, SECOND, wrapped, CONTEXT)
    with pytest.raises(KeyNotFound):
        provider.wrap(KekId(ANNA, 7), TWIN_KEY, CONTEXT)
    assert vault.key_names() == before
    assert post(vault, "encrypt/made-by-upsert", plaintext="").status_code == 200
    assert "made-by-upsert" in vault.key_names()  # the fake would have


def test_an_operators_rotation_changes_nothing(provider: TransitKeyProvider, vault: FakeTransit) -> None:
    provider.create(FIRST)
    wrapped, mac = provider.wrap(FIRST, TWIN_KEY, CONTEXT), provider.mac(ANNA, b"l", b"m")
    for name in vault.key_names():
        assert post(vault, f"keys/{name}/rotate").status_code == 200
    assert provider.mac(ANNA, b"l", b"m") == mac
    assert provider.unwrap(FIRST, wrapped, CONTEXT) == TWIN_KEY
    again = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    assert again[2:6] == b"\x00\x00\x00\x02"
    assert provider.unwrap(FIRST, again, CONTEXT) == TWIN_KEY
    with pytest.raises(OpenError):
        provider.unwrap(FIRST, again[:5] + b"\x01" + again[6:], CONTEXT)


def test_version_zero_is_no_second_spelling(provider: TransitKeyProvider, vault: FakeTransit) -> None:
    provider.create(FIRST)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    with pytest.raises(OpenError):
        provider.unwrap(FIRST, wrapped[:2] + bytes(4) + wrapped[6:], CONTEXT)
    context = length_prefixed(b"twinward/kek-wrap", b"st-anna", bytes((0, 0, 0, 1)), CONTEXT)
    zero = f"vault:v0:{base64.b64encode(wrapped[6:]).decode()}"
    answer = post(vault, f"decrypt/{KEK}", ciphertext=zero, context=base64.b64encode(context).decode())
    assert answer.status_code == 200  # the engine itself opens it


def test_mac_is_the_documented_derivation(provider: TransitKeyProvider, vault: FakeTransit) -> None:
    provider.create(FIRST)
    key = vault._keys["twinward.st-anna.mac"].versions[0][1]
    assert provider.mac(ANNA, b"l", b"m") == derive(key, TENANT_MAC, length_prefixed(b"l", b"m"))


@pytest.mark.parametrize("name", ["mac", "seal"])
def test_a_lost_key_is_not_replaced_silently(provider: TransitKeyProvider, vault: FakeTransit, name: str) -> None:
    provider.create(FIRST)
    del vault._keys[f"twinward.st-anna.{name}"]
    provider.create(SECOND)
    with pytest.raises(KeyNotFound):
        provider.mac(ANNA, b"l", b"m") if name == "mac" else provider.wrap(SECOND, TWIN_KEY, CONTEXT)


@pytest.mark.parametrize("name", ["St-Anna", "st_anna", "st.anna.kek.1", "Österreich", "a" * 128, "a b/../c"])
def test_tenants_of_any_name_stay_apart(provider: TransitKeyProvider, name: str) -> None:
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


def test_the_certificate_is_verified(vault: FakeTransit, token_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ProviderLocked, match="certificate"):
        open_provider(f"transit:{vault.url}/transit?token-file={token_file}")
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    with FakeTransit(elsewhere) as other, pytest.raises(ProviderLocked, match="certificate"):
        open_provider(f"transit:{vault.url}/transit?token-file={token_file}&ca-file={other.ca_file}")
    assert vault.requests == []  # no token was sent
    with pytest.raises(ProviderLocked, match="cannot be read"):
        open_provider(f"transit:{vault.url}/transit?token-file={token_file}&ca-file={tmp_path / 'missing'}")


def test_a_renewed_token_is_read_anew(provider: TransitKeyProvider, vault: FakeTransit, token_file: Path) -> None:
    provider.create(FIRST)
    vault.token = "hvs.renewed"
    with pytest.raises(ProviderLocked, match="token"):
        provider.versions(ANNA)
    token_file.write_text(vault.token)
    assert provider.versions(ANNA) == (1,)


def test_tokens_do_not_show(uri: str, vault: FakeTransit, open_it: Open, token_file: Path) -> None:
    provider = open_it()
    assert vault.token not in repr(provider) + provider.uri
    assert str(token_file) not in provider.uri
    with pytest.raises(ProviderLocked) as caught:
        open_provider(uri, passphrase="hvs.wrong")
    assert "hvs.wrong" not in str(caught.value)
    token_file.chmod(0o640)
    with pytest.raises(ProviderLocked, match="chmod 600"):
        open_provider(uri)


def test_a_sealed_server_locks_and_a_gone_one_too(uri: str, tmp_path: Path) -> None:
    with FakeTransit(tmp_path) as vault:
        provider = TransitKeyProvider(vault.url, "transit", token=vault.token, ca_file=vault.ca_file)
        provider.create(FIRST)
        wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
        vault.sealed = True
        with pytest.raises(ProviderLocked, match="sealed"):
            provider.unwrap(FIRST, wrapped, CONTEXT)
        provider.close()
    with pytest.raises(ProviderLocked, match="reached"):
        provider.versions(ANNA)
    with pytest.raises(ProviderLocked, match="asked again in"):
        provider.destroy(FIRST)
    provider.close()


def test_another_mount_is_no_empty_one(vault: FakeTransit) -> None:
    with pytest.raises(KeyProviderError, match="no transit engine"):
        TransitKeyProvider(vault.url, "elsewhere", token=vault.token, ca_file=vault.ca_file)


@pytest.mark.parametrize(
    "answer",
    [{}, {"ciphertext": 7}, {"ciphertext": "vault:v1:"}, {"ciphertext": "vault:v1:AAAA"}, {"ciphertext": "x" * 200}],
)
def test_an_answer_that_is_not_of_the_api_is_refused(
    provider: TransitKeyProvider, vault: FakeTransit, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object]
) -> None:
    provider.create(FIRST)
    monkeypatch.setattr(vault, "_encrypt", lambda name, body: answer)
    with pytest.raises(KeyProviderError):
        provider.wrap(FIRST, TWIN_KEY, CONTEXT)


@pytest.mark.parametrize(
    "uri",
    [
        "transit:http://vault.example:8200/transit",
        "transit:https://vault.example:8200/",
        "transit:https://vault.example:8200",
        "transit:https:///transit",
        "transit:https://user:secret@vault.example/transit",
        "transit:https://vault.example/transit?token=hvs.secret",
        "transit:https://vault.example/transit?token-file=",
        "transit:https://vault.example/transit?ca-file=a&ca-file=b",
        "transit:https://[vault.example/transit",
        "transit:x",
    ],
)
def test_a_uri_that_is_not_understood_opens_nothing(uri: str) -> None:
    with pytest.raises(KeyProviderError) as caught:
        open_provider(uri, passphrase="hvs.fake")
    assert "secret" not in str(caught.value)


def test_a_token_is_needed() -> None:
    with pytest.raises(ProviderLocked, match="token"):
        open_provider("transit:https://vault.example:8200/transit")


def test_ciphertexts_of_two_wraps_share_nothing(provider: TransitKeyProvider) -> None:
    provider.create(FIRST)
    wraps = [provider.wrap(FIRST, TWIN_KEY, CONTEXT)[6:] for _ in range(4)]
    for one, other in itertools.combinations(wraps, 2):
        assert one[:12] != other[:12]


def test_threads_share_a_provider(provider: TransitKeyProvider) -> None:
    provider.create(FIRST)

    def work(number: int) -> bool:
        key, context = bytes((number,)) * 32, bytes((number,))
        return all(provider.unwrap(FIRST, provider.wrap(FIRST, key, context), context) == key for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "twinward_crypto.providers._transit_engine", raising=False)
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(KeyProviderError, match=r"twinward\[transit\]"):
        open_provider("transit:https://vault.example:8200/transit", passphrase="hvs.fake")
