"""Every log store passes one suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgres import Postgres
from twinward_ledger.log.store import LogStore
from twinward_ledger.stores.postgres import PostgresLogStore
from twinward_ledger.stores.sqlite import SqliteLogStore
from twinward_ledger.testing.store_conformance import LogStoreConformance


class TestSqlite(LogStoreConformance):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Iterator[Callable[[], LogStore]]:
        opened: list[LogStore] = []

        def open_it() -> LogStore:
            opened.append(SqliteLogStore(tmp_path / "log.db"))
            return opened[-1]

        yield open_it
        for store in opened:
            store.close()


@pytest.mark.slow
class TestPostgres(LogStoreConformance):
    @pytest.fixture
    def open_store(self, postgres: Postgres) -> Iterator[Callable[[], LogStore]]:
        uri = postgres.database()
        opened: list[LogStore] = []

        def open_it() -> LogStore:
            opened.append(PostgresLogStore(uri))
            return opened[-1]

        yield open_it
        for store in opened:
            store.close()
