from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.vault.conftest import TENANT, House, build, observation
from twinward.core.clock import FixedClock
from twinward.core.errors import Refused
from twinward.core.ids import new_record_id, new_twin_id
from twinward.core.vocabulary import DERIVED_FROM, Action, Category, RecordId, TwinId
from twinward.vault.errors import (
    MalformedRecord,
    RecordDamaged,
    RecordNotFound,
    TwinExists,
    TwinNotFound,
    VersionConflict,
)
from twinward.vault.interfaces import Place, Record
from twinward.vault.records.sealer import Sealer
from twinward.vault.service import OPENING_ACTIONS, Vault
from twinward.vault.storage.sqlite_records import SqliteRecordStore

MARKER = b"ZEBRA-PLAINTEXT-MARKER"


def test_exact_bytes_come_back_after_a_restart(house: House) -> None:
    twin = house.twin()
    odd = b'{"valueQuantity":{"value":1.10},\r\n "text":"\xc3\xa9\x00\xff"}  \n\x80\x00\x00'
    written = house.write(observation(twin, odd, "Observation/7"), observation(twin, b""))
    house.vault.close()
    again = build(house.folder, house.clock)
    opened = [again.vault.read(again.permit(twin), record.record_id) for record in written if record.record_id]
    assert opened == written
    assert [record.content for record in opened] == [odd, b""]
    assert opened[0].references == ("Observation/7",)
    assert [record.version for record in opened] == [1, 1]
    assert opened[0].committed_at_ms == house.clock.now_ms()
    again.vault.close()


def test_no_file_holds_plaintext(house: House) -> None:
    twin = house.twin()
    for number in range(20):
        record = Record(twin, "Observation", Category.PSYCHIATRY, MARKER * 5, (f"Patient/{MARKER.decode()}{number}",))
        house.write(record)
    files = house.files()
    assert any(name.endswith("records.db-wal") for name in files)
    for name, data in files.items():
        for word in (MARKER, b"psychiatry", b"Observation", b"Patient/"):
            assert word not in data, f"{word!r} in {name}"


def test_versions_are_chained(house: House) -> None:
    twin = house.twin()
    (first,) = house.write(observation(twin, b"one", "Observation/1"))
    house.clock.advance(1000)
    (second,) = house.write(replace(first, content=b"two", references=("Observation/2",)))
    (third,) = house.write(replace(second, content=b"three", version=0))
    assert first.record_id is not None
    history = house.vault.read_history(house.permit(twin), first.record_id)
    assert history == [first, second, third]
    assert [record.version for record in history] == [1, 2, 3]
    assert house.vault.read(house.permit(twin), first.record_id) == third
    assert house.vault.locate("Observation/1") is None
    found = house.vault.locate("Observation/2")
    assert found == Place(twin, first.record_id, 3, Category.LABS)


def test_a_read_looks_once_and_opens_once(house: House) -> None:
    twin = house.twin()
    (record,) = house.write(observation(twin, b"one", "Observation/1"))
    said: list[str] = []
    reader = house.store._reader
    reader.latest(RecordId("nobody"))  # the thread's connection is there
    reader._local.db.set_trace_callback(said.append)
    place = house.vault.locate("Observation/1")
    assert place is not None
    assert house.vault.read(house.permit(twin, categories=(Category.LABS,)), place.record_id) == record
    assert [one.split()[0] for one in said] == ["SELECT", "SELECT"]


def test_a_stale_version_conflicts(house: House) -> None:
    twin = house.twin()
    (first,) = house.write(observation(twin, b"one"))
    house.write(replace(first, content=b"two"))
    with pytest.raises(VersionConflict, match="at version 2, not 1"):
        house.write(replace(first, content=b"lost update"), observation(twin, b"other"))
    assert house.store.count() == 2


def test_one_call_may_write_a_record_twice(house: House) -> None:
    twin = house.twin()
    (first,) = house.write(observation(twin, b"one"))
    changed = house.write(replace(first, content=b"two"), replace(first, content=b"three", version=0))
    assert [record.version for record in changed] == [2, 3]


def test_read_twin_gives_what_the_permit_covers(house: House) -> None:
    twin, other = house.twin(), house.twin()
    house.write(
        observation(twin, b"lab"),
        Record(twin, "Observation", Category.VITALS, b"pulse"),
        Record(twin, "Condition", Category.CONDITIONS, b"flu"),
    )
    house.write(observation(other, b"not this one"))

    def contents(*categories: Category, record_type: str | None = None) -> set[bytes]:
        permit = house.permit(twin, Action.READ, categories)
        return {record.content for record in house.vault.read_twin(permit, record_type=record_type)}

    assert contents(*Category) == {b"lab", b"pulse", b"flu"}
    assert contents(Category.LABS) == {b"lab"}
    assert contents(*Category, record_type="Observation") == {b"lab", b"pulse"}
    assert contents(Category.LABS, record_type="Condition") == set()
    assert contents() == set()
    with pytest.raises(MalformedRecord):
        contents(*Category, record_type="")


NEVER_OPEN = {
    Action.ACCOUNT,
    Action.AUDIT,
    Action.BREACH,
    Action.CONSENT,
    Action.CONTACT,
    Action.EXCHANGE,
    Action.MATCH,
    Action.NOTE,
    Action.OUTBREAK,
    Action.POLICY,
    Action.QUERY,
    Action.REVIEW,
    Action.SHRED,
    Action.SIGN_IN,
    Action.SIGN_OUT,
    Action.STUDY,
    Action.WRITE,
}


def test_every_action_was_decided_on() -> None:
    assert set(Action) == NEVER_OPEN | OPENING_ACTIONS


@pytest.mark.parametrize("action", sorted(NEVER_OPEN))
def test_a_permit_for_another_action_opens_nothing(house: House, action: Action) -> None:
    twin = house.twin()
    (record,) = house.write(observation(twin))
    assert record.record_id is not None
    permit = house.permit(twin, action)
    for attempt in (
        lambda: house.vault.read(permit, record.record_id),
        lambda: house.vault.read_history(permit, record.record_id),
        lambda: house.vault.read_twin(permit),
    ):
        with pytest.raises(Refused):
            attempt()


def test_a_permit_opens_its_own_twin_and_categories_only(house: House) -> None:
    twin, other = house.twin(), house.twin()
    (record,) = house.write(observation(twin))
    assert record.record_id is not None
    with pytest.raises(RecordNotFound):
        house.vault.read(house.permit(other), record.record_id)
    with pytest.raises(RecordNotFound):
        house.vault.read_history(house.permit(other), record.record_id)
    with pytest.raises(Refused):
        house.vault.read(house.permit(twin, Action.READ, (Category.VITALS,)), record.record_id)
    with pytest.raises(Refused):
        house.vault.read_history(house.permit(twin, Action.READ, (Category.VITALS,)), record.record_id)
    with pytest.raises(Refused):
        house.vault.read(house.permit(None), record.record_id)


def test_forged_widened_and_expired_permits_open_nothing(house: House) -> None:
    twin = house.twin()
    (record,) = house.write(observation(twin))
    assert record.record_id is not None
    narrow = house.permit(twin, Action.READ, (Category.VITALS,))
    wide = house.permit(twin)
    expired = house.permit(twin)
    for permit in (
        replace(wide, capability=bytes(32)),
        replace(narrow, request=wide.request),
        replace(wide, expires_at_ms=wide.expires_at_ms + 1),
    ):
        with pytest.raises(Refused):
            house.vault.read(permit, record.record_id)
        with pytest.raises(Refused):
            house.vault.read_twin(permit)
    house.clock.advance(3_600_000)
    with pytest.raises(Refused):
        house.vault.read(expired, record.record_id)


def test_writing_needs_a_permit_for_every_record(house: House) -> None:
    twin, other = house.twin(), house.twin()
    labs = observation(twin)
    for permit, records in (
        (house.permit(twin, Action.READ), [labs]),
        (house.permit(twin, Action.WRITE, (Category.VITALS,)), [labs]),
        (house.permit(twin, Action.WRITE, (Category.LABS,)), [labs, replace(labs, category=Category.NOTES)]),
        (house.permit(twin, Action.WRITE), [labs, observation(other)]),
        (house.permit(None, Action.WRITE), [labs]),
        (house.permit(twin, Action.READ), []),
    ):
        with pytest.raises(Refused):
            house.vault.write(permit, records)
    assert house.store.count() == 0
    assert house.vault.write(house.permit(twin, Action.WRITE), []) == []


def test_a_record_leaves_a_category_only_with_leave_to_write_there(house: House) -> None:
    twin = house.twin()
    (record,) = house.write(Record(twin, "Observation", Category.PSYCHIATRY, b"private"))
    moved = replace(record, category=Category.LABS, content=b"overwritten")
    with pytest.raises(Refused):
        house.vault.write(house.permit(twin, Action.WRITE, (Category.LABS,)), [moved])
    (after,) = house.vault.write(house.permit(twin, Action.WRITE, (Category.LABS, Category.PSYCHIATRY)), [moved])
    assert after.version == 2
    assert after.record_id is not None
    with pytest.raises(Refused):
        house.vault.read_history(house.permit(twin, Action.READ, (Category.LABS,)), after.record_id)


def test_twins_and_records_that_are_not_there(house: House) -> None:
    twin, absent = house.twin(), new_twin_id(0)
    with pytest.raises(TwinExists):
        house.vault.create_twin(house.permit(twin, Action.WRITE))
    with pytest.raises(TwinNotFound):
        house.write(observation(absent))
    with pytest.raises(TwinNotFound):
        house.vault.read_twin(house.permit(absent))
    with pytest.raises(RecordNotFound):
        house.vault.read(house.permit(twin), new_record_id(0))
    with pytest.raises(RecordNotFound):
        house.write(replace(observation(twin), record_id=new_record_id(0)))
    assert house.vault.locate("Patient/nobody") is None
    assert house.vault.locate("Patient/\ud800") is None
    with pytest.raises(MalformedRecord):
        house.vault.read(house.permit(twin), RecordId("\ud800"))
    with pytest.raises(MalformedRecord):
        house.keyring.keys(TwinId("\ud800"))
    with pytest.raises(Refused):
        house.vault.create_twin(house.permit(absent, Action.READ))
    with pytest.raises(Refused):
        house.vault.create_twin(house.permit(None, Action.WRITE))


@pytest.mark.parametrize(
    "change",
    [
        {"references": ("x" * 2000,)},
        {"references": ("",)},
        {"references": ("\ud800",)},
        {"references": ("r",) * 65},
        {"record_type": ""},
        {"record_type": "x" * 48},
        {"content": bytes(32 * 1024 * 1024 + 1)},
    ],
    ids=["long reference", "empty reference", "surrogate", "many references", "no type", "long type", "large"],
)
def test_malformed_records_are_refused_and_nothing_is_stored(house: House, change: dict[str, object]) -> None:
    twin = house.twin()
    with pytest.raises(MalformedRecord):
        house.write(observation(twin, b"fine"), replace(observation(twin), **change))  # type: ignore[arg-type]
    assert house.store.count() == 0


def test_a_record_keeps_its_type(house: House) -> None:
    twin = house.twin()
    (record,) = house.write(observation(twin))
    with pytest.raises(MalformedRecord, match="another type"):
        house.write(replace(record, record_type="Condition"))


def tamper(house: House, statement: str, *values: object) -> None:
    with sqlite3.connect(house.folder / "records.db") as connection:
        connection.execute(statement, values)
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sealed_record SET sealed = CAST(substr(sealed, 1, 99) || x'0000' || substr(sealed, 102) AS BLOB)",
        "UPDATE sealed_record SET sealed = 'text where bytes belong'",
        "UPDATE sealed_record SET committed_at_ms = 'text'",
        "UPDATE sealed_record SET generation = 'text'",
        "UPDATE sealed_record SET sealed ="
        " (SELECT o.sealed FROM sealed_record o WHERE o.record_id <> sealed_record.record_id)",
        "UPDATE sealed_record SET category_tag = zeroblob(16)",
        "UPDATE sealed_record SET type_tag = zeroblob(64)",
        "UPDATE sealed_record SET previous_hash = zeroblob(32)",
        "UPDATE sealed_record SET committed_at_ms = committed_at_ms + 1",
        "UPDATE sealed_record SET generation = 2",
        "UPDATE sealed_record SET sealed = x''",
    ],
)
def test_what_storage_alters_does_not_open(house: House, statement: str) -> None:
    twin = house.twin()
    _first, second = house.write(observation(twin, b"one"), observation(twin, b"two"))
    assert second.record_id is not None
    tamper(house, f"{statement} WHERE record_id = ?", second.record_id)
    with pytest.raises(RecordDamaged):
        house.vault.read(house.permit(twin), second.record_id)


def test_rows_moved_between_twins_or_versions_do_not_open(house: House) -> None:
    twin, other = house.twin(), house.twin()
    (mine,) = house.write(observation(twin, b"mine"))
    (theirs,) = house.write(observation(other, b"theirs"))
    house.write(replace(mine, content=b"mine, later"))
    assert mine.record_id is not None
    assert theirs.record_id is not None
    tamper(house, "UPDATE sealed_record SET twin = ? WHERE record_id = ?", twin, theirs.record_id)
    tamper(house, "UPDATE record_head SET twin = ? WHERE record_id = ?", twin, theirs.record_id)
    with pytest.raises(RecordDamaged):
        house.vault.read(house.permit(twin), theirs.record_id)
    copy = "UPDATE sealed_record SET sealed = (SELECT sealed FROM sealed_record WHERE record_id = ? AND version = 1)"
    tamper(house, f"{copy} WHERE record_id = ? AND version = 2", mine.record_id, mine.record_id)
    with pytest.raises(RecordDamaged):
        house.vault.read(house.permit(twin), mine.record_id)


def test_a_version_cut_out_of_a_history_shows(house: House) -> None:
    twin = house.twin()
    (record,) = house.write(observation(twin, b"one"))
    for content in (b"two", b"three"):
        house.write(replace(record, content=content, version=0))
    assert record.record_id is not None
    tamper(house, "DELETE FROM sealed_record WHERE version = 2")
    with pytest.raises(RecordDamaged, match="broken at version 2"):
        house.vault.read_history(house.permit(twin), record.record_id)


def test_a_version_exchanged_for_another_genuine_one_shows(house: House) -> None:
    """A fork: version 1 as another copy of this node sealed it. It opens; version 2 does not follow from it."""
    twin = house.twin()
    (record,) = house.write(observation(twin, b"one"))
    house.write(replace(record, content=b"two"))
    assert record.record_id is not None
    fork = Sealer(TENANT, house.keyring.tag).seal(
        replace(record, content=b"another one"), house.keyring.keys(twin), after=None, at_ms=house.clock.now_ms()
    )
    tamper(house, "UPDATE sealed_record SET sealed = ? WHERE version = 1", fork.sealed)
    with pytest.raises(RecordDamaged, match="broken at version 2"):
        house.vault.read_history(house.permit(twin), record.record_id)


def test_another_tenant_does_not_open_the_same_rows(house: House) -> None:
    twin = house.twin()
    (record,) = house.write(observation(twin))
    assert record.record_id is not None
    elsewhere = Vault(house.store, house.keyring, house.authority, house.clock, type(TENANT)("bern"))
    with pytest.raises(RecordDamaged):
        elsewhere.read(house.permit(twin), record.record_id)


def test_sizes_fall_into_buckets(house: House) -> None:
    twin = house.twin()
    written = house.write(*(observation(twin, bytes(length)) for length in (0, 1, 100, 200)))
    sizes = {len(house.store.latest(record.record_id).sealed) for record in written}  # type: ignore[arg-type,union-attr]
    assert sizes == {256 + 80}


def test_a_store_that_fails_leaves_nothing(house: House) -> None:
    twin = house.twin()

    class Full(SqliteRecordStore):
        def put(self, rows: object, segments: object = (), absent: object = ()) -> None:
            raise VersionConflict("somebody was faster")

    house.store.close()
    failing = Full(house.folder / "records.db")
    vault = Vault(failing, house.keyring, house.authority, house.clock, TENANT)
    with pytest.raises(VersionConflict):
        vault.write(house.permit(twin, Action.WRITE), [observation(twin)])
    assert failing.count() == 0
    failing.close()


RECORDED = sorted(set(Category) - DERIVED_FROM.keys())
contents = st.lists(
    st.tuples(st.sampled_from(RECORDED), st.binary(max_size=600), st.sampled_from(["Observation", "Note", "Ω"])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents)
def test_whatever_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, contents: list) -> None:  # type: ignore[type-arg]
    house = build(Path(tmp_path_factory.mktemp("vault")), FixedClock())
    try:
        twin = house.twin()
        written = house.write(*(Record(twin, kind, category, content) for category, content, kind in contents))
        assert sorted(house.vault.read_twin(house.permit(twin)), key=lambda record: str(record.record_id)) == sorted(
            written, key=lambda record: str(record.record_id)
        )
    finally:
        house.vault.close()
