"""What is inside an envelope, before padding: of one record, and of a segment."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from twinward.vault.errors import MalformedRecord, RecordDamaged
from twinward.vault.interfaces import MAX_CONTENT_BYTES, MAX_REFERENCE_BYTES, MAX_REFERENCES
from twinward.vault.records.sealer import Payload
from twinward.vault.segments.payload import Inside, OpenMembers, joined, pack, unpack

names = st.text(min_size=1, max_size=40).filter(lambda text: "\x00" not in text and text.isprintable())


@given(st.integers(0, 2**63), st.lists(names, max_size=5), st.binary(max_size=200))
def test_a_payload_comes_back_as_it_was(at_ms: int, references: list[str], content: bytes) -> None:
    payload = Payload(at_ms, tuple(references), content)
    assert Payload.decode(payload.encode()) == payload


def test_a_payload_is_written_field_by_field() -> None:
    raw = Payload(258, ("ab", "c"), b"rest").encode()
    assert raw == bytes.fromhex("0000000000000102000200026162000163") + b"rest"


@pytest.mark.parametrize(
    "references",
    [
        ("",),
        ("x" * (MAX_REFERENCE_BYTES + 1),),
        ("\ud800",),
        ("x",) * (MAX_REFERENCES + 1),
    ],
    ids=["empty", "long", "surrogate", "many"],
)
def test_a_payload_beyond_a_bound_is_not_written(references: tuple[str, ...]) -> None:
    with pytest.raises(MalformedRecord):
        Payload(0, references, b"").encode()


@pytest.mark.parametrize(
    "raw",
    [b"", bytes(9), bytes(8) + b"\x00\x01", bytes(8) + b"\xff\xff", bytes(8) + b"\x00\x01\x00\x01\xff"],
    ids=["nothing", "no count", "no reference", "too many", "no text"],
)
def test_what_is_no_payload_is_damage(raw: bytes) -> None:
    with pytest.raises(RecordDamaged):
        Payload.decode(raw)


def inside(**changes: Any) -> Inside:
    given: dict[str, Any] = {
        "committed_at_ms": [5],
        "ids": [],
        "versions": [],
        "types": ["Observation", "Condition"],
        "kinds": b"\x00\x01\x00",
        "previous": [],
        "hashes": [],
        "references": ["a\x00b", "c", "d"],
        "contents": [b"1", b"2", b"3"],
    }
    return Inside(**(given | changes))


def test_a_segment_comes_back_member_by_member() -> None:
    found = list(OpenMembers(unpack(pack(inside()), 3)))
    assert [one.record_type for one in found] == ["Observation", "Condition", "Observation"]
    assert [one.references for one in found] == [("a", "b"), ("c",), ("d",)]
    assert [(one.content, one.committed_at_ms, one.previous_hash, one.hash) for one in found] == [
        (content, 5, b"", b"") for content in (b"1", b"2", b"3")
    ]


def test_the_largest_segment_is_written_and_read_and_no_larger_one() -> None:
    most = 48 * 1024 * 1024
    most = 48 * 1024 * 1024
    columns = {"kinds": bytes(2), "references": ["a", "b"]}
    whole, rest = bytes(MAX_CONTENT_BYTES), bytes(most - MAX_CONTENT_BYTES)
    beside = len(msgspec.msgpack.encode(inside(contents=[whole, rest], **columns))) - most
    largest = inside(contents=[whole, rest[beside:]], **columns)
    assert len(msgspec.msgpack.encode(largest)) == most
    assert unpack(pack(largest), 2) == largest
    with pytest.raises(MalformedRecord, match="a segment holds"):
        pack(inside(contents=[whole, rest[beside - 1 :]], **columns))
    with pytest.raises(MalformedRecord, match="a record holds"):
        pack(inside(contents=[whole + b"x"] * 3))
    above = zstandard.ZstdCompressor().compress(bytes(most + 1))
    with pytest.raises(RecordDamaged):
        unpack(above, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"committed_at_ms": [1, 2]},
        {"kinds": b"\x00"},
        {"kinds": b"\x00\x01\x02"},
        {"references": ["a"]},
        {"previous": [b"x"]},
        {"hashes": [b"x"]},
        {"versions": [1]},
        {"ids": [b"x"]},
    ],
    ids=str,
)
def test_columns_that_do_not_fit_are_damage(changes: dict[str, object]) -> None:
    packed = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(inside(**changes)))
    with pytest.raises(RecordDamaged):
        unpack(packed, 3)


@pytest.mark.parametrize("packed", [b"", b"no zstd", zstandard.ZstdCompressor().compress(b"no msgpack")])
def test_what_is_no_segment_is_damage(packed: bytes) -> None:
    with pytest.raises(RecordDamaged):
        unpack(packed, 1)


@given(st.lists(names, min_size=1, max_size=5))
def test_references_are_joined_by_what_none_of_them_holds(references: list[str]) -> None:
    assert joined(tuple(references)).split("\x00") == references


@pytest.mark.parametrize(
    "references", [(), ("",), ("a", ""), ("a\x00b",), ("x" * (MAX_REFERENCE_BYTES + 1),)], ids=repr
)
def test_references_that_could_not_be_told_apart_are_refused(references: tuple[str, ...]) -> None:
    with pytest.raises(MalformedRecord):
        joined(references)


def test_a_segment_without_records_is_not_written() -> None:
    with pytest.raises(MalformedRecord, match="holds 1 to"):
        pack(inside(contents=[]))


def test_a_segment_that_does_not_say_how_long_it_is_is_damage() -> None:
    """Its length is looked at before anything is unpacked."""
    plain = msgspec.msgpack.encode(inside())
    assert unpack(zstandard.ZstdCompressor().compress(plain), 3).contents == [b"1", b"2", b"3"]
    with pytest.raises(RecordDamaged):
        unpack(zstandard.ZstdCompressor(write_content_size=False).compress(plain), 3)
