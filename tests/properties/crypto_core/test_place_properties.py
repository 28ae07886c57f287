"""A sealed record opens in its own place only: its patient's key, its category's, its generation, its context."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from twinward_crypto import hierarchy
from twinward_crypto.envelope import open_sealed, seal
from twinward_crypto.errors import OpenError
from twinward_crypto.record_context import RecordContext

names = st.text("abcdef0123456789-", min_size=1, max_size=8)
twin_keys = st.binary(min_size=32, max_size=32)
generations = st.integers(1, 3) | st.integers(1, 2**32 - 1)
places = st.builds(
    lambda twin, record, version, previous, category: RecordContext(
        "st-anna",
        twin,
        "Observation",
        record,
        version,
        b"" if version == 1 else previous,
        category,
        "twinward/record/1",
    ),
    names,
    names,
    st.integers(1, 4),
    st.binary(min_size=32, max_size=32),
    st.sampled_from(["labs", "vitals", "psychiatry"]),
)
SAID = str(OpenError())


def close(twin_key: bytes, place: RecordContext, generation: int) -> bytes:
    key = hierarchy.category_key(twin_key, place.category, generation)
    return seal(key, b"plaintext", place.encode(), generation=generation)


def refused(twin_key: bytes, sealed: bytes, place: RecordContext, generation: int) -> None:
    key = hierarchy.category_key(twin_key, place.category, generation)
    with pytest.raises(OpenError) as caught:
        open_sealed(key, sealed, place.encode())
    assert type(caught.value) is OpenError
    assert str(caught.value) == SAID
    assert caught.value.__cause__ is None


@given(twin_keys, twin_keys, places, places, generations, generations)
def test_a_record_opens_in_its_own_place_only(
    mine: bytes, theirs: bytes, here: RecordContext, there: RecordContext, generation: int, later: int
) -> None:
    assume(mine != theirs)
    sealed = close(mine, here, generation)
    key = hierarchy.category_key(mine, here.category, generation)
    assert open_sealed(key, sealed, here.encode()) == b"plaintext"
    refused(theirs, sealed, here, generation)  # another patient's key
    if later != generation:
        refused(mine, sealed, here, later)  # another generation's key
    if there != here:
        refused(mine, sealed, there, generation)  # another patient, record, version, predecessor or category


@given(
    twin_keys,
    places,
    generations,
    st.sampled_from(["twin", "record_id", "category", "record_type", "tenant", "schema"]),
)
def test_each_part_of_the_place_alone_closes_it(key: bytes, here: RecordContext, generation: int, part: str) -> None:
    sealed = close(key, here, generation)
    category_key = hierarchy.category_key(key, here.category, generation)  # even under the right key
    with pytest.raises(OpenError, match="wrong key, wrong context, or altered bytes"):
        open_sealed(category_key, sealed, replace(here, **{part: getattr(here, part) + "x"}).encode())


@given(twin_keys, places, places, generations)
def test_parts_of_two_envelopes_do_not_make_one(
    key: bytes, here: RecordContext, there: RecordContext, generation: int
) -> None:
    one, other = close(key, here, generation), close(key, here, generation)
    another_generation = (generation ^ 0xFFFFFFFF).to_bytes(4, "big")
    refused(key, other[:4] + another_generation + one[8:], here, generation)
    for cut in (32, 64, len(one) - 16):  # at every boundary between two fields that differ
        refused(key, one[:cut] + other[cut:], here, generation)
    if there != here:
        refused(key, close(key, there, generation), here, generation)


@given(twin_keys, places, generations, generations)
def test_the_generation_in_the_header_is_authentic(
    key: bytes, here: RecordContext, generation: int, claimed: int
) -> None:
    assume(claimed != generation)
    sealed = close(key, here, generation)
    refused(key, sealed[:4] + claimed.to_bytes(4, "big") + sealed[8:], here, generation)
