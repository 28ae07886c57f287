"""Hostile bundles: every field altered, every length wrong, compressed bombs. SEAL sees none of them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinward_crypto.errors import MalformedBundle
from twinward_crypto.homomorphic import wire
from twinward_crypto.homomorphic.parameters import plan
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.wire import Kind, decode

PLAN = plan(2, 16)
BINDING = bytes(range(32))
BUNDLE = QueryKey.generate(PLAN).encrypt_query([1, 2], binding=BINDING).bundle
DATA = BUNDLE.encode()
HEAD = 80


def parse(data: bytes) -> wire.Bundle:
    return decode(data, kind=Kind.QUERY, plan=PLAN, binding=BINDING)


def test_a_bundle_comes_back_as_it_was() -> None:
    assert parse(DATA) == BUNDLE
    assert parse(DATA).encode() == DATA


@pytest.mark.parametrize(
    ("offset", "what"),
    [
        (0, "not a homomorphic bundle"),
        (4, "version"),
        (5, "is expected here"),
        (6, "flags"),
        (8, "other parameters"),
        (12, "other parameters"),
        (39, "other parameters"),
        (40, "another schema or epoch"),
        (71, "another schema or epoch"),
        (72, "rows"),
        (76, "parts"),
        (80, "longer|SEAL|bytes after"),
        (84, "SEAL header"),
    ],
)
def test_each_field_is_checked(offset: int, what: str) -> None:
    altered = bytearray(DATA)
    altered[offset] ^= 0x40
    with pytest.raises(MalformedBundle, match=what):
        parse(bytes(altered))


@given(cut=st.integers(0, len(DATA) - 1))
@settings(max_examples=60)
def test_nothing_truncated_parses(cut: int) -> None:
    with pytest.raises(MalformedBundle):
        parse(DATA[:cut])


def test_nothing_may_follow() -> None:
    with pytest.raises(MalformedBundle, match="after the last part"):
        parse(DATA + b"\0")


@given(junk=st.binary(max_size=300))
def test_junk_is_refused_by_name(junk: bytes) -> None:
    for data in (junk, DATA[:HEAD] + junk):
        with pytest.raises(MalformedBundle):
            parse(data)


def test_an_oversized_bundle_is_refused_by_its_length_alone() -> None:
    with pytest.raises(MalformedBundle, match="bytes"):
        parse(DATA[:HEAD] + bytes(wire.MAX_BUNDLE_BYTES))


def framed(part: bytes) -> bytes:
    return DATA[:HEAD] + (struct.pack("<I", len(part)) + part) * 2


def sealed(payload: bytes, compression: int = 2, major: int = 4) -> bytes:
    return struct.pack("<HBBBBHQ", 0xA15E, 16, major, 3, compression, 0, 16 + len(payload)) + payload


def zstd(*blocks: bytes, declared: int = 1000, descriptor: int = 0xA0) -> bytes:
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + struct.pack("<I", declared) + b"".join(blocks)


def run(length: int, *, last: bool) -> bytes:
    """A run-length block: four bytes that unpack to ``length``."""
    return (int(last) | 1 << 1 | length << 3).to_bytes(3, "little") + b"\0"


@pytest.mark.parametrize(
    ("desc", "part"),
    [
        ("a thousand run-length blocks", sealed(zstd(*[run(131072, last=False)] * 1000, run(1, last=True)))),
        ("a declared size beyond the profile's", sealed(zstd(run(1, last=True), declared=1 << 30))),
        ("no declared size", sealed(zstd(run(1, last=True), descriptor=0x80))),
        ("a dictionary", sealed(zstd(run(1, last=True), descriptor=0xA1))),
        ("no last block", sealed(zstd(run(1, last=False)))),
        ("bytes after the frame", sealed(zstd(run(1, last=True)) + b"x")),
        ("two frames", sealed(zstd(run(1, last=True)) * 2)),
        ("not zstd", sealed(b"\0" * 40)),
        ("zlib", sealed(b"\0" * 40, compression=1)),
        ("another SEAL", sealed(zstd(run(1, last=True)), major=3)),
        ("a header that lies about its size", sealed(zstd(run(1, last=True))) + b"x"),
        ("shorter than a header", b"\x5e\xa1"),
    ],
)
def test_hostile_parts_never_reach_seal(desc: str, part: bytes) -> None:
    with pytest.raises(MalformedBundle):
        parse(framed(part))
