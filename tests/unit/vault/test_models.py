"""What the vault hands about without storage and without keys."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward.core.vocabulary import Category, RecordId, TwinId
from twinward.vault.interfaces import Place, Span
from twinward.vault.models import FINGERPRINT_BYTES, MAX_MEMBERS, Member, SealedSegment

TWIN = TwinId("twin")
HOME = "01983f2a-0000-7000-8000-0000000000"


def segment(size: int, members: bytes = b"") -> SealedSegment:
    prints = b"".join(number.to_bytes(FINGERPRINT_BYTES, "big") for number in range(size))
    return SealedSegment(f"{HOME}00", TWIN, b"c" * 16, 0, size, 1_000, (b"t" * 64,), members, prints, b"sealed")


@given(st.integers(0, MAX_MEMBERS - 1))
def test_ids_of_new_members_follow_from_their_segments(position: int) -> None:
    assert segment(MAX_MEMBERS).place(position) == (RecordId(f"{HOME}{position:02x}"), 1, 1_000)


@given(st.lists(st.tuples(st.uuids(), st.integers(1, 2**32 - 1), st.integers(0, 2**63)), min_size=1, max_size=5))
def test_members_with_a_column_of_their_own_say_what_it_says(column: list[tuple[UUID, int, int]]) -> None:
    raw = b"".join(one.bytes + version.to_bytes(4, "big") + at.to_bytes(8, "big") for one, version, at in column)
    found = [segment(len(column), raw).place(position) for position in range(len(column))]
    assert found == [(RecordId(str(one)), version, at) for one, version, at in column]


def test_a_member_has_its_own_fingerprint_and_its_segments_twin_and_category() -> None:
    inside = segment(3)
    second = Member(inside, 1, *inside.place(1))
    assert (second.twin, second.category_tag, second.fingerprint) == (TWIN, b"c" * 16, (1).to_bytes(8, "big"))


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        ((9, "b", 1), False),
        ((10, "b", 1), True),
        ((15, "b", 1), True),
        ((15, "b", 2), False),
        ((15, "c", 1), False),
        ((19, "a", 1), False),
        ((20, "a", 1), False),
    ],
)
def test_a_span_ends_before_its_place(at: tuple[int, str, int], covered: bool) -> None:
    span = Span(10, 20, before=(15, RecordId("b"), 2))
    assert span.covers((at[0], RecordId(at[1]), at[2])) is covered


def test_a_span_without_a_place_ends_before_its_last_moment() -> None:
    assert [Span(10, 20).covers((at, RecordId("r"), 1)) for at in (9, 10, 19, 20)] == [False, True, True, False]


def test_a_permit_for_a_place_covers_its_category_and_nothing_where_nothing_opens() -> None:
    assert Place(TWIN, RecordId("r"), 1, Category.LABS).categories == {Category.LABS}
    assert Place(TWIN, RecordId("r"), 1, None).categories == frozenset()
