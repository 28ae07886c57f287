"""The suite every ``RecordStore`` passes. A store's test subclasses it and gives ``reopen``."""

# ruff: noqa: S101, D102 - pytest tests that ship with the package; their names say what each holds
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from uuid import UUID

import pytest

from twinward.core.ids import uuid7
from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import MalformedRecord, VersionConflict
from twinward.vault.interfaces import RecordStore, Span
from twinward.vault.models import Compaction, Found, Member, SealedRow, SealedSegment

ANNA, BERN = TwinId("0198-anna"), TwinId("0198-bern")
LABS, VITALS, NOTES = b"L" * 16, b"V" * 16, b"N" * 16


def tag(name: str) -> bytes:
    """A blind tag of a name, as a store sees it."""
    return sha256(name.encode()).digest()[:16]


def row(
    name: str, version: int = 1, twin: TwinId = ANNA, category: bytes = LABS, tags: tuple[bytes, ...] = ()
) -> SealedRow:
    """A row that a store cannot tell from a sealed one."""
    return SealedRow(
        record_id=RecordId(name),
        version=version,
        twin=twin,
        category_tag=category,
        type_tag=b"T" * 64,
        generation=1,
        previous_hash=b"" if version == 1 else sha256(f"{name}{version - 1}".encode()).digest(),
        committed_at_ms=1_767_225_600_000 + version,
        sealed=f"sealed {name} {version}".encode() * 20,
        tags=tags,
    )


class RecordStoreConformance:
    """What ``interfaces.RecordStore`` promises, as tests."""

    @pytest.fixture
    def reopen(self) -> Callable[[], RecordStore]:
        """Opens the same storage anew each time it is called."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, reopen: Callable[[], RecordStore]) -> Iterator[RecordStore]:
        store = reopen()
        yield store
        store.close()

    def test_a_name_that_must_be_new_is_looked_for_in_the_same_step(
        self, store: RecordStore, reopen: Callable[[], RecordStore]
    ) -> None:
        store.put([row("a", tags=(tag("x"),))], absent=[tag("x"), tag("y")])
        with pytest.raises(VersionConflict):
            store.put([row("b", tags=(tag("y"),))], absent=[tag("y"), tag("x")])
        assert store.count() == 1
        store.put([row("b", tags=(tag("y"),))], absent=[tag("y")])
        other = reopen()
        begin, outcomes = threading.Barrier(2), []

        def first(on: RecordStore, number: int, of: str) -> None:
            begin.wait()
            try:
                on.put([row(f"{of}-{number}", tags=(tag(of),))], absent=[tag(of)])
                outcomes.append("stored")
            except VersionConflict:
                outcomes.append("conflict")

        for round_ in range(8):
            threads = [
                threading.Thread(target=first, args=(on, n, f"n{round_}")) for n, on in enumerate((store, other))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(store.find(tag(f"n{round_}"))) == 1
        assert sorted(outcomes) == ["conflict"] * 8 + ["stored"] * 8
        other.close()

    def test_empty(self, store: RecordStore) -> None:
        store.put([])
        assert store.latest(RecordId("none")) is None
        assert store.history(RecordId("none")) == []
        assert list(store.of_twin(ANNA)) == []
        assert store.find(tag("x")) == []
        assert store.twins() == []
        assert store.count() == 0

    def test_rows_come_back_as_they_were_put(self, store: RecordStore, reopen: Callable[[], RecordStore]) -> None:
        rows = [row("a", tags=(tag("x"), tag("y"))), row("b", twin=BERN, category=b"\x00\xff" * 8)]
        store.put(rows)
        store.close()
        again = reopen()
        assert [again.latest(each.record_id) for each in rows] == rows
        assert again.twins() == [ANNA, BERN]
        assert again.count() == 2
        again.close()

    def test_twins_are_listed_by_the_page(self, store: RecordStore) -> None:
        twins = [TwinId(f"{number:08x}-0000-7000-8000-000000000000") for number in range(7)]
        store.put([row(f"r{at}{more}", twin=twin) for at, twin in enumerate(twins[:5]) for more in range(3)])
        store.put([row("last", twin=twins[6])], [segment(2, twin=twins[5])])
        assert store.twins() == twins
        for start in ("", *twins, "g"):
            for most in (0, 1, 3, 99):
                assert store.twins(start, most) == [twin for twin in twins if twin >= start][:most]

    def test_versions_follow_each_other(self, store: RecordStore) -> None:
        versions = [row("a", version) for version in (1, 2, 3)]
        for each in versions:
            store.put([each])
            assert store.latest(RecordId("a")) == each
        assert store.history(RecordId("a")) == versions
        assert store.count() == 3

    def test_several_versions_in_one_put(self, store: RecordStore) -> None:
        store.put([row("a", 1, tags=(tag("old"),)), row("b"), row("a", 2, tags=(tag("new"),))])
        store.put([row("a", 3), row("a", 4)])
        assert [each.version for each in store.history(RecordId("a"))] == [1, 2, 3, 4]
        assert store.find(tag("old")) == []

    @pytest.mark.parametrize(
        "rejected",
        [
            [row("a", 1)],
            [row("a", 2)],
            [row("a", 4)],
            [row("b", 2)],
            [row("a", 3, twin=BERN)],
            [row("b", 1), row("b", 1)],
            [row("b", 1), row("b", 3)],
            [row("b", 1), row("b", 2, twin=BERN)],
        ],
        ids=["v1 again", "v2 again", "gap", "v2 of nothing", "another twin", "twice", "gap inside", "twins mixed"],
    )
    def test_a_version_out_of_place_conflicts_and_nothing_is_stored(
        self, store: RecordStore, rejected: list[SealedRow]
    ) -> None:
        store.put([row("a", 1, tags=(tag("one"),))])
        store.put([row("a", 2, tags=(tag("two"),))])
        for rows in ([*rejected], [row("new", tags=(tag("new"),)), *rejected], [*rejected, row("new")]):
            with pytest.raises(VersionConflict):
                store.put(rows)
        assert store.count() == 2
        assert store.latest(RecordId("new")) is None
        assert store.find(tag("new")) == []
        assert store.find(tag("two")) == [RecordId("a")]

    def test_a_twins_rows_by_category(self, store: RecordStore) -> None:
        store.put([row("a"), row("b", category=VITALS), row("c", category=NOTES), row("d", twin=BERN)])
        store.put([row("a", 2)])

        def ids(*categories: bytes) -> list[tuple[str, int]]:
            return [(each.record_id, each.version) for each in store.of_twin(ANNA, categories)]

        assert ids() == [("a", 2), ("b", 1), ("c", 1)]
        assert ids(LABS) == [("a", 2)]
        assert ids(VITALS, NOTES) == [("b", 1), ("c", 1)]
        assert ids(b"?" * 16) == []

    def test_a_record_may_change_category(self, store: RecordStore) -> None:
        store.put([row("a", category=LABS)])
        store.put([row("a", 2, category=NOTES)])
        assert list(store.of_twin(ANNA, [LABS])) == []
        assert [each.version for each in store.of_twin(ANNA, [NOTES])] == [2]

    def test_tags_find_the_newest_version_only(self, store: RecordStore) -> None:
        store.put([row("a", tags=(tag("x"), tag("old"), tag("x"))), row("b", tags=(tag("x"),))])
        store.put([row("a", 2, tags=(tag("x"), tag("new")))])
        assert store.find(tag("x")) == [RecordId("a"), RecordId("b")]
        assert store.find(tag("old")) == []
        assert store.find(tag("new")) == [RecordId("a")]

    def test_many_tags_are_found_as_one_by_one(self, store: RecordStore) -> None:
        many = [row(f"r{number:04}", twin=BERN, tags=(tag(f"t{number}"),)) for number in range(1200)]
        store.put([*many, row("a", tags=(tag("x"), tag("old"))), row("b", tags=(tag("x"),))])
        store.put([row("a", 2, tags=(tag("x"), tag("new")))])
        asked = [tag("x"), tag("old"), tag("new"), tag("none"), *(tag(f"t{number}") for number in range(1200))]
        found = store.find_many(asked)
        assert {each: one.record_id for each, one in found.items()} == {
            each: store.find(each)[-1] for each in asked if store.find(each)
        }
        assert (found[tag("x")].twin, found[tag("x")].record_id) == (ANNA, RecordId("b"))
        assert (found[tag("t7")].twin, found[tag("t7")].record_id) == (BERN, RecordId("r0007"))
        assert store.find_many([]) == {}

    def test_tags_of_another_length_are_refused(self, store: RecordStore) -> None:
        with pytest.raises(MalformedRecord):
            store.put([row("a", tags=(b"short",))])
        assert store.count() == 0

    def test_of_twin_does_not_hold_up_writers(self, store: RecordStore) -> None:
        store.put([row("a"), row("b")])
        rows = store.of_twin(ANNA)
        next(rows)
        store.put([row("c")])
        assert [each.record_id for each in rows] == ["b"]

    def test_of_many_writers_of_one_version_one_wins(
        self, store: RecordStore, reopen: Callable[[], RecordStore]
    ) -> None:
        store.put([row("a")])
        stores = [store, reopen()]
        won: list[int] = []
        lost: list[int] = []

        def write(number: int) -> None:
            try:
                stores[number % 2].put([replace(row("a", 2), sealed=b"%d" % number), row(f"extra-{number}")])
                won.append(number)
            except VersionConflict:
                lost.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stores[1].close()
        assert (len(won), len(lost)) == (1, 7)
        newest = store.latest(RecordId("a"))
        assert isinstance(newest, SealedRow)
        assert newest.sealed == b"%d" % won[0]
        assert store.count() == 3

    def test_a_purged_twin_leaves_nothing_and_others_stay(self, store: RecordStore) -> None:
        many = [row(f"r{number:04d}", tags=(tag(f"t{number}"),)) for number in range(601)]
        kept = row("kept", twin=BERN, tags=(tag("t1"),))
        store.put([*many, kept, row("r0001", 2, tags=(tag("t1"),))])
        assert store.purge_twin(ANNA) == 602
        assert store.purge_twin(ANNA) == 0
        store.forget_deleted()
        assert store.twins() == [BERN]
        assert store.count() == 1
        assert store.find(tag("t1")) == [kept.record_id]
        assert store.find(tag("t7")) == []
        assert store.history(RecordId("r0001")) == []
        store.put([row("r0001")])  # nothing is left that would be in its way

    def test_a_purged_category_takes_whole_records(self, store: RecordStore) -> None:
        moved = [row("moved"), row("moved", 2, category=VITALS, tags=(tag("x"),))]
        other = [row("other", category=VITALS, tags=(tag("x"),)), row("foreign", twin=BERN)]
        store.put([row("labs", tags=(tag("x"),)), *moved, *other])
        assert store.purge_category(ANNA, NOTES) == 0
        assert store.purge_category(ANNA, LABS) == 3
        assert [one.record_id for one in store.of_twin(ANNA)] == ["other"]
        assert store.find(tag("x")) == ["other"]
        assert store.history(RecordId("moved")) == []
        assert store.twins() == [ANNA, BERN]

    def test_a_segment_is_found_read_and_counted_like_rows(
        self, store: RecordStore, reopen: Callable[[], RecordStore]
    ) -> None:
        made = segment(3, tags=[(tag("x"), 0), (tag("y"), 2), (tag("x"), 1)])
        store.put([row("0", tags=(tag("x"),))], [made])
        store.close()
        again = reopen()
        ids = [made.place(position)[0] for position in range(3)]
        assert again.find(tag("x")) == ["0", ids[0], ids[1]]
        assert again.find_many([tag("y"), tag("z")])[tag("y")] == Found(ANNA, ids[2], 1, LABS, b"m" * 8)
        assert [(one.record_id, one.version) for one in again.of_twin(ANNA)] == [("0", 1), *((one, 1) for one in ids)]
        assert list(again.of_twin(ANNA, [NOTES])) == []
        newest = again.latest(ids[1])
        assert isinstance(newest, Member)
        assert replace(newest.segment, tags=made.tags) == made
        assert (newest.position, again.history(ids[1])) == (1, [newest])
        beyond = RecordId(f"{made.segment_id[:-2]}03")
        assert (again.latest(beyond), again.history(beyond)) == (None, [])
        assert again.latest(RecordId(ids[1].upper())) is None
        assert (again.twins(), again.count()) == ([ANNA], 4)
        again.close()

    def test_a_version_follows_a_member_of_a_segment(self, store: RecordStore) -> None:
        made = segment(2, tags=[(tag("old"), 0), (tag("x"), 1)])
        store.put([], [made])
        first, second = made.place(0)[0], made.place(1)[0]
        for rejected in (row(first, 3), row(first, 1), row(first, 2, twin=BERN), row(f"{first[:-2]}02", 2)):
            with pytest.raises(VersionConflict):
                store.put([row("extra"), rejected] if rejected.version > 1 else [row(first, 2), rejected])
        assert store.find(tag("old")) == [first]
        store.put([row(first, 2, category=NOTES, tags=(tag("new"),))])
        assert (store.find(tag("old")), store.find(tag("new"))) == ([], [first])
        assert store.find_many([tag("old")]) == {}
        assert [one.version for one in store.history(first)] == [1, 2]
        newest = store.latest(first)
        assert newest is not None
        assert newest.version == 2
        assert [(one.record_id, one.version) for one in store.of_twin(ANNA)] == [(first, 2), (second, 1)]
        assert [one.record_id for one in store.of_twin(ANNA, [LABS])] == [second]
        with pytest.raises(VersionConflict):
            store.put([row(first, 2)])
        store.put([row(first, 3), row(first, 4)])
        assert store.count() == 5

    def test_of_many_writers_after_a_member_one_wins(
        self, store: RecordStore, reopen: Callable[[], RecordStore]
    ) -> None:
        made = segment(1)
        store.put([], [made])
        record_id = made.place(0)[0]
        stores = [store, reopen()]
        outcomes: list[bool] = []

        def write(number: int) -> None:
            try:
                stores[number % 2].put([replace(row(record_id, 2), sealed=b"%d" % number)])
                outcomes.append(True)
            except VersionConflict:
                outcomes.append(False)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stores[1].close()
        assert sorted(outcomes) == [False] * 7 + [True]
        assert store.count() == 2

    def test_a_timeline_goes_back_through_rows_and_segments(self, store: RecordStore) -> None:
        """Every version once, newest first, wherever it stands; as the plain order of (moment, id, version)."""
        ids = [str(UUID(int=number << 8)) for number in (1, 2, 3)]
        store.put([row(ids[0]), row(ids[0], 2), replace(row(ids[1], twin=BERN), committed_at_ms=1_767_225_600_002)])
        home = str(UUID(int=9 << 8))
        fresh = SealedSegment(home, ANNA, LABS, 1, 2, 1_767_225_600_002, (b"T" * 64, b"U" * 64), b"", bytes(16), b"x")
        column = b"".join(
            UUID(ids[2]).bytes + version.to_bytes(4, "big") + (1_767_225_600_000 + version).to_bytes(8, "big")
            for version in (1, 2, 3)
        )
        older = SealedSegment(
            str(UUID(int=10 << 8)), BERN, VITALS, 1, 3, 1_767_225_700_000, (b"T" * 64,), column, bytes(24), b"y"
        )
        store.put([], [fresh, older])
        at = 1_767_225_600_000
        right: list[tuple[int, RecordId, int]] = sorted(
            [
                *((at + version, RecordId(ids[0]), version) for version in (1, 2)),
                (at + 2, RecordId(ids[1]), 1),
                *((at + 2, RecordId(f"{home[:-2]}{place:02x}"), 1) for place in (0, 1)),
                *((at + version, RecordId(ids[2]), version) for version in (1, 2, 3)),
            ],
            reverse=True,
        )
        whole = store.timeline(Span(0, at + 99), 99)
        assert [one.at for one in whole] == right
        assert {(one.twin, one.category_tag, one.type_tags) for one in whole} == {
            (ANNA, LABS, (b"T" * 64,)),
            (BERN, LABS, (b"T" * 64,)),
            (ANNA, LABS, (b"T" * 64, b"U" * 64)),
            (BERN, VITALS, (b"T" * 64,)),
        }
        for place in range(len(right)):
            assert [one.at for one in store.timeline(Span(0, at + 99, right[place]), 3)] == right[place + 1 : place + 4]
        assert [one.at[0] for one in store.timeline(Span(at + 2, at + 3), 99)] == [at + 2] * 5
        assert store.timeline(Span(at + 4, at + 99), 99) == []

    def test_compacting_swaps_rows_and_segments_at_once(self, store: RecordStore) -> None:
        names = [f"0198aaaa-0000-7000-8000-{number:012d}" for number in range(5)]
        store.put([row(name, tags=(tag(name), tag("all"))) for name in names])
        store.put([row(names[0], 2, tags=(tag(names[0]), tag("all")))])
        small = segment(2, tags=[(tag("s"), 0)])
        store.put([row("stays", tags=(tag("all"),)), row("foreign", twin=BERN)], [small])
        rows, segments, heads = store.compactable(ANNA)
        assert [(one.record_id, one.version) for one in rows][:3] == [(names[0], 1), (names[0], 2), (names[1], 1)]
        assert [one.segment_id for one in segments] == [small.segment_id]
        assert heads[RecordId(names[0])] == 2
        taken = [one for one in rows if one.record_id != "stays"]
        places = [(one.record_id, one.version) for one in taken] + [small.place(at)[:2] for at in range(2)]
        newest = [at for at, (name, version) in enumerate(places) if heads.get(name, version) == version]
        made = segment(
            len(places),
            members=places,
            tags=[(tag(places[at][0]), at) for at in newest] + [(tag("all"), at) for at in newest],
        )
        before = {name: [one.version for one in store.history(RecordId(name))] for name in names}
        counted = store.count()
        assert store.compact(Compaction(taken, segments, [made]))
        assert not store.compact(Compaction(taken, segments, [replace(made, segment_id=segment(1).segment_id)]))
        assert store.count() == counted
        assert store.compactable(ANNA)[0] == [one for one in rows if one.record_id == "stays"]
        assert {name: [one.version for one in store.history(RecordId(name))] for name in names} == before
        assert store.find(tag("all")) == sorted([*names, "stays", *(small.place(at)[0] for at in range(2))])
        assert store.find(tag("s")) == []
        latest = store.latest(RecordId(names[0]))
        assert latest is not None
        assert latest.version == 2
        assert [one.record_id for one in store.of_twin(ANNA)] == store.find(tag("all"))
        store.put([row(names[0], 3), row(names[1], 2)])
        assert [one.version for one in store.history(RecordId(names[0]))] == [1, 2, 3]
        assert store.find(tag(names[1])) == []
        with pytest.raises(VersionConflict):
            store.put([row(names[2], 1, twin=BERN), row(names[2], 2)])

    def test_a_record_written_meanwhile_is_not_compacted(self, store: RecordStore) -> None:
        name = "0198aaaa-0000-7000-8000-000000000001"
        store.put([row(name)])
        rows, _, _ = store.compactable(ANNA)
        made = segment(1, members=[(name, 1)])
        store.put([row(name, 2)])
        assert not store.compact(Compaction(rows, [], [made]))
        assert not store.compact(Compaction([], [segment(1)], [made]))
        assert [one.version for one in store.history(RecordId(name))] == [1, 2]
        assert store.count() == 2

    def test_purges_take_segments_along(self, store: RecordStore) -> None:
        labs, vitals = segment(3, tags=[(tag("x"), 0)]), segment(2, category=VITALS, tags=[(tag("x"), 1)])
        foreign = segment(1, twin=BERN, tags=[(tag("x"), 0)])
        store.put([], [labs, vitals, foreign])
        moved, followed = vitals.place(0)[0], labs.place(1)[0]
        store.put([row(moved, 2, category=LABS), row(followed, 2, category=NOTES, tags=(tag("new"),))])
        assert store.purge_category(ANNA, LABS) == 5
        assert store.find(tag("new")) == []
        # What a purged version had replaced does not come back as the newest.
        assert store.latest(moved) is None
        assert [one.record_id for one in store.of_twin(ANNA)] == [vitals.place(1)[0]]
        assert store.purge_twin(ANNA) == 2
        assert store.purge_twin(ANNA) == 0
        store.forget_deleted()
        assert (store.twins(), store.find(tag("x"))) == ([BERN], [foreign.place(0)[0]])
        assert store.count() == 1

    def test_a_segments_tags_have_one_length(self, store: RecordStore) -> None:
        with pytest.raises(MalformedRecord):
            store.put([row("a")], [segment(1, tags=[(b"short", 0)])])
        assert store.count() == 0


def segment(
    size: int,
    twin: TwinId = ANNA,
    category: bytes = LABS,
    tags: Sequence[tuple[bytes, int]] = (),
    members: Sequence[tuple[str, int]] = (),
) -> SealedSegment:
    """A segment of new records; with ``members`` (ids and versions) one of those."""
    column = b"".join(
        UUID(name).bytes + version.to_bytes(4, "big") + (1_767_225_600_000 + version).to_bytes(8, "big")
        for name, version in members
    )
    return SealedSegment(
        segment_id=f"{uuid7(1_767_225_600_000)[:-2]}00",
        twin=twin,
        category_tag=category,
        generation=1,
        size=size,
        committed_at_ms=1_767_225_600_000,
        type_tags=(b"T" * 64,),
        members=column,
        fingerprints=b"m" * 8 * size,
        sealed=b"sealed segment" * 20,
        tags=tags,
    )
