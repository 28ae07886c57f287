"""The suite every ``RecordStore`` passes. A store's test subclasses it and gives ``reopen``."""

# ruff: noqa: S101, D102 - pytest tests that ship with the package; their names say what each holds
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from twinward.core.vocabulary import RecordId, TwinId
from twinward.vault.errors import MalformedRecord, VersionConflict
from twinward.vault.interfaces import RecordStore
from twinward.vault.models import Covering, IndexState, SealedRow
from twinward.vault.testing.samples import ANNA, BERN, LABS, NOTES, VITALS, block, row, segment, tag
from twinward.vault.testing.segment_conformance import SegmentConformance


class RecordStoreConformance(SegmentConformance):
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

    def test_a_search_block_is_stored_of_what_is_still_so_and_of_nothing_else(self, store: RecordStore) -> None:
        store.put([row("a"), row("b"), row("n", category=NOTES), row("z", twin=BERN)], [here := segment(2)])
        bare = store.index_state(ANNA, [LABS])
        assert [(name, version) for name, version, _ in bare.uncovered] == [("a", 1), ("b", 1)]
        assert (bare.covered, bare.segments, bare.blocks) == ({}, [(here.segment_id, LABS)], [])
        made = [block("one"), block(here.segment_id)]
        heads = [(RecordId("a"), 1), (RecordId("b"), 1)]
        for wrong in (
            Covering(ANNA, LABS, made, [(RecordId("a"), 2)]),
            Covering(ANNA, NOTES, made, [(RecordId("a"), 1)]),
            Covering(BERN, LABS, made, [(RecordId("a"), 1)]),
            Covering(ANNA, LABS, made, heads, ["no-such-segment"]),
            Covering(ANNA, LABS, made, heads, replaced=["no-such-block"]),
        ):
            assert not store.cover(wrong)
            assert store.index_state(ANNA, [LABS]) == bare
        assert store.cover(Covering(ANNA, LABS, made, heads, [here.segment_id]))
        assert not store.cover(Covering(ANNA, LABS, made, heads, [here.segment_id]))
        state = store.index_state(ANNA, [LABS])
        assert (state.covered, list(state.uncovered)) == ({LABS: "a 1 b 1 "}, [])
        assert sorted(state.blocks, key=lambda one: one.block_id != "one") == made
        store.put([row("a", 2), row("c")])
        state = store.index_state(ANNA, [LABS, NOTES])
        assert state.covered == {LABS: "b 1 "}
        assert [(name, version) for name, version, _ in state.uncovered] == [("a", 2), ("c", 1), ("n", 1)]
        assert store.heads_of(ANNA, LABS) == [("a", 2), ("b", 1), ("c", 1)]
        anew = Covering(ANNA, LABS, [block("two")], [(RecordId("c"), 1)], anew=True)
        assert store.cover(anew)
        state = store.index_state(ANNA, [LABS])
        assert {one.block_id for one in state.blocks} == {"two", here.segment_id}
        assert [name for name, _, _ in state.uncovered] == ["a", "b"]
        store.purge_category(ANNA, NOTES)  # a block of another category may describe a record that went with it
        assert store.index_state(ANNA, [LABS]).blocks == []
        store.purge_twin(ANNA)
        assert store.index_state(ANNA, [LABS, NOTES]) == IndexState({}, [], [], [])

    def test_the_newest_of_some_are_found_in_rows_and_in_segments(self, store: RecordStore) -> None:
        own = "0198c0de-0000-7000-8000-00000000000a"
        new, old = segment(3), segment(1, members=[(own, 1)])
        store.put([row("a"), row("a", 2), row("b")], [new, old])
        inside = [new.place(position)[0] for position in range(3)]
        store.put([row(inside[1], 2)])
        found = store.newest([RecordId(one) for one in ("b", "a", "none", own, *inside)])
        assert [(one.record_id, one.version) for one in found] == sorted(
            [("a", 2), ("b", 1), (own, 1), (inside[0], 1), (inside[1], 2), (inside[2], 1)]
        )
        assert [one.segment_id for one in store.segments([new.segment_id, "none"])] == [new.segment_id]

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
