from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.key_services import SERVICES
from tests.tools import ROOT
from twinward_crypto.errors import KeyDestroyed, KeyNotFound, KeyProviderError, ProviderLocked, UnknownProvider
from twinward_crypto.keys import KekId, KeyProvider, TenantId
from twinward_crypto.providers import _SCHEMES, _USAGE, open_provider
from twinward_crypto.providers._keystore_file import Argon2Cost, write_atomically
from twinward_crypto.providers.local import LocalKeyProvider
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_crypto.testing.provider_conformance import CONTEXT, FIRST, SECOND, TWIN_KEY, KeyProviderConformance

CHEAP = Argon2Cost(memory_kib=64, iterations=1, lanes=1)


class TestMemoryProvider(KeyProviderConformance):
    @pytest.fixture
    def provider(self) -> KeyProvider:
        return MemoryKeyProvider()


class TestLocalProviderWithKeyFile(KeyProviderConformance):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> KeyProvider:
        return open_provider(f"local:{tmp_path / 'keys'}", make=True)


class TestLocalProviderWithPassphrase(KeyProviderConformance):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> KeyProvider:
        return LocalKeyProvider(tmp_path / "keys", passphrase="correct horse", cost=CHEAP)


class TestLocalHybridProvider(KeyProviderConformance):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> KeyProvider:
        return open_provider(f"local-hybrid:{tmp_path / 'keys'}", make=True)


def test_every_scheme_is_named_in_the_refusal_and_has_a_drill_and_a_page() -> None:
    assert set(_SCHEMES) == set(_USAGE) == set(SERVICES)
    page = (ROOT / "platform/docs/keys.md").read_text(encoding="utf-8")
    assert [scheme for scheme in _SCHEMES if f"| `{scheme}:" not in page] == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_keys_and_tombstones_outlive_the_process(folder: Path) -> None:
    provider = LocalKeyProvider(folder)
    provider.create(FIRST)
    provider.create(SECOND)
    wrapped, mac = provider.wrap(SECOND, TWIN_KEY, CONTEXT), provider.mac(FIRST.tenant, b"l", b"m")
    provider.destroy(FIRST)
    again = LocalKeyProvider(folder)
    assert again.unwrap(SECOND, wrapped, CONTEXT) == TWIN_KEY
    assert again.mac(FIRST.tenant, b"l", b"m") == mac
    assert again.versions(FIRST.tenant) == (2,)
    with pytest.raises(KeyDestroyed):
        again.create(FIRST)


def test_a_second_process_sees_what_the_first_changes(folder: Path) -> None:
    one, other = LocalKeyProvider(folder), LocalKeyProvider(folder)
    one.create(FIRST)
    wrapped = other.wrap(FIRST, TWIN_KEY, CONTEXT)
    other.create(SECOND)
    one.destroy(FIRST)
    with pytest.raises(KeyDestroyed):
        other.unwrap(FIRST, wrapped, CONTEXT)
    assert one.versions(FIRST.tenant) == other.versions(FIRST.tenant) == (2,)


def test_files_are_their_owners_and_hold_no_key_in_the_clear(folder: Path) -> None:
    provider = LocalKeyProvider(folder, passphrase="correct horse", cost=CHEAP, random=lambda length: b"\xa7" * length)
    provider.create(FIRST)
    assert not (folder / "master.key").exists()
    assert stat.S_IMODE((folder / "keystore").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    data = (folder / "keystore").read_bytes()
    assert b"\xa7" * 32 not in data
    assert (b"\xa7" * 32).hex().encode() not in data
    assert b"st-anna" not in data


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_file_others_may_touch_is_refused(folder: Path, mode: int) -> None:
    LocalKeyProvider(folder)
    key_file = folder / "master.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key_file.chmod(mode)
    with pytest.raises(ProviderLocked, match="chmod 600"):
        LocalKeyProvider(folder)


def test_a_missing_or_wrong_key_file_locks(folder: Path, tmp_path: Path) -> None:
    LocalKeyProvider(folder)
    key_file = folder / "master.key"
    right = key_file.read_bytes()
    for content in (b"", b"zz" * 32, right[:-3], b"00" * 32, right + b"00"):
        key_file.write_bytes(content)
        with pytest.raises(ProviderLocked):
            LocalKeyProvider(folder)
    key_file.unlink()
    with pytest.raises(ProviderLocked, match="missing"):
        LocalKeyProvider(folder)
    assert not key_file.exists()  # it must not be replaced by a fresh one
    elsewhere = tmp_path / "elsewhere.key"
    write_atomically(elsewhere, right)
    LocalKeyProvider(folder, key_file=elsewhere)


def test_passphrases(folder: Path) -> None:
    with pytest.raises(ProviderLocked, match="empty"):
        LocalKeyProvider(folder, passphrase="", cost=CHEAP)
    LocalKeyProvider(folder, passphrase="correct horse", cost=CHEAP).create(FIRST)
    LocalKeyProvider(folder, passphrase="correct horse")
    for wrong in ("correct hors", "", "Correct horse"):
        with pytest.raises(ProviderLocked, match="wrong passphrase"):
            LocalKeyProvider(folder, passphrase=wrong)
    with pytest.raises(ProviderLocked, match="none was given"):
        LocalKeyProvider(folder)


def test_a_key_file_store_takes_no_passphrase(folder: Path) -> None:
    LocalKeyProvider(folder)
    with pytest.raises(ProviderLocked, match="key file"):
        LocalKeyProvider(folder, passphrase="correct horse")


def test_every_altered_byte_of_the_store_locks_it(folder: Path) -> None:
    LocalKeyProvider(folder).create(FIRST)
    store = folder / "keystore"
    right = store.read_bytes()
    for index in range(len(right)):
        store.write_bytes(right[:index] + bytes((right[index] ^ 0x80,)) + right[index + 1 :])
        with pytest.raises(ProviderLocked):
            LocalKeyProvider(folder)
    for cut in (0, 5, 32, 111, len(right) - 1):
        store.write_bytes(right[:cut])
        with pytest.raises(ProviderLocked):
            LocalKeyProvider(folder)
    store.write_bytes(right)
    assert LocalKeyProvider(folder).versions(FIRST.tenant) == (1,)


@pytest.mark.parametrize(
    "cost", [(65535, 64, 1), (1, 2**32 - 1, 1), (1, 64, 2**32 - 1), (0, 64, 1), (1, 7, 1), (1, 64, 0)]
)
def test_an_unaffordable_header_is_refused_before_it_costs_anything(folder: Path, cost: tuple[int, int, int]) -> None:
    LocalKeyProvider(folder, passphrase="correct horse", cost=CHEAP)
    store = folder / "keystore"
    data = store.read_bytes()
    store.write_bytes(data[:6] + struct.pack(">HII", *cost) + data[16:])
    with pytest.raises(ProviderLocked, match="damaged"):
        LocalKeyProvider(folder, passphrase="correct horse")


def test_a_change_that_cannot_be_saved_did_not_happen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = LocalKeyProvider(folder)
    provider.create(FIRST)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(KeyProviderError, match="No space left"):
            provider.create(SECOND)
        with pytest.raises(KeyProviderError, match="No space left"):
            provider.destroy(FIRST)
    assert provider.versions(FIRST.tenant) == (1,)
    provider.create(SECOND)
    assert LocalKeyProvider(folder).versions(FIRST.tenant) == (1, 2)


def test_an_unusable_folder_is_a_provider_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(KeyProviderError, match="cannot be used"):
        open_provider(f"local:{tmp_path / 'file'}")


@pytest.mark.parametrize("uri", ["", "local", "local:", "memory:", "kms:alias/x", "https://kms.example"])
def test_unknown_uris_name_what_exists(uri: str) -> None:
    with pytest.raises(UnknownProvider, match="local:FOLDER"):
        open_provider(uri)


def test_officers_seal_and_unseal_the_store(folder: Path) -> None:
    provider = LocalKeyProvider(folder)
    provider.create(FIRST)
    wrapped = provider.wrap(FIRST, TWIN_KEY, CONTEXT)
    shares = provider.split_master_key(shares=5, threshold=3)
    with pytest.raises(ProviderLocked, match="3 different shares"):
        provider.discard_key_file(shares[:2])
    assert (folder / "master.key").exists()
    provider.discard_key_file(shares[:3])
    assert not (folder / "master.key").exists()
    provider.create(SECOND)  # who is in stays in
    with pytest.raises(ProviderLocked, match="missing"):
        LocalKeyProvider(folder)
    for too_few in (shares[:1], shares[3:], [*shares[:2], shares[0]]):
        with pytest.raises(ProviderLocked, match="3 different shares"):
            LocalKeyProvider(folder, shares=too_few)
    unsealed = LocalKeyProvider(folder, shares=[shares[4], shares[0], shares[2]])
    assert unsealed.unwrap(FIRST, wrapped, CONTEXT) == TWIN_KEY
    assert not (folder / "master.key").exists()
    unsealed.restore_key_file(shares[1:4])
    assert stat.S_IMODE((folder / "master.key").stat().st_mode) == 0o600
    assert LocalKeyProvider(folder).versions(FIRST.tenant) == (1, 2)


def test_shares_of_another_store_and_altered_ones_do_not_open(folder: Path, tmp_path: Path) -> None:
    provider, other = LocalKeyProvider(folder), LocalKeyProvider(tmp_path / "other")
    strange = other.split_master_key(shares=2, threshold=2)
    right = provider.split_master_key(shares=2, threshold=2)
    altered = replace(right[1], value=right[1].value[:-1] + bytes((right[1].value[-1] ^ 1,)))
    for wrong in (strange, (right[0], altered), (right[0], strange[1])):
        with pytest.raises(ProviderLocked):
            LocalKeyProvider(folder, shares=wrong)
        with pytest.raises(ProviderLocked):
            provider.discard_key_file(wrong)
    assert (folder / "master.key").exists()
    for how in ({"shares": right}, {"make": False}, {"make": False, "passphrase": "correct horse"}):
        with pytest.raises(KeyNotFound, match="no key store"):
            LocalKeyProvider(tmp_path / "fresh", **how)
    assert not (tmp_path / "fresh").exists()


def test_shares_open_a_store_whose_passphrase_was_forgotten(folder: Path) -> None:
    provider = LocalKeyProvider(folder, passphrase="correct horse", cost=CHEAP)
    provider.create(FIRST)
    shares = provider.split_master_key(shares=3, threshold=2)
    assert LocalKeyProvider(folder, shares=shares[1:]).versions(FIRST.tenant) == (1,)
    for change in (provider.discard_key_file, provider.restore_key_file):
        with pytest.raises(ProviderLocked, match="no key file"):
            change(shares)
    assert not (folder / "master.key").exists()


@pytest.mark.slow
def test_processes_creating_at_once_lose_nothing(folder: Path) -> None:
    LocalKeyProvider(folder)
    script = (
        "import sys; from pathlib import Path; from twinward_crypto.keys import KekId;"
        "from twinward_crypto.providers.local import LocalKeyProvider;"
        "p = LocalKeyProvider(Path(sys.argv[1]));"
        "[p.create(KekId(sys.argv[2], v)) for v in range(1, 21)]"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(folder), f"tenant-{n}"]) for n in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    provider = LocalKeyProvider(folder)
    for number in range(4):
        assert provider.versions(TenantId(f"tenant-{number}")) == tuple(range(1, 21))
    assert provider.versions(KekId(TenantId("tenant-9"), 1).tenant) == ()
