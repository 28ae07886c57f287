from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest

from tests.tools import require
from twinward_crypto.errors import KeyDestroyed, KeyNotFound, KeyProviderError, OpenError, ProviderLocked
from twinward_crypto.keys import KekId, KeyProvider, TenantId
from twinward_crypto.providers import open_provider
from twinward_crypto.providers.pkcs11 import WRAPPED_BYTES, Pkcs11KeyProvider
from twinward_crypto.testing.provider_conformance import ANNA, CONTEXT, FIRST, SECOND, TWIN_KEY, KeyProviderConformance

PIN, OFFICER_PIN = "pin-4711", "officer-0815"
_MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)


@dataclass(frozen=True)
class SoftHsm:
    """A fresh SoftHSM token, as an operator would make one."""

    module: str
    label: str
    pin_file: Path
    opened: list[Pkcs11KeyProvider]

    @property
    def uri(self) -> str:
        return f"pkcs11:token={self.label}?module-path={self.module}&pin-source={self.pin_file}"

    def open(self) -> Pkcs11KeyProvider:
        provider = open_provider(self.uri)
        assert isinstance(provider, Pkcs11KeyProvider)
        self.opened.append(provider)
        return provider


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    util = require("softhsm2-util", install="Debian package softhsm2")
    module = next((path for path in _MODULES if Path(path).exists()), None)
    assert module is not None, "softhsm2-util is here, its library is not"
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    label = "twinward-test"
    making = [util, "--init-token", "--free", "--label", label, "--so-pin", OFFICER_PIN, "--pin", PIN]
    subprocess.run(making, check=True, capture_output=True)
    pin_file = tmp_path / "pin"
    pin_file.write_text(PIN + "\n")
    pin_file.chmod(0o600)
    pkcs11.lib(module).reinitialize()  # a library reads its configuration once
    hsm = SoftHsm(module, label, pin_file, [])
    yield hsm
    for provider in hsm.opened:
        provider.close()


@pytest.fixture
def provider(hsm: SoftHsm) -> Pkcs11KeyProvider:
    return hsm.open()


class TestPkcs11Provider(KeyProviderConformance):
    @pytest.fixture
    def provider(self, hsm: SoftHsm) -> KeyProvider:
        return hsm.open()


def keys_of(provider: Pkcs11KeyProvider) -> list[pkcs11.SecretKey]:
    session = provider._token._session
    return list(session.get_objects({pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}))


def test_keys_are_the_tokens_own(provider: Pkcs11KeyProvider) -> None:
    provider.create(FIRST)
    keys = {key[pkcs11.Attribute.LABEL]: key for key in keys_of(provider)}
    assert set(keys) == {"twinward.st-anna.kek.1", "twinward.st-anna.mac"}
    for key in keys.values():
        assert key[pkcs11.Attribute.NEVER_EXTRACTABLE]
        assert key[pkcs11.Attribute.ALWAYS_SENSITIVE]
        assert key[pkcs11.Attribute.LOCAL]
        with pytest.raises(pkcs11.exceptions.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]
        for use in (pkcs11.Attribute.WRAP, pkcs11.Attribute.UNWRAP, pkcs11.Attribute.DERIVE):
            assert not key[use]


def test_destroying_deletes_the_object_and_leaves_a_mark_the_token_keeps(provider: Pkcs11KeyProvider) -> None:
    provider.create(FIRST)
    provider.destroy(FIRST)
    assert [key[pkcs11.Attribute.LABEL] for key in keys_of(provider)] == ["twinward.st-anna.mac"]
    session = provider._token._session
    (mark,) = session.get_objects({pkcs11.Attribute.LABEL: "twinward.st-anna.tombstone.1"})
    with pytest.raises(pkcs11.exceptions.PKCS11Error):
        mark.destroy()
    with pytest.raises(KeyDestroyed):
        provider.create(FIRST)


def test_a_destruction_that_was_interrupted_is_finished(provider: Pkcs11KeyProvider) -> None:
    for key in (FIRST, SECOND):
        provider.create(key)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    provider._token.mark("twinward.st-anna.tombstone.1")  # and then the process was killed
    assert provider.versions(ANNA) == (2,)
    with pytest.raises(KeyDestroyed):
        provider.unwrap(FIRST, wrapped, CONTEXT)
    provider.destroy(FIRST)
    assert not provider._token.has_key("twinward.st-anna.kek.1")


def test_everything_outlives_the_session(hsm: SoftHsm) -> None:
    first = hsm.open()
    first.create(FIRST)
    first.create(SECOND)
    wrapped, mac = first.wrap(SECOND, TWIN_KEY, CONTEXT), first.mac(ANNA, b"l", b"m")
    first.destroy(FIRST)
    hsm.opened.pop().close()
    again = hsm.open()
    assert again.unwrap(SECOND, wrapped, CONTEXT) == TWIN_KEY
    assert again.mac(ANNA, b"l", b"m") == mac
    assert again.versions(ANNA) == (2,)
    with pytest.raises(KeyDestroyed):
        again.wrap(FIRST, TWIN_KEY, CONTEXT)


def test_two_providers_in_one_process_share_a_token(hsm: SoftHsm) -> None:
    one, other = hsm.open(), hsm.open()
    one.create(FIRST)
    wrapped = other.wrap(FIRST, TWIN_KEY, CONTEXT)
    other.destroy(FIRST)
    with pytest.raises(KeyDestroyed):
        one.unwrap(FIRST, wrapped, CONTEXT)


def test_a_lost_mac_key_is_not_replaced_silently(provider: Pkcs11KeyProvider) -> None:
    provider.create(FIRST)
    provider._token.delete_key("twinward.st-anna.mac")
    provider.create(SECOND)
    with pytest.raises(KeyNotFound):
        provider.mac(ANNA, b"l", b"m")


def test_two_keys_of_one_name_are_not_guessed_between(
    provider: Pkcs11KeyProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.create(FIRST)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    monkeypatch.setattr(provider._token, "has_key", lambda label: False)  # as another process would have seen it
    with pytest.raises(KeyProviderError, match="try again"):
        provider.create(FIRST)
    monkeypatch.undo()
    assert provider.unwrap(FIRST, wrapped, CONTEXT) == TWIN_KEY  # the first one stayed
    session = provider._token._session
    session.generate_key(pkcs11.KeyType.AES, 256, label="twinward.st-anna.kek.1", store=True)
    with pytest.raises(KeyProviderError, match="2 keys"):
        provider.unwrap(FIRST, wrapped, CONTEXT)
    provider.destroy(FIRST)  # takes both
    assert provider.versions(ANNA) == ()


def test_wrapped_keys_have_the_specified_bytes(hsm: SoftHsm) -> None:
    hsm.open()
    fixed = Pkcs11KeyProvider(Path(hsm.module), hsm.label, pin=PIN, random=lambda length: b"\xa7" * length)
    hsm.opened.append(fixed)
    fixed.create(FIRST)
    wrapped = fixed.wrap(FIRST, TWIN_KEY, CONTEXT)
    assert len(wrapped) == WRAPPED_BYTES == 62
    assert wrapped[:14] == b"\x01\x01" + b"\xa7" * 12
    for length in (0, 1, 61, 63, 112):
        with pytest.raises(OpenError):
            fixed.unwrap(FIRST, bytes(length), CONTEXT)


@pytest.mark.parametrize("name", ["St-Anna", "st_anna", "st.anna.kek.1", "Österreich", "a" * 128, "\ud800", "a b/../c"])
def test_tenants_of_any_name_stay_apart(provider: Pkcs11KeyProvider, name: str) -> None:
    other = KekId(TenantId(name), 1)
    provider.create(FIRST)
    provider.create(other)
    assert provider.versions(other.tenant) == provider.versions(ANNA) == (1,)
    assert provider.unwrap(other, provider.wrap(other, TWIN_KEY, CONTEXT), CONTEXT) == TWIN_KEY
    provider.destroy(other)
    assert provider.versions(ANNA) == (1,)
    assert provider.mac(other.tenant, b"l", b"m") != provider.mac(ANNA, b"l", b"m")


def test_a_wrong_pin_locks(hsm: SoftHsm) -> None:
    for wrong in ("pin-4712", "", "1"):
        with pytest.raises(ProviderLocked, match="PIN") as caught:
            open_provider(hsm.uri, passphrase=wrong)
        assert not wrong or wrong not in str(caught.value).split()
    provider = open_provider(hsm.uri, passphrase=PIN)
    assert isinstance(provider, Pkcs11KeyProvider)
    hsm.opened.append(provider)
    assert PIN not in repr(provider)
    assert str(hsm.pin_file) not in provider.uri
    hsm.pin_file.chmod(0o644)
    with pytest.raises(ProviderLocked, match="chmod 600"):
        open_provider(hsm.uri)
    hsm.pin_file.unlink()
    with pytest.raises(ProviderLocked, match="cannot be read"):
        open_provider(hsm.uri)


def test_an_absent_token_locks_and_an_absent_library_says_so(hsm: SoftHsm, tmp_path: Path) -> None:
    with pytest.raises(ProviderLocked, match="label"):
        open_provider(f"pkcs11:token=elsewhere?module-path={hsm.module}", passphrase=PIN)
    with pytest.raises(KeyProviderError, match="no PKCS#11 library"):
        open_provider(f"pkcs11:token=x?module-path={tmp_path / 'missing.so'}", passphrase=PIN)


def test_a_closed_session_is_a_provider_error(hsm: SoftHsm) -> None:
    provider = hsm.open()
    provider.create(FIRST)
    hsm.opened.clear()
    provider.close()
    for use in (lambda: provider.wrap(FIRST, TWIN_KEY, CONTEXT), lambda: provider.versions(ANNA)):
        with pytest.raises(KeyProviderError):
            use()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("pkcs11:token=x", "module-path"),
        ("pkcs11:module-path=/x.so", "token"),
        ("pkcs11:token=x;module-path=/x.so", "PIN"),
        ("pkcs11:token=x;module-path=/x.so;pin-value=1234", "does not belong"),
        ("pkcs11:token=x;token=y;module-path=/x.so", "once each"),
        ("pkcs11:token=x;module-path=/x.so;slot-id=1", "once each"),
        ("pkcs11:token=;module-path=/x.so", "once each"),
    ],
)
def test_a_uri_that_is_not_understood_opens_nothing(uri: str, reason: str) -> None:
    with pytest.raises(KeyProviderError, match=reason) as caught:
        open_provider(uri)
    assert "1234" not in str(caught.value)


def test_threads_share_a_provider(provider: Pkcs11KeyProvider) -> None:
    provider.create(FIRST)

    def work(number: int) -> bool:
        key, context = bytes((number,)) * 32, bytes((number,))
        return all(provider.unwrap(FIRST, provider.wrap(FIRST, key, context), context) == key for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "twinward_crypto.providers._pkcs11_token", raising=False)
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyProviderError, match=r"twinward\[pkcs11\]"):
        open_provider("pkcs11:token=x;module-path=/x.so", passphrase=PIN)
