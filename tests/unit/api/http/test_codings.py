"""Packed bodies: what is packed well is read, what is not is refused, and nothing is unpacked beyond its bound."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard

from twinward.api.http.codings import CODINGS, IDENTITY, TooMuch, packer, unpacked
from twinward.api.http.guard import read_coding
from twinward.api.http.representation import codings_taken
from twinward.core.errors import BadInput

DATA = b'{"resourceType":"Patient"}' * 10_000
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.compress}
MOST = len(DATA)


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_packed_is_read_whole_in_one_part_or_several(coding: str) -> None:
    pack = PACKERS[coding]
    assert unpacked(coding, pack(DATA), MOST) == DATA
    assert unpacked(coding, pack(DATA[:7]) + pack(b"") + pack(DATA[7:]), MOST) == DATA
    assert unpacked(coding, b"", MOST) == b""


def test_a_stream_of_unknown_length_and_a_frame_to_skip_are_zstd_as_well() -> None:
    streamed = zstandard.ZstdCompressor(write_content_size=False).compress(DATA)
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert unpacked("zstd", skipped + streamed, MOST) == DATA


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_cut_or_no_such_thing_is_refused(coding: str) -> None:
    good = PACKERS[coding](DATA)
    for bad in (good[:-1], good[:9], good + b"x", good + good[:20], b"{}", bytes(100), b"x" + good):
        with pytest.raises(BadInput, match=r"said to be|ends before"):
            unpacked(coding, bad, MOST)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_given_up_at_the_bound(coding: str) -> None:
    bomb = PACKERS[coding](bytes(64 << 20))
    with pytest.raises(TooMuch):
        unpacked(coding, PACKERS[coding](DATA), MOST - 1)
    tracemalloc.start()
    with pytest.raises(TooMuch):
        unpacked(coding, bomb, 1 << 20)
    most_held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most_held < 8 << 20


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_of_empty_parts_is_given_up_early(coding: str) -> None:
    with pytest.raises(BadInput, match="1024 packed parts"):
        unpacked(coding, PACKERS[coding](b"") * 20_000, MOST)


def test_a_window_that_would_cost_memory_is_refused() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    streamed = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    with pytest.raises(BadInput, match="said to be zstd"):
        unpacked("zstd", streamed.compress(DATA) + streamed.flush(), MOST)


@pytest.mark.parametrize(
    ("said", "coding"),
    [
        ([], "identity"),
        (["identity"], "identity"),
        (["GZIP"], "gzip"),
        (["x-gzip"], "gzip"),
        (["zstd"], "zstd"),
        (["br"], None),
        (["deflate"], None),
        (["gzip, gzip"], None),
        (["gzip", "zstd"], None),
        (["identity, gzip"], None),
        (["gzip;q=1"], None),
    ],
)
def test_one_coding_is_taken_and_only_a_known_one(said: list[str], coding: str | None) -> None:
    assert read_coding(said) == coding


def test_each_piece_of_a_stream_can_be_read_before_the_next_is_there() -> None:
    readers = {"gzip": zlib.decompressobj(wbits=31), "zstd": zstandard.ZstdDecompressor().decompressobj()}
    for coding in CODINGS:
        packing = packer(coding)
        for piece in (b"one line\n", b"and another\n"):
            assert readers[coding].decompress(packing.pack(piece, last=False)) == piece
        assert readers[coding].decompress(packing.pack(b"the last\n", last=True)) == b"the last\n"
        assert readers[coding].eof


def test_a_header_is_read_in_one_walk() -> None:
    began = time.process_time()
    for number in range(20):
        assert codings_taken(f"gzip{' ' * 4000}{number}") == (IDENTITY,)
    assert time.process_time() - began < 0.2
