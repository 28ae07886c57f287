from __future__ import annotations

import logging
import pickle
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.first_kek import with_first_kek
from tests.integration.vault.conftest import TENANT, House, build, observation
from twinward.audit.interfaces import EventKeys
from twinward.core.clock import FixedClock
from twinward.core.errors import NotFound
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import TwinId
from twinward.vault.errors import RecordDamaged, TwinExists, TwinNotFound, TwinShredded, VaultUnavailable
from twinward.vault.keys.keyring import Keyring
from twinward.vault.keys.twin_keys import CACHE_TTL_MS
from twinward_crypto.providers.local import LocalKeyProvider
from twinward_crypto.testing.memory_provider import MemoryKeyProvider

TWIN_KEY = b"\xc3" * 32


@pytest.fixture
def known(tmp_path: Path) -> Keyring:
    """A keyring whose random bytes are known, to look for."""
    return Keyring(
        tmp_path / "keyring.db",
        with_first_kek(LocalKeyProvider(tmp_path / "keys")),
        TENANT,
        FixedClock(),
        random=lambda _: TWIN_KEY,
    )


def test_it_keeps_event_keys(house: House) -> None:
    keys: EventKeys = house.keyring
    twin, other = house.twin(), house.twin()
    audit = {keys.audit_key(twin), keys.audit_key(other), keys.audit_key(None)}
    assert len(audit) == 3
    assert {len(key) for key in audit} == {32}
    assert keys.audit_key(twin) in audit
    tags = {keys.tag("agent", "dr-weber"), keys.tag("agent", "dr-wolf"), keys.tag("twin", "dr-weber")}
    assert len(tags) == 3
    assert {len(tag) for tag in tags} == {16}


def test_event_keys_are_stable_over_rotation_and_restart(house: House) -> None:
    twin = house.twin()

    def read(keyring: Keyring) -> list[bytes]:
        return [keyring.audit_key(twin), keyring.audit_key(None), keyring.tag("agent", "x")]

    before = read(house.keyring)
    house.keyring.rotate()
    house.keyring.retire()
    house.vault.close()
    again = build(house.folder, house.clock)
    assert read(again.keyring) == before
    again.vault.close()


def test_events_before_a_twin_exists_have_its_key_already(house: House) -> None:
    twin = new_twin_id(0)
    with pytest.raises(TwinNotFound):
        house.keyring.audit_key(twin)  # asking makes nothing: anybody can make up an id
    house.keyring.reserve([twin])
    before = house.keyring.audit_key(twin)
    with pytest.raises(TwinNotFound):
        house.keyring.keys(twin)
    assert house.keyring.count() == 0
    house.keyring.create(twin)
    assert house.keyring.audit_key(twin) == before
    assert house.keyring.count() == 1
    with pytest.raises(TwinExists):
        house.keyring.create(twin)


def test_reserving_many_at_once(house: House) -> None:
    twins = [new_twin_id(number) for number in range(50)]
    house.keyring.reserve(twins + twins[:3])
    house.keyring.reserve(twins)
    assert len({house.keyring.audit_key(twin) for twin in twins}) == 50


def test_rotation_rewraps_keys_and_touches_no_record(house: House) -> None:
    twins = [house.twin() for _ in range(7)]
    records = [house.write(observation(twin, b"kept"))[0] for twin in twins]
    rows = [house.store.latest(record.record_id) for record in records if record.record_id]
    seen: list[tuple[int, int]] = []
    assert house.keyring.rotate(lambda done, total: seen.append((done, total))) == 2
    assert seen == [(7, 7)]
    assert house.keyring.retire() == [1]
    assert house.provider.versions(TENANT) == (2,)
    assert [house.store.latest(record.record_id) for record in records if record.record_id] == rows
    house.clock.advance(CACHE_TTL_MS)  # past the cache: the keys are unwrapped anew
    for twin in twins:
        assert [record.content for record in house.vault.read_twin(house.permit(twin))] == [b"kept"]
    assert house.keyring.retire() == []


def test_an_interrupted_rotation_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinward.vault.keys.wrapping_keys.TWINS_PER_WRAPPING_KEY", 1)
    twins = [house.twin() for _ in range(5)]
    monkeypatch.setattr("twinward.vault.keys.rotation.FIRST_BATCH", 2)
    monkeypatch.setattr("twinward.vault.keys.rotation.LARGEST_BATCH", 2)

    class Stopped(Exception):
        pass

    def stop(_done: int, _total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        house.keyring.rotate(stop)
    assert house.keyring.retire() == []  # the old KEK still wraps three keys
    late = house.twin()
    seen: list[tuple[int, int]] = []
    assert house.keyring.rotate(lambda done, total: seen.append((done, total))) == 2
    assert seen == [(2, 3), (3, 3)]
    assert house.keyring.retire() == [1]
    house.clock.advance(CACHE_TTL_MS)
    for twin in (*twins, late):
        house.keyring.keys(twin)


def test_a_shredded_twin_is_gone_and_others_are_not(house: House) -> None:
    twin, other = house.twin(), house.twin()
    (record,) = house.write(observation(twin, b"gone"))
    (kept,) = house.write(observation(other, b"kept"))
    assert record.record_id is not None
    assert kept.record_id is not None
    house.keyring.shred(twin)
    house.keyring.shred(twin)
    for attempt in (
        lambda: house.vault.read(house.permit(twin), record.record_id),
        lambda: house.vault.read_twin(house.permit(twin)),
        lambda: house.keyring.audit_key(twin),
        lambda: house.keyring.create(twin),
        lambda: house.keyring.reserve([new_twin_id(1), twin]),
        lambda: house.write(observation(twin, b"again")),
    ):
        with pytest.raises(TwinShredded) as caught:
            attempt()
        assert isinstance(caught.value, NotFound)
    assert house.vault.read(house.permit(other), kept.record_id).content == b"kept"
    assert house.keyring.count() == 1
    with pytest.raises(TwinNotFound):
        house.keyring.shred(new_twin_id(0))


def test_a_shredded_keys_wrapped_bytes_are_in_no_file(house: House) -> None:
    twin = house.twin()
    with sqlite3.connect(house.folder / "keyring.db") as connection:
        (wrapped,) = connection.execute("SELECT wrapped FROM wrapped_twin_key WHERE twin = ?", (twin,)).fetchone()
    connection.close()
    assert any(wrapped in data for data in house.files().values())
    house.keyring.shred(twin)
    assert not any(wrapped in data for data in house.files().values())


def test_after_rotation_and_retirement_an_old_backup_opens_nothing(house: House, tmp_path: Path) -> None:
    twin, other = house.twin(), house.twin()
    (record,) = house.write(observation(twin, b"gone"))
    assert record.record_id is not None
    backup = tmp_path / "backup.db"
    with sqlite3.connect(house.folder / "keyring.db") as source, sqlite3.connect(backup) as target:
        source.backup(target)
    source.close()
    target.close()
    house.keyring.shred(twin)
    house.keyring.rotate()
    assert house.keyring.retire() == [1]
    house.vault.close()
    shutil.copy(backup, house.folder / "keyring.db")
    restored = build(house.folder, house.clock)
    for name in (twin, other):
        with pytest.raises(TwinShredded):
            restored.vault.read_twin(restored.permit(name))
    restored.vault.close()


def test_unwrapped_keys_are_forgotten_after_a_while(house: House) -> None:
    twin = house.twin()
    house.keyring.keys(twin)
    second = Keyring(house.folder / "keyring.db", house.provider, TENANT, house.clock)
    second.shred(twin)  # as another process would
    second.close()
    house.keyring.keys(twin)
    house.clock.advance(CACHE_TTL_MS)
    with pytest.raises(TwinShredded):
        house.keyring.keys(twin)


def test_the_key_of_events_about_nobody_is_kept_for_a_while_and_no_longer(house: House) -> None:
    key = house.keyring.audit_key(None)
    (house.folder / "keys" / "keystore").unlink()
    house.clock.advance(CACHE_TTL_MS - 1)
    assert house.keyring.audit_key(None) == key
    house.clock.advance(1)
    with pytest.raises(VaultUnavailable):
        house.keyring.audit_key(None)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wrapped_twin_key SET wrapped = zeroblob(112)",
        "UPDATE wrapped_twin_key SET wrapped = (SELECT wrapped FROM wrapped_twin_key WHERE twin <> :twin)",
        "UPDATE wrapped_twin_key SET wrapped = 'text where bytes belong'",
        "UPDATE wrapped_twin_key SET generation = 2",
        "UPDATE wrapped_twin_key SET generation = 'text'",
        "UPDATE wrapped_twin_key SET generation = 0",
        "UPDATE wrapped_twin_key SET kek_version = 'text'",
        "UPDATE wrapped_twin_key SET wrapping_key = 'text'",
        "UPDATE wrapped_twin_key SET wrapping_key = 0, kek_version = 1",
        "UPDATE wrapped_twin_key SET wrapping_key = 7",
        "UPDATE wrapped_twin_key SET wrapping_key = -1",
    ],
)
def test_an_altered_keyring_is_noticed(house: House, statement: str) -> None:
    twin, _other = house.twin(), house.twin()
    with sqlite3.connect(house.folder / "keyring.db") as connection:
        connection.execute(f"{statement} WHERE twin = :twin", {"twin": twin})
    connection.close()
    with pytest.raises(RecordDamaged):
        house.keyring.keys(twin)


def test_no_key_in_files_logs_or_representations(
    known: Keyring, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    twin = TwinId("twin-1")
    known.create(twin)
    keys = known.keys(twin)
    assert keys.audit_key() != TWIN_KEY
    for text in (repr(known), repr(keys), caplog.text):
        assert TWIN_KEY.hex() not in text
        assert repr(TWIN_KEY)[2:-1] not in text
    for holder in (known, keys):
        with pytest.raises(TypeError):
            pickle.dumps(holder)
    known.close()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or TWIN_KEY not in path.read_bytes()


def test_a_key_service_that_does_not_belong_is_refused(house: House) -> None:
    house.twin()
    house.keyring.rotate()
    house.keyring.retire()
    empty, older = MemoryKeyProvider(), with_first_kek(MemoryKeyProvider())
    with pytest.raises(VaultUnavailable, match="holds no key of st-anna"):
        Keyring(house.folder / "keyring.db", empty, TENANT, house.clock)
    with pytest.raises(VaultUnavailable, match="wrapped under KEK 2"):
        Keyring(house.folder / "keyring.db", older, TENANT, house.clock)
    assert (empty.versions(TENANT), older.versions(TENANT)) == ((), (1,))


def test_a_key_service_that_fails_is_unavailable(house: House) -> None:
    twin = house.twin()
    (house.folder / "keys" / "keystore").unlink()
    for attempt in (
        lambda: house.keyring.keys(twin),
        lambda: house.keyring.create(new_twin_id(0)),
        lambda: house.keyring.tag("agent", "x"),
        lambda: house.keyring.audit_key(None),
        house.keyring.rotate,
        house.keyring.retire,
    ):
        with pytest.raises(VaultUnavailable):
            attempt()


def test_a_records_database_is_no_keyring(house: House) -> None:
    with pytest.raises(VaultUnavailable, match="another kind"):
        Keyring(house.folder / "records.db", house.provider, TENANT, house.clock)


def test_no_kek_is_made_by_opening(tmp_path: Path) -> None:
    provider = with_first_kek(MemoryKeyProvider(), "other")
    with pytest.raises(VaultUnavailable, match="holds no key of st-anna"):
        Keyring(tmp_path / "keyring.db", provider, TENANT, FixedClock())
    assert provider.versions(TENANT) == ()
    Keyring(tmp_path / "keyring.db", with_first_kek(provider), TENANT, FixedClock()).close()
    assert provider.versions(TENANT) == (1,)
