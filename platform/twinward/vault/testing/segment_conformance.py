"""What every ``RecordStore`` does with segments: the second half of ``store_conformance``."""

# ruff: noqa: S101, D102 - pytest tests that ship with the package; their names say what each holds
from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from twinward.core.vocabulary import RecordId
from twinward.vault.errors import MalformedRecord, VersionConflict
from twinward.vault.interfaces import RecordStore, Span
from twinward.vault.models import Compaction, Found, Member, SealedSegment
from twinward.vault.testing.samples import ANNA, BERN, LABS, NOTES, VITALS, row, segment, tag


class SegmentConformance:
    """Of a store that is given by ``RecordStoreConformance``."""

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

    def test_a_twin_is_walked_a_stretch_at_a_time(self, store: RecordStore) -> None:
        """Rows, segments of new records, compacted ones and members that rows follow: in pieces as at once."""
        chance = random.Random(7)
        rows = [row(str(UUID(int=chance.getrandbits(128))), category=chance.choice([LABS, NOTES])) for _ in range(40)]
        store.put(rows, [segment(9), segment(5, category=NOTES), segment(4, category=VITALS), segment(3, twin=BERN)])
        held = rows[:12]
        store.put([replace(row(one.record_id, 2), category_tag=one.category_tag) for one in held[:6]])
        for category in (LABS, NOTES):
            taken = [one for one in store.compactable(ANNA)[0] if one.record_id in {each.record_id for each in held}]
            taken = [one for one in taken if one.category_tag == category]
            places = sorted((one.record_id, one.version) for one in taken)
            assert store.compact(Compaction(taken, [], [segment(len(places), category=category, members=places)]))
        store.put([replace(row(held[0].record_id, 3), category_tag=held[0].category_tag)])
        member = next(one for one in store.of_twin(ANNA, [LABS]) if isinstance(one, Member))
        store.put([row(member.record_id, member.version + 1)])
        for tags in ([LABS], [LABS, NOTES], [LABS, NOTES, VITALS], [b"?" * 16]):
            whole = [(one.record_id, one.version) for one in store.of_twin(ANNA, tags)]
            for most in (1, 2, 3, 7, 64):
                assert walked(store, tags, most) == whole, (tags, most)

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


def walked(store: RecordStore, category_tags: Sequence[bytes], most: int) -> list[tuple[str, int]]:
    """Records and versions of a twin, a stretch at a time; each goes further than the one before."""
    last: str | None = ""
    found: list[tuple[str, int]] = []
    while last is not None:
        stretch = store.stretch(ANNA, category_tags, last, most)
        assert len(stretch.places) <= most
        assert stretch.last is None or stretch.last > last
        found += [(one.record_id, one.version) for one in stretch.places]
        last = stretch.last
    return found
