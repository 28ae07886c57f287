from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.postgres import Postgres
from twinward.core.vocabulary import RecordId
from twinward.vault.errors import VaultUnavailable
from twinward.vault.interfaces import RecordStore
from twinward.vault.storage.postgres_records import PostgresRecordStore
from twinward.vault.storage.record_store import _OPENERS
from twinward.vault.storage.sqlite_records import SqliteRecordStore
from twinward.vault.testing.samples import row, tag
from twinward.vault.testing.store_conformance import RecordStoreConformance


@pytest.mark.slow
class TestPostgresStore(RecordStoreConformance):
    @pytest.fixture
    def reopen(self, postgres: Postgres) -> Callable[[], RecordStore]:
        uri = postgres.database()
        return lambda: PostgresRecordStore(uri)


class TestSqliteStore(RecordStoreConformance):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], RecordStore]:
        return lambda: SqliteRecordStore(tmp_path / "data" / "records.db")


def test_each_scheme_has_a_suite_above() -> None:
    assert {scheme.removesuffix("ql") for scheme in _OPENERS} == {"sqlite", "postgres"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


def test_the_file_is_its_owners_and_durable_settings_hold(path: Path) -> None:
    store = SqliteRecordStore(path)
    store.put([row("a")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_name("records.db-wal").stat().st_mode) == 0o600
    with store._file.reading() as connection:
        read = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    store.close()
    assert read == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_what_is_no_record_store_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database, but somebody's only copy of something\n" * 100)
    before = path.read_bytes()
    with pytest.raises(VaultUnavailable, match="not a database"):
        SqliteRecordStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("pragma", ["application_id = 7", "user_version = 99"])
def test_another_databases_file_is_refused(path: Path, pragma: str) -> None:
    SqliteRecordStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA {pragma}")
    connection.close()
    with pytest.raises(VaultUnavailable, match="another"):
        SqliteRecordStore(path)


def test_a_folder_in_the_way_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(VaultUnavailable, match="cannot be used"):
        SqliteRecordStore(path)


def test_a_backends_error_is_translated_and_shows_no_row(path: Path) -> None:
    store = SqliteRecordStore(path)
    with store._file.writing() as connection:
        connection.exec_driver_sql("DROP TABLE record_tag")
    with pytest.raises(VaultUnavailable) as caught:
        store.put([row("secret-id", tags=(tag("x"),))])
    assert "secret-id" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert store.latest(RecordId("secret-id")) is None
    assert store.count() == 0
    store.close()
