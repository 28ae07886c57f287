"""The search index against a plain look at every record, whatever was done to records, index or database meanwhile."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.vault.conftest import TENANT, House, build
from tests.integration.vault.test_segments import compactor
from twinward.core.clock import FixedClock
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.vault.errors import PermitDoesNotOpen, TwinShredded, VaultUnavailable
from twinward.vault.interfaces import Draft, Record
from twinward.vault.search import index as indexes
from twinward.vault.search.facets import Bounds, Facets, Wanted
from twinward.vault.service import Vault

LABS, VITALS = Category.LABS, Category.VITALS


class Plain:
    """Records of these tests say what they are searched by."""

    edition = "1"

    def facets(self, record: Record) -> Facets:
        said = json.loads(record.content)
        return Facets(tuple(said["words"]), tuple(("day", begin, begin + 10) for begin in said["days"]))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four, as soon as two records are in none."""
    monkeypatch.setattr(indexes, "LEAST", 2)
    monkeypatch.setattr(indexes, "MOST", 4)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[House]:
    yield (house := searched(tmp_path))
    house.vault.close()


def searched(folder: Path) -> House:
    house = build(folder, FixedClock())
    house.vault = Vault(house.store, house.keyring, house.authority, house.clock, TENANT, None, Plain)
    return house


def said(words: str, *days: int) -> bytes:
    return json.dumps({"words": list(words), "days": days}).encode()


def fill(house: House, twin: TwinId, *contents: bytes, category: Category = LABS) -> list[Record]:
    return house.write(*(Record(twin, "Observation", category, one, ("x",)) for one in contents))


def look(house: House, twin: TwinId, words: str = "", order: tuple[str, bool] | None = None) -> list[bytes]:
    wanted = Wanted("Observation", tuple(frozenset(one) for one in words.split()), (), order)
    found = [record for _, record in house.vault.search_twin(house.permit(twin), wanted)]
    return [
        one.content
        for one in found
        if all(set(group) & set(json.loads(one.content)["words"]) for group in words.split())
    ]


def db(house: House, statement: str) -> int:
    with sqlite3.connect(house.folder / "records.db") as connection:
        count = connection.execute(statement).rowcount
    connection.close()
    return count


def held(house: House) -> int:
    with sqlite3.connect(house.folder / "records.db") as connection:
        return int(connection.execute("SELECT count(*) FROM search_block").fetchone()[0])


OPERATIONS = st.one_of(
    st.tuples(st.just("row"), st.sampled_from("abc"), st.lists(st.integers(0, 5), max_size=2)),
    st.tuples(st.just("segment"), st.sampled_from("abc"), st.lists(st.integers(0, 5), max_size=2)),
    st.tuples(st.just("change"), st.sampled_from("abc"), st.lists(st.integers(0, 5), max_size=2)),
    st.tuples(st.just("move"), st.sampled_from("abc"), st.lists(st.integers(0, 5), max_size=1)),
    st.tuples(st.sampled_from(["compact", "search", "cut"]), st.just("a"), st.just([])),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(OPERATIONS, min_size=4, max_size=14), st.randoms(use_true_random=False))
def test_whatever_happened_every_match_is_found_in_order(operations: list[tuple[str, str, list[int]]], chance) -> None:  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexes, "LEAST", 2)
        patch.setattr(indexes, "MOST", 4)
        house = searched(Path(folder))
        twin = house.twin()
        for what, word, days in operations:
            _happen(house, twin, what, said(word, *days), chance)
        for order in (None, ("day", False), ("day", True)):
            records = house.vault.read_twin(house.permit(twin), record_type="Observation")
            for word in "abc":
                for after in (None, *(records if order else (one.record_id for one in records))):
                    _compare(house, twin, records, word, order, after)
        house.vault.close()


def _happen(house: House, twin: TwinId, what: str, content: bytes, chance) -> None:  # type: ignore[no-untyped-def]
    kept = house.vault.read_twin(house.permit(twin), record_type="Observation")
    if what == "row":
        fill(house, twin, content, category=chance.choice([LABS, VITALS]))
    elif what == "segment":
        draft = Draft(LABS, ["Observation"] * 5, [("x",)] * 5, [content] * 5, ["f"] * 5)
        house.vault.write_many([], [(house.permit(twin, Action.WRITE), [draft])])
    elif what in ("change", "move") and kept:
        one = chance.choice(kept)
        category = one.category if what == "change" else {LABS: VITALS, VITALS: LABS}[one.category]
        house.write(Record(twin, "Observation", category, content, ("x",), one.record_id))
    elif what == "compact":
        compactor(house).run(tidy=False)
    elif what == "search":
        look(house, twin, "a")
    elif what == "cut" and held(house):
        db(house, "DELETE FROM search_block WHERE block_id = (SELECT max(block_id) FROM search_block)")


def _compare(house, twin, records, word, order, after) -> None:  # type: ignore[no-untyped-def]
    wanted = Wanted("Observation", (frozenset(word),), (), order)

    def rank(record: Record) -> tuple[int, int, int, str]:
        return wanted.rank(str(record.record_id), [(day, day + 10) for day in json.loads(record.content)["days"]])

    expected = sorted((one for one in records if word in json.loads(one.content)["words"]), key=rank)
    if isinstance(after, Record):
        expected = [one for one in expected if rank(one) > rank(after)]
    elif after is not None:
        expected = [one for one in expected if str(one.record_id) > after]
    found = list(house.vault.search_twin(house.permit(twin), wanted, after))
    assert [one.record_id for _, one in found] == [one.record_id for one in expected]
    assert [each for each, _ in found] == [rank(one) for one in expected]


@pytest.mark.parametrize(
    "attack",
    [
        "DELETE FROM search_block",
        "UPDATE search_block SET sealed = (SELECT sealed FROM search_block ORDER BY block_id DESC LIMIT 1)",
        "UPDATE search_block SET category_tag = x'00'",
        "UPDATE record_head SET indexed = 1",
        "UPDATE record_head SET indexed = 7",
        "UPDATE record_head SET indexed = 1 - indexed",
        "DELETE FROM search_block WHERE block_id = (SELECT max(block_id) FROM search_block)",
        "UPDATE record_head SET indexed = 1 - indexed WHERE record_id = (SELECT min(record_id) FROM record_head)"
        " OR record_id = (SELECT max(record_id) FROM record_head)",
    ],
)
def test_no_match_is_missed_where_the_index_was_cut_or_its_marks_were_changed(ward: House, attack: str) -> None:
    twin = ward.twin()
    fill(ward, twin, *(said("a", day) for day in range(6)))
    assert len(look(ward, twin, "a")) == 6
    assert held(ward) == 2
    hidden = fill(ward, twin, said("a", 99))  # in no block: it is what whoever attacks wants nobody to find
    assert db(ward, attack) > 0
    assert len(look(ward, twin, "a")) == 7
    assert hidden[0].content in look(ward, twin, "a", ("day", True))
    fill(ward, twin, said("a", 100))
    assert len(look(ward, twin, "a")) == 8


def test_a_newer_version_is_not_hidden_by_a_mark_and_an_older_version_of_another_record(ward: House) -> None:
    twin = ward.twin()
    first, other = fill(ward, twin, said("b"), said("b"))
    ward.write(Record(twin, "Observation", LABS, said("b", 1), ("x",), other.record_id))
    assert look(ward, twin, "a") == []
    ward.write(Record(twin, "Observation", LABS, said("a"), ("x",), first.record_id))  # in no block, at version 2
    assert db(ward, f"UPDATE record_head SET indexed = 1 WHERE record_id = '{first.record_id}'") == 1
    assert db(ward, f"UPDATE record_head SET version = 1, indexed = 1 WHERE record_id = '{other.record_id}'") == 1
    assert look(ward, twin, "a") == [said("a")]


def test_what_goes_with_a_category_stays_in_no_block_of_another(ward: House) -> None:
    twin = ward.twin()
    moved, _ = fill(ward, twin, said("b"), said("b"))
    fill(ward, twin, said("b"), said("b"), category=VITALS)
    ward.write(Record(twin, "Observation", VITALS, said("a"), ("x",), moved.record_id))
    assert len(look(ward, twin)) == 4
    assert look(ward, twin, "a") == [said("a")]
    ward.store.purge_category(twin, ward.keyring.keys(twin).category_tag(LABS))
    assert held(ward) == 0  # the key of the other category, which stays, would open what the moved one was found by
    assert look(ward, twin) == [said("b")] * 2


def test_an_earlier_block_that_is_put_back_hides_nothing(ward: House) -> None:
    twin = ward.twin()
    first = fill(ward, twin, said("a"), said("b"))
    assert look(ward, twin, "a") == [said("a")]
    with sqlite3.connect(ward.folder / "records.db") as connection:
        connection.execute("CREATE TABLE kept AS SELECT * FROM search_block")
    ward.write(*(Record(twin, "Observation", LABS, said("c"), ("x",), one.record_id) for one in first))
    assert look(ward, twin, "c") == [said("c")] * 2
    assert db(ward, "DELETE FROM search_block") > 0
    assert db(ward, "INSERT INTO search_block SELECT * FROM kept") > 0
    assert look(ward, twin, "c") == [said("c")] * 2
    assert look(ward, twin, "a") == []


def test_only_what_is_shown_is_opened_once_the_index_knows(ward: House, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = ward.twin()
    fill(ward, twin, *(said("ab"[day % 2], day) for day in range(20)))
    look(ward, twin, "a")
    seen: list[int] = []
    right = Plain.facets
    monkeypatch.setattr(Plain, "facets", lambda self, record: seen.append(1) or right(self, record))
    assert look(ward, twin, "a", ("day", True))[:2] == [said("a", 18), said("a", 16)]
    assert seen == []
    for one in ward.vault.read_twin(ward.permit(twin), record_type="Observation")[:2]:
        ward.write(Record(twin, "Observation", LABS, said("a", 30), ("x",), one.record_id))
    look(ward, twin, "a")
    assert len(seen) == 2  # the changed ones, described anew; the others' blocks hold
    look(ward, twin, "a")
    assert len(seen) == 2


def test_bounds_leave_out_what_begins_or_ends_elsewhere(ward: House) -> None:
    twin = ward.twin()
    fill(ward, twin, *(said("a", day) for day in (0, 10, 20)), said("a"))
    for bounds, expected in (
        (Bounds("day", begins_from=10), [10, 20]),
        (Bounds("day", begins_until=10), [0, 10]),
        (Bounds("day", ends_from=30), [20]),
        (Bounds("day", ends_until=10), [0]),
        (Bounds("no"), []),
    ):
        wanted = Wanted("Observation", (), ((bounds,),), ("day", False))
        found = [one.content for _, one in ward.vault.search_twin(ward.permit(twin), wanted)]
        assert found == [said("a", day) for day in expected]


def test_another_edition_of_facets_reads_none_of_the_blocks_before(
    ward: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = ward.twin()
    fill(ward, twin, said("a"), said("b"))
    assert len(look(ward, twin, "a")) == 1
    newer = Plain()
    newer.edition = "2"
    monkeypatch.setattr(newer, "facets", lambda record: Facets(("z", *Plain.facets(newer, record).words)))
    ward.vault = Vault(ward.store, ward.keyring, ward.authority, ward.clock, TENANT, None, lambda: newer)
    wanted = Wanted("Observation", (frozenset("z"),))
    assert len(list(ward.vault.search_twin(ward.permit(twin), wanted))) == 2
    assert held(ward) == 1


def test_what_a_permit_does_not_cover_is_not_searched(ward: House) -> None:
    twin = ward.twin()
    fill(ward, twin, said("a"), said("a"))
    fill(ward, twin, said("a", 1), said("a", 1), category=VITALS)
    wanted = Wanted("Observation", (frozenset("a"),))
    found = list(ward.vault.search_twin(ward.permit(twin, categories=(VITALS,)), wanted))
    assert [one.category for _, one in found] == [VITALS, VITALS]
    with pytest.raises(PermitDoesNotOpen):
        ward.vault.search_twin(ward.permit(twin, Action.WRITE), wanted)


def test_the_index_goes_with_the_category_and_with_the_twin(ward: House) -> None:
    twin = ward.twin()
    fill(ward, twin, said("a"), said("a"))
    fill(ward, twin, said("a", 1), said("a", 1), category=VITALS)
    assert len(look(ward, twin, "a")) == 4
    assert held(ward) == 2
    tag = ward.keyring.keys(twin).category_tag(LABS)
    ward.store.purge_category(twin, tag)
    assert held(ward) == 0
    assert len(look(ward, twin, "a")) == 2
    assert held(ward) == 1
    ward.keyring.shred(twin)
    with pytest.raises(TwinShredded):
        look(ward, twin, "a")
    ward.store.purge_twin(twin)
    assert held(ward) == 0


def test_nothing_readable_stands_in_the_index(ward: House) -> None:
    twin = ward.twin()
    fill(ward, twin, *[json.dumps({"words": ["planted-secret"], "days": []}).encode()] * 4)
    look(ward, twin, "a")
    assert held(ward) == 1
    assert not any(b"planted-secret" in data for data in ward.files().values())


def test_without_an_index_a_search_says_so(house: House) -> None:
    with pytest.raises(VaultUnavailable, match="without a search index"):
        house.vault.search_twin(house.permit(house.twin()), Wanted("Observation"))
