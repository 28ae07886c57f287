"""Segments through the vault: what goes in as rows or as segments comes out alike, and only in its place."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.vault.conftest import TENANT, House, build, observation
from twinward.access.errors import PermitInvalid
from twinward.core.clock import FixedClock
from twinward.core.errors import Refused
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.vault.errors import MalformedRecord, RecordDamaged, VersionConflict
from twinward.vault.interfaces import Draft
from twinward.vault.models import MAX_MEMBERS, Member, SealedRow
from twinward.vault.segments.compaction import LARGEST_BYTES, Compactor
from twinward.vault.segments.payload import Inside, OpenMembers, pack, unpack
from twinward.vault.storage.schemas import RECORDS


def draft(names: Sequence[str], category: Category = Category.LABS, record_type: str = "Observation") -> Draft:
    return Draft(
        category,
        [record_type] * len(names),
        [(name, f"also {name}") for name in names],
        [f'{{"id":"{name}","value":1.10}}'.encode() for name in names],
        [f"{name}#1" for name in names],
    )


def put(house: House, twin: TwinId, *drafts: Draft) -> None:
    house.vault.write_many([], [(house.permit(twin, Action.WRITE), drafts)])


def compactor(house: House) -> Compactor:
    return Compactor(house.store, house.keyring, house.clock, TENANT)


def snapshot(house: House, twin: TwinId) -> list[tuple[object, ...]]:
    """Everything that may be seen of a twin: every version of every record, and where it is found."""
    permit = house.permit(twin)
    shown: list[tuple[object, ...]] = []
    for record in house.vault.read_twin(permit):
        assert record.record_id is not None
        shown += [
            (
                one.record_id,
                one.version,
                one.record_type,
                one.category,
                one.content,
                one.references,
                one.committed_at_ms,
            )
            for one in house.vault.read_history(permit, record.record_id)
        ]
        assert house.vault.read(permit, record.record_id) == record
        places = house.vault.locate_many(record.references)
        assert {name: (one.twin, one.record_id) for name, one in places.items()} == dict.fromkeys(
            record.references, (twin, record.record_id)
        )
        assert house.vault.twins_of(record.references) == dict.fromkeys(record.references, twin)
    return shown


def in_segments(house: House, twin: TwinId) -> int:
    return sum(isinstance(place, Member) for place in house.store.of_twin(twin))


def tamper(house: House, statement: str, *values: object) -> None:
    with sqlite3.connect(house.folder / "records.db") as connection:
        connection.execute(statement, values)
    connection.close()


def test_a_draft_comes_back_byte_for_byte(house: House) -> None:
    twin = house.twin()
    names = [f"Observation/{number}" for number in range(100)]
    put(house, twin, draft(names), draft(["Note/1", "Note/2"], Category.NOTES, "Note"))
    permit = house.permit(twin)
    records = house.vault.read_twin(permit, record_type="Observation")
    assert [one.content for one in records] == [f'{{"id":"{name}","value":1.10}}'.encode() for name in names]
    assert [one.references for one in records] == [(name, f"also {name}") for name in names]
    assert {(one.version, one.record_type, one.category) for one in records} == {(1, "Observation", Category.LABS)}
    assert house.vault.record_types(twin) == {"Observation", "Note"}
    located = house.vault.locate("also Observation/7")
    assert located is not None
    assert house.vault.read(permit, located.record_id) == records[7]
    assert house.vault.heads("Observation/7")[0].category is Category.LABS
    kept = house.vault.locate_many(["Observation/7", "Observation/8", "none"], lambda name: "Observation/7#1")
    assert {name: one.matches for name, one in kept.items()} == {"Observation/7": True, "Observation/8": False}
    assert b"Observation/7" not in b"".join(house.files().values())


def test_a_permit_opens_its_categories_out_of_segments_only(house: House) -> None:
    twin = house.twin()
    put(house, twin, draft(["a", "b"]), draft(["n"], Category.NOTES))
    labs = house.permit(twin, categories=(Category.LABS,))
    assert [one.references[0] for one in house.vault.read_twin(labs)] == ["a", "b"]
    note = house.vault.locate("n")
    assert note is not None
    with pytest.raises(PermitInvalid):
        house.vault.read(labs, note.record_id)
    with pytest.raises(Refused):
        house.vault.write_many([], [(house.permit(twin, Action.WRITE, (Category.NOTES,)), [draft(["c"])])])
    with pytest.raises(Refused):
        house.vault.write_many([], [(labs, [draft(["c"])])])
    assert house.vault.locate("c") is None


def test_drafts_beyond_their_bounds_are_refused_and_nothing_is_stored(house: House) -> None:
    twin = house.twin()
    good = draft(["a"])
    for bad in (
        replace(good, types=[]),
        replace(good, references=[()]),
        replace(good, references=[("",)]),
        replace(good, references=[("\ud800",)]),
        replace(good, references=[("x\x00y",)]),
        replace(good, references=[("x" * 2000,)]),
        replace(good, types=[""]),
        replace(good, contents=[bytes(33 * 1024 * 1024)]),
        draft([str(number) for number in range(MAX_MEMBERS + 1)]),
    ):
        with pytest.raises(MalformedRecord):
            put(house, twin, good, bad)
    assert house.store.count() == 0


def test_versions_are_chained_to_members(house: House) -> None:
    twin = house.twin()
    put(house, twin, draft(["a", "b"]))
    permit = house.permit(twin)
    first = house.vault.read_twin(permit)[0]
    second = house.write(replace(first, content=b"two", version=1))[0]
    house.write(replace(second, content=b"three"))
    assert first.record_id is not None
    assert [one.content for one in house.vault.read_history(permit, first.record_id)][1:] == [b"two", b"three"]
    with pytest.raises(VersionConflict):
        house.write(replace(first, content=b"late", version=1))
    other = house.vault.read_twin(permit)[1].record_id
    tamper(house, "UPDATE sealed_record SET previous_hash = ? WHERE version = 2", bytes(32))
    with pytest.raises(RecordDamaged):
        house.vault.read_history(permit, first.record_id)
    assert other is not None
    assert house.vault.read(permit, other).content.startswith(b'{"id":"b"')


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE segment SET sealed = CAST(substr(sealed, 1, 99) || x'0000' || substr(sealed, 102) AS BLOB)",
        "UPDATE segment SET segment_id = '0198aaaa-0000-7000-8000-000000000000'",
        "UPDATE segment SET twin = 'another', size = size",
        "UPDATE segment SET committed_at_ms = committed_at_ms + 1",
        "UPDATE segment SET generation = generation + 1",
        "UPDATE segment SET size = size - 1",
        "UPDATE segment SET size = 'many'",
        "UPDATE segment SET size = 100000",
        "UPDATE segment SET members = zeroblob(56)",
        "UPDATE segment SET members = 'text'",
        "UPDATE segment SET sealed = x'00'",
    ],
)
def test_a_segment_out_of_its_place_does_not_open(house: House, statement: str) -> None:
    twin = house.twin()
    put(house, twin, draft(["a", "b"]))
    tamper(house, statement)
    if "another" in statement:
        tamper(house, "UPDATE segment SET twin = ?", twin_of_another(house))
        twin = house.store.twins()[0]
    with pytest.raises(RecordDamaged):
        house.vault.read_twin(house.permit(twin))


def twin_of_another(house: House) -> TwinId:
    """Another twin whose category has the very tag that the segment stands under."""
    other = house.twin()
    tamper(house, "UPDATE segment SET category_tag = ?", house.keyring.keys(other).category_tag(Category.LABS))
    return other


def test_compaction_changes_nothing_that_can_be_seen(house: House) -> None:
    twin, other = house.twin(), house.twin()
    first = house.write(*(observation(twin, b"%d" % number, f"o/{number}") for number in range(40)))
    house.clock.advance(5)
    house.write(*(replace(one, content=one.content + b"!", version=0, fingerprint="m") for one in first[:7]))
    house.write(*(replace(one, content=b"third", version=0) for one in first[:2]))
    put(house, twin, draft([f"d/{number}" for number in range(20)]))
    house.write(*(replace(one, category=Category.NOTES, version=0) for one in first[30:32]))
    house.write(observation(other, b"alone", "alone"))
    before = snapshot(house, twin), snapshot(house, other), house.store.count()
    planned = compactor(house).run(dry_run=True)
    assert (snapshot(house, twin), in_segments(house, twin)) == (before[0], 20)
    told: list[tuple[int, int]] = []
    report = compactor(house).run(progress=lambda done, total: told.append((done, total)))
    assert (planned.twins, planned.rows, planned.merged) == (report.twins, report.rows, report.merged) == (1, 47, 1)
    assert told == [(1, 2), (2, 2)]
    assert (snapshot(house, twin), snapshot(house, other), house.store.count()) == before
    assert in_segments(house, twin) == 58  # all but the two whose category changed
    assert report.segments == 1
    assert report.bytes_after < report.bytes_before / 2
    again = compactor(house).run()
    assert (again.twins, again.rows, again.merged, again.segments) == (0, 0, 0, 0)
    house.write(replace(house.vault.read_twin(house.permit(twin))[0], content=b"after", version=0))
    assert len(snapshot(house, twin)) == len(before[0]) + 1


def test_a_twin_named_twice_is_compacted_once(house: House) -> None:
    twin = house.twin()
    house.write(*(observation(twin, b"%d" % number, f"o/{number}") for number in range(20)))
    before = snapshot(house, twin)
    report = compactor(house).run([twin, twin])
    assert (report.twins, report.rows, report.segments) == (1, 20, 1)
    assert (snapshot(house, twin), in_segments(house, twin)) == (before, 20)


def test_small_segments_are_merged(house: House) -> None:
    twin = house.twin()
    for start in range(0, 100, 20):
        put(house, twin, draft([f"d/{number}" for number in range(start, start + 20)]))
    changed = house.vault.read_twin(house.permit(twin))[5]
    house.write(replace(changed, content=b"two"))
    before = snapshot(house, twin)
    report = compactor(house).run()
    assert (report.merged, report.rows, report.segments) == (5, 1, 1)
    assert snapshot(house, twin) == before
    house.write(replace(changed, content=b"three", version=2))
    assert changed.record_id is not None
    versions = house.vault.read_history(house.permit(twin), changed.record_id)
    assert [one.content for one in versions][1:] == [b"two", b"three"]


def test_large_records_stay_in_rows(house: House) -> None:
    twin = house.twin()
    house.write(*(observation(twin, b"%d" % number, f"o/{number}") for number in range(20)))
    house.write(observation(twin, bytes(LARGEST_BYTES + 1), "large"))
    compactor(house).run()
    rows = [place for place in house.store.of_twin(twin) if isinstance(place, SealedRow)]
    assert len(rows) == 1
    assert len(house.vault.read(house.permit(twin), rows[0].record_id).content) == LARGEST_BYTES + 1


def test_marks_outlive_compaction_and_rows_from_before_them_are_known(house: House) -> None:
    twin = house.twin()
    matching = [replace(observation(twin, b"1", f"m/{number}"), fingerprint=f"m/{number}#1") for number in range(10)]
    older = [observation(twin, b"1", f"o/{number}", f"o/{number}#1") for number in range(10)]
    house.write(*matching, *older)
    tamper(house, "UPDATE sealed_record SET mark = NULL WHERE mark = x''")
    names = [f"{kind}/{number}" for kind in "mo" for number in range(10)]
    for _ in range(2):
        assert all(one.matches for one in house.vault.locate_many(names, lambda name: f"{name}#1").values())
        assert not any(one.matches for one in house.vault.locate_many(names, lambda name: f"{name}#2").values())
        compactor(house).run()
    assert in_segments(house, twin) == 20


def test_a_shredded_twin_is_passed_over(house: House) -> None:
    gone, kept = house.twin(), house.twin()
    for twin in (gone, kept):
        house.write(*(observation(twin, b"1", f"{twin}/{number}") for number in range(20)))
    house.keyring.shred(gone)
    report = compactor(house).run()
    assert (report.twins, report.rows) == (1, 20)
    assert in_segments(house, kept) == 20


def test_writers_and_readers_beside_a_compaction(house: House) -> None:
    twin = house.twin()
    records = house.write(*(observation(twin, b"0", f"o/{number}") for number in range(60)))
    errors: list[BaseException] = []
    done = threading.Event()

    def write(start: int) -> None:
        try:
            for number in range(start, 60, 4):
                for version in (1, 2):
                    while True:
                        try:
                            house.write(replace(records[number], content=b"%d" % version, version=version))
                            break
                        except VersionConflict:  # it moved into a segment just then
                            continue
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    def read() -> None:
        try:
            while not done.is_set():
                assert len(house.vault.read_twin(house.permit(twin))) == 60
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=write, args=(start,)) for start in range(4)]
    reader = threading.Thread(target=read)
    for thread in (*threads, reader):
        thread.start()
    while any(thread.is_alive() for thread in threads):
        compactor(house).run(tidy=False)
    done.set()
    reader.join()
    assert errors == []
    compactor(house).run()
    assert {one[1] for one in snapshot(house, twin)} == {1, 2, 3}
    assert house.store.count() == 180


def test_a_store_made_before_segments_is_upgraded_and_keeps_its_rows(tmp_path: Path) -> None:
    house = build(tmp_path, FixedClock())
    twin = house.twin()
    house.write(observation(twin, b"old", "o/1"))
    house.vault.close()
    with sqlite3.connect(tmp_path / "records.db") as connection:  # back to what revision 0001 laid
        connection.executescript(
            "DROP TABLE segment; DROP TABLE segment_tag; ALTER TABLE sealed_record DROP COLUMN mark;"
            "DROP TABLE search_block; DROP INDEX record_head_of_twin; ALTER TABLE record_head DROP COLUMN indexed;"
            "CREATE INDEX record_head_of_twin ON record_head (twin, category_tag);"
            "PRAGMA user_version = 1; PRAGMA journal_mode = WAL"
        )
    connection.close()
    again = build(tmp_path, FixedClock())
    assert again.vault.read_twin(again.permit(twin))[0].content == b"old"
    put(again, twin, draft([f"d/{number}" for number in range(20)]))
    assert again.store.count() == 21
    again.vault.close()
    with sqlite3.connect(tmp_path / "records.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (RECORDS.version,)
    connection.close()


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20)


@given(st.lists(st.tuples(_TEXT, _TEXT, st.binary(max_size=200)), min_size=1, max_size=20), st.data())
def test_a_segments_inside_comes_back_and_damage_is_told_so(
    parts: list[tuple[str, str, bytes]], data: st.DataObject
) -> None:
    types = list(dict.fromkeys(kind for kind, _, _ in parts))
    inside = Inside(
        committed_at_ms=[7],
        ids=[],
        versions=[],
        types=types,
        kinds=bytes(types.index(kind) for kind, _, _ in parts),
        previous=[],
        hashes=[],
        references=[name for _, name, _ in parts],
        contents=[content for _, _, content in parts],
    )
    packed = pack(inside)
    opened = OpenMembers(unpack(packed, len(parts)))
    assert [(one.record_type, one.references, one.content) for one in opened] == [
        (kind, (name,), content) for kind, name, content in parts
    ]
    with pytest.raises(RecordDamaged):
        unpack(packed, len(parts) + 1)
    with pytest.raises(RecordDamaged):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))], len(parts))
