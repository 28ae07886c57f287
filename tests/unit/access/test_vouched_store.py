"""A small store that storage cannot forge, thin out or turn back, and that every process sees alike."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest
from sqlalchemy import Connection, MetaData, text
from sqlmodel import Field, SQLModel

from twinward.access.vouched_store import DELETED, VouchedStore
from twinward.audit.models import Head
from twinward.core.errors import StoreAltered, Unavailable
from twinward.core.one_look import look_anew, one_look
from twinward_ledger.storage import AsStored, Schema, table_of, upsert
from twinward_ledger.storage.sqlite import SqliteFile


class ThingsBase(SQLModel):
    metadata: ClassVar[MetaData] = MetaData()


class Thing(ThingsBase, table=True):
    name: str = Field(primary_key=True)
    value: str


class ThingChange(ThingsBase, table=True):
    __tablename__ = "change"

    seq: int = Field(primary_key=True)
    subject: str
    digest: bytes = Field(sa_type=AsStored)
    mac: bytes = Field(sa_type=AsStored)


SCHEMA = Schema(
    "things", 7, 1, Path(), lambda: ThingsBase.metadata, unavailable=lambda message, hint: Unavailable(message)
)


class Keys:
    def __init__(self, tenant: bytes = b"t" * 32) -> None:
        self._tenant = tenant

    def audit_key(self, twin: object) -> bytes:
        return self._tenant

    def tag(self, label: str, value: str) -> bytes:
        raise NotImplementedError


class Log:
    """Remembers heads as the access log does; can be down."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.down = False

    def newest(self, store: str) -> Head | None:
        if self.down:
            raise Unavailable("down")
        return self.heads[-1] if self.heads else None

    def furthest(self, store: str) -> Head | None:
        return max(self.heads, key=lambda head: head.changes, default=None)

    def record(self, store: str, head: Head) -> None:
        if self.down:
            raise Unavailable("down")
        self.heads.append(head)


def digest(value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()


def rows(db: Connection) -> Iterator[tuple[str, bytes]]:
    for name, value in db.execute(text("SELECT name, value FROM thing ORDER BY name")):
        yield name, digest(value)


class House:
    def __init__(self, folder: Path) -> None:
        self.path, self.log = folder / "things.db", Log()

    def open(self, keys: Keys | None = None) -> VouchedStore:
        return VouchedStore(SqliteFile(self.path, SCHEMA), "things", ThingChange, keys or Keys(), self.log, adopt=rows)

    def copy(self, to: str) -> Path:
        target = self.path.with_name(to)
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
        return target


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def put(store: VouchedStore, name: str, value: str) -> None:
    with store.writing() as writer:
        upsert(writer.db, table_of(Thing), name=name, value=value)
        writer.note(name, digest(value))


def put_and_fail(store: VouchedStore) -> None:
    with store.writing() as writer:
        writer.db.execute(text("UPDATE thing SET value = '2'"))
        writer.note("a", digest("2"))
        writer.db.execute(text("no SQL"))


def look_at_everything(store: VouchedStore) -> None:
    for name in ("a", "b", "planted"):
        read(store, name)
    store.verify()


def read(store: VouchedStore, name: str) -> str | None:
    with store.reading() as reader:
        row = reader.db.execute(text("SELECT value FROM thing WHERE name = :name"), {"name": name}).first()
        reader.require(name, None if row is None else digest(row[0]))
    return None if row is None else str(row[0])


def test_what_one_process_writes_every_other_sees_at_its_next_look(house: House) -> None:
    one, other = house.open(), house.open()
    put(one, "a", "1")
    assert (read(other, "a"), other.newest("a")) == ("1", digest("1"))
    put(other, "a", "2")
    put(other, "b", "3")
    assert (read(one, "a"), one.newest("a"), read(one, "b")) == ("2", digest("2"), "3")
    with one.writing() as writer:
        writer.db.execute(text("DELETE FROM thing WHERE name = 'a'"))
        writer.note("a", DELETED)
    assert read(other, "a") is None
    assert other.newest("a") == DELETED
    assert house.log.heads[-1].changes == 4


def test_one_look_serves_what_was_asked_together_and_ends_with_it(house: House) -> None:
    one, other = house.open(), house.open()
    put(one, "a", "1")
    with one_look():
        assert other.newest("a") == digest("1")
        put(one, "a", "2")
        assert other.newest("a") == digest("1")
        assert one.newest("a") == digest("2")  # who writes knows it
        look_anew()
        assert other.newest("a") == digest("2")
        put(one, "a", "3")
    assert other.newest("a") == digest("3")


def test_a_write_that_fails_changes_nothing(house: House) -> None:
    store = house.open()
    put(store, "a", "1")
    with pytest.raises(Unavailable):
        put_and_fail(store)
    assert read(store, "a") == "1"
    assert read(house.open(), "a") == "1"
    assert len(house.log.heads) == 1


TAMPERED = {
    "a row altered": "UPDATE thing SET value = 'x' WHERE name = 'a'",
    "a row of its own": "INSERT INTO thing VALUES ('planted', 'x')",
    "the newest row taken away": "DELETE FROM thing WHERE name = 'b'",
    "the newest change taken away": "DELETE FROM change WHERE seq = 3",
    "a change in the middle taken away": "DELETE FROM change WHERE seq = 2",
    "every change taken away": "DELETE FROM change",
    "a digest altered": "UPDATE change SET digest = x'00' WHERE seq = 1",
    "a subject altered": "UPDATE change SET subject = 'b' WHERE seq = 1",
    "a change of its own": "INSERT INTO change SELECT 4, 'a', digest, mac FROM change WHERE seq = 1",
    "a number for bytes": "UPDATE change SET mac = 1000000000000 WHERE seq = 3",
}


@pytest.mark.parametrize("statement", TAMPERED.values(), ids=TAMPERED.keys())
@pytest.mark.parametrize("running", [True, False], ids=["while open", "while closed"])
def test_whatever_storage_does_is_refused(house: House, statement: str, running: bool) -> None:
    store = house.open()
    for name, value in (("a", "0"), ("a", "1"), ("b", "2")):
        put(store, name, value)
    if not running:
        store.close()
    with closing(sqlite3.connect(house.path)) as db, db:
        db.execute(statement)
    store = store if running else house.open()
    with pytest.raises(StoreAltered, match="altered"):
        look_at_everything(store)


@pytest.mark.parametrize("running", [True, False], ids=["while open", "while closed"])
def test_an_older_copy_of_the_file_is_refused(house: House, running: bool) -> None:
    store = house.open()
    put(store, "a", "1")
    old = house.copy("old.db")
    put(store, "a", "2")
    if not running:
        store.close()
    _replace(house.path, old)
    with pytest.raises(StoreAltered, match=r"older copy|is gone"):
        (store if running else house.open()).newest("a")


@pytest.mark.parametrize("running", [True, False], ids=["while open", "while closed"])
def test_a_file_taken_away_is_refused(house: House, running: bool) -> None:
    store = house.open()
    put(store, "a", "1")
    if not running:
        store.close()
    for file in house.path.parent.glob("things.db*"):
        file.unlink()
    with pytest.raises(Unavailable):
        (store if running else house.open()).newest("a")


def test_a_fork_of_the_same_length_is_refused(house: House) -> None:
    store = house.open()
    put(store, "a", "1")
    old = house.copy("old.db")
    put(store, "a", "2")
    store.close()
    _replace(house.path, old)
    unheard = VouchedStore(
        SqliteFile(house.path, SCHEMA), "things", ThingChange, Keys()
    )  # made by this very node, never in its log
    put(unheard, "a", "3")
    with pytest.raises(StoreAltered, match="another one than the log recorded"):
        house.open().newest("a")


def test_another_hospitals_key_vouches_for_nothing(house: House) -> None:
    put(house.open(Keys(b"other".ljust(32))), "a", "1")
    with pytest.raises(StoreAltered, match="forged"):
        house.open().newest("a")


def test_an_older_home_is_taken_over_once_and_never_again(house: House) -> None:
    with closing(sqlite3.connect(house.path)) as db, db:
        db.execute("CREATE TABLE thing (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        db.execute("CREATE TABLE change (seq INTEGER PRIMARY KEY, subject TEXT, digest BLOB, mac BLOB)")
        db.execute("PRAGMA application_id = 7")
        db.execute("PRAGMA user_version = 1")
        db.executemany("INSERT INTO thing VALUES (?, ?)", [("a", "1"), ("b", "2")])
    store = house.open()
    assert (read(store, "a"), read(store, "b")) == ("1", "2")
    assert house.log.heads[-1].changes == 2
    put(store, "a", "3")
    with closing(sqlite3.connect(house.path)) as db, db:  # as if it were an older home again, with the older row
        db.execute("DELETE FROM change")
        db.execute("UPDATE thing SET value = '1' WHERE name = 'a'")
    with pytest.raises(StoreAltered, match="chain is gone"):
        house.open().newest("a")


def test_a_log_that_was_down_is_told_later_and_asked_again(house: House) -> None:
    store = house.open()
    put(store, "a", "1")
    house.log.down = True
    put(store, "a", "2")  # the log was up when it was decided, and went down since
    assert read(house.open(), "a") == "2"
    assert len(house.log.heads) == 1
    house.log.down = False
    assert house.open().newest("a") == digest("2")
    assert [head.changes for head in house.log.heads] == [1, 2]


def test_a_store_older_than_the_log_is_found_once_the_log_answers(house: House) -> None:
    store = house.open()
    put(store, "a", "1")
    old = house.copy("old.db")
    put(store, "a", "2")
    store.close()
    _replace(house.path, old)
    house.log.down = True
    store = house.open()
    assert read(store, "a") == "1"  # only emergencies are permitted anything while the log is down
    house.log.down = False
    with pytest.raises(StoreAltered, match="older copy"):
        store.newest("a")


def test_verify_holds_the_chain_against_any_head_of_the_log(house: House) -> None:
    store = house.open()
    put(store, "a", "1")
    old = house.copy("old.db")
    put(store, "a", "2")
    hidden = house.log.heads.pop()  # storage took the newest head out of the log's index, not out of the log
    assert store.verify(hidden) == [("a", digest("1")), ("a", digest("2"))]
    store.close()
    _replace(house.path, old)
    store = house.open()
    assert store.verify() == [("a", digest("1"))]
    with pytest.raises(StoreAltered, match="older copy"):
        store.verify(hidden)


def _replace(path: Path, by: Path) -> None:
    for file in path.parent.glob(f"{path.name}-*"):
        file.unlink()
    shutil.copy(by, by.with_suffix(".new"))
    by.with_suffix(".new").replace(path)
