"""Every storage of the completeness map gives the map that memory gives, keeps all of a transaction or none of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgres import Postgres
from twinward_ledger import merkle
from twinward_ledger.completeness.interfaces import LoggedHead, MapStore
from twinward_ledger.completeness.map import MapHead, key_commitment, verify_map_proof
from twinward_ledger.completeness.memory import MemoryMap
from twinward_ledger.completeness.tree import MapTree
from twinward_ledger.errors import LogUnavailable
from twinward_ledger.stores.completeness import open_map_store
from twinward_ledger.stores.completeness_postgres import PostgresMapStore
from twinward_ledger.stores.completeness_sqlite import SqliteMapStore

Opener = Callable[[], MapStore]
Row = tuple[bytes, int, bytes]


def label(number: int) -> bytes:
    """Every third label shares 20 bits with others, so that paths end below the pages."""
    made = hashlib.sha256(b"%d" % number).digest()
    return b"\x07\x07\x70" + made[3:] if number % 3 == 0 else made


def rows(start: int, stop: int, patients: int) -> list[Row]:
    return [(label(n * n % patients), n, merkle.leaf_hash(b"%d" % n)) for n in range(start, stop)]


class MapStoreConformance:
    @pytest.fixture
    def open_store(self) -> Opener:
        raise NotImplementedError

    def test_it_is_the_map_that_memory_keeps(self, open_store: Opener) -> None:
        store, memory, patients = open_store(), MapTree(MemoryMap()), 60
        for start in range(0, 300, 50):
            batch = rows(start, start + 50, patients)
            with store.transaction() as view:
                assert MapTree(view).extend(batch) == memory.extend(batch)
        with open_store().transaction() as view:  # as another process sees it
            tree, root = MapTree(view), memory.root()
            assert tree.root() == tree.rebuilt() == root
            assert [one.label for one in view.every()] == sorted({one[0] for one in rows(0, 300, patients)})
            head = MapHead(300, root.total, root.hash, key_commitment(bytes(32)))
            for number in range(2 * patients):
                proof = tree.prove(label(number))
                assert proof == memory.prove(label(number))
                verify_map_proof(head, label(number), proof)

    def test_a_transaction_that_raises_leaves_nothing(self, open_store: Opener) -> None:
        store = open_store()
        with store.transaction() as view:
            before = MapTree(view).extend(rows(0, 10, 5))

        def interrupted() -> None:
            with store.transaction() as view:
                MapTree(view).extend(rows(10, 90, 30))
                view.put_tags({b"t" * 16: label(1)})
                view.put_head(LoggedHead(MapHead(1, 1, bytes(32), bytes(32)), 1))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            interrupted()
        with store.transaction() as view:
            assert MapTree(view).root() == MapTree(view).rebuilt() == before
            assert view.head() is None
            assert not view.tags()

    def test_heads_and_tags_are_there_again(self, open_store: Opener) -> None:
        store = open_store()
        first, second = (LoggedHead(MapHead(n, n, bytes([n]) * 32, bytes(32)), n) for n in (1, 2))
        for logged in (first, second):
            with store.transaction() as view:
                view.put_head(logged)
                view.put_tags({b"a" * 16: label(1), bytes([logged.index]) * 16: label(2)})
        store.close()
        store.close()
        with open_store().transaction() as view:
            assert view.head() == second
            assert view.tags() == {b"a" * 16: label(1), b"\1" * 16: label(2), b"\2" * 16: label(2)}

    def test_an_empty_one_and_a_closed_one(self, open_store: Opener) -> None:
        store = open_store()
        with store.transaction() as view:
            assert MapTree(view).extend([]) == MapTree(view).root()
            assert MapTree(view).prove(label(1)).count == 0
        store.close()
        with pytest.raises(LogUnavailable), store.transaction():
            pass


class TestSqlite(MapStoreConformance):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Iterator[Opener]:
        opened: list[MapStore] = []

        def open_it() -> MapStore:
            opened.append(open_map_store(f"sqlite:{tmp_path / 'log.db'}"))
            return opened[-1]

        yield open_it
        for store in opened:
            store.close()

    def test_the_file_lies_beside_the_log_and_is_its_owners(self, tmp_path: Path) -> None:
        open_map_store(f"sqlite:{tmp_path / 'log.db'}").close()
        assert (tmp_path / "log.completeness.db").stat().st_mode & 0o777 == 0o600

    def test_another_kind_of_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("no database " * 1000)
        for bad in (tmp_path / "text", tmp_path / "absent" / "map.db"):
            with pytest.raises(LogUnavailable):
                SqliteMapStore(bad)
        with pytest.raises(LogUnavailable):
            open_map_store("mysql:x")


@pytest.mark.slow
class TestPostgres(MapStoreConformance):
    @pytest.fixture
    def open_store(self, postgres: Postgres) -> Iterator[Opener]:
        uri = postgres.database()
        opened: list[MapStore] = []

        def open_it() -> MapStore:
            opened.append(PostgresMapStore(uri))
            return opened[-1]

        yield open_it
        for store in opened:
            store.close()
