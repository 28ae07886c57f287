"""A keyring of an earlier version of Twinward: opened, it is brought up to date, and every key is what it was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine

from tests.integration.vault.conftest import TENANT
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Category, TwinId
from twinward.vault.keys.keyring import Keyring
from twinward.vault.storage.schemas import KEYRING
from twinward_crypto import hierarchy
from twinward_crypto.keys import KekId
from twinward_crypto.testing.memory_provider import MemoryKeyProvider
from twinward_ledger.storage import migrations

TWIN = TwinId("0198-anna")
TWIN_KEY = bytes(range(32))


@pytest.fixture
def provider() -> MemoryKeyProvider:
    made = MemoryKeyProvider()
    made.create(KekId(TENANT, 1))
    return made


def laid(path: Path, provider: MemoryKeyProvider) -> None:
    """A file as revision 0001 had it, with one twin in it."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrations.upgrade(connection, KEYRING, "0001")
        wrapped = provider.wrap(KekId(TENANT, 1), TWIN_KEY, hierarchy.wrap_context(TENANT, TWIN, 1))
        row = (TWIN, 1, 1, True, wrapped)
        connection.exec_driver_sql("INSERT INTO wrapped_twin_key VALUES (?, ?, ?, ?, ?)", row)
        connection.exec_driver_sql("INSERT INTO shredded_twin VALUES ('0198-bern', 7)")
        connection.exec_driver_sql(f"DROP TABLE {KEYRING.version_table}")
        connection.exec_driver_sql(f"PRAGMA application_id = {KEYRING.application_id}")
        connection.exec_driver_sql("PRAGMA user_version = 1")
    engine.dispose()


def test_keys_of_an_older_keyring_stay_what_they_were(tmp_path: Path, provider: MemoryKeyProvider) -> None:
    path = tmp_path / "keyring.db"
    laid(path, provider)
    for _ in range(2):
        keyring = Keyring(path, provider, TENANT, FixedClock())
        keys = keyring.keys(TWIN)
        assert keys.category_key(Category.LABS) == hierarchy.category_key(TWIN_KEY, "labs", 1)
        assert keys.audit_key() == hierarchy.audit_key(TWIN_KEY)
        assert keyring.census().shredded == {"0198-bern"}
        keyring.close()
    keyring = Keyring(path, provider, TENANT, FixedClock())
    keyring.shred(TWIN, [Category.LABS])
    assert keyring.census().wrapped == {1: 1}
    again = keyring.keys(TWIN)
    assert again.category_key(Category.VITALS) == hierarchy.category_key(TWIN_KEY, "vitals", 1)
    assert again.category_key(Category.LABS) != hierarchy.category_key(TWIN_KEY, "labs", 1)
    keyring.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()


def test_a_rotation_puts_keys_of_an_older_keyring_under_wrapping_keys(
    tmp_path: Path, provider: MemoryKeyProvider
) -> None:
    path = tmp_path / "keyring.db"
    laid(path, provider)
    keyring = Keyring(path, provider, TENANT, FixedClock())
    keyring.reserve([younger := TwinId("0199-carl")])
    later = keyring.audit_key(younger)
    assert keyring.rotation_plan().keys == 2
    seen: list[tuple[int, int]] = []
    assert keyring.rotate(lambda *said: seen.append(said)) == 2
    assert seen == [(1, 2), (2, 2)]
    assert keyring.retire() == [1]
    keyring.close()
    keyring = Keyring(path, provider, TENANT, FixedClock())
    assert keyring.audit_key(TWIN) == hierarchy.audit_key(TWIN_KEY)
    assert keyring.audit_key(younger) == later
    assert keyring.census().wrapped == {2: 2}
    keyring.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT kek_version FROM wrapped_twin_key").fetchall() == [(0,), (0,)]
    connection.close()


def test_what_an_older_version_could_not_keep_is_not_taken_back(tmp_path: Path, provider: MemoryKeyProvider) -> None:
    path = tmp_path / "keyring.db"
    keyring = Keyring(path, provider, TENANT, FixedClock())
    keyring.create(TWIN)
    keyring.shred(TWIN, [Category.LABS])
    keyring.close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        _down(connection, refused=True)  # it is under a wrapping key
        connection.exec_driver_sql("UPDATE wrapped_twin_key SET wrapping_key = 0, kek_version = 1")
        _down(connection, refused=True)
        connection.exec_driver_sql("UPDATE wrapped_twin_key SET kept = NULL")
        _down(connection, refused=True)  # the erasure is unfinished
        connection.exec_driver_sql("UPDATE erasure SET done_at_index = 1")
        _down(connection, refused=False)
        migrations.upgrade(connection, KEYRING, "head")
        assert connection.exec_driver_sql("SELECT twin, kept FROM wrapped_twin_key").fetchall() == [(TWIN, None)]
    engine.dispose()


def _down(connection: Connection, *, refused: bool) -> None:
    from alembic import command

    settings = migrations.config(connection, KEYRING)
    if migrations.revision(connection, KEYRING) == migrations.NOTHING:
        command.stamp(settings, "0003")
    if not refused:
        migrations.downgrade(connection, KEYRING, "0001")
        return
    with pytest.raises(ValueError, match=r"revision 000[12]"):
        migrations.downgrade(connection, KEYRING, "0001")
