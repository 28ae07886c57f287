"""Streams: what they hold is seen by their bytes; they are read once, and never kept."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinward.core.errors import BadInput
from twinward.fhir.bulk.inputs import STANDARD_INPUT, Stream, find_inputs, opened
from twinward.fhir.errors import InvalidResource
from twinward.fhir.json.strict_json import IMPORT_LIMITS, Limits

PATIENT = b'{"resourceType":"Patient","id":"a"}'
BUNDLE = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": json.loads(PATIENT)}]}


def stream(content: bytes, limits: Limits = IMPORT_LIMITS) -> Stream:
    return Stream(STANDARD_INPUT, io.BytesIO(content), limits)


@pytest.mark.parametrize(
    ("content", "is_document"),
    [
        (PATIENT, False),
        (PATIENT + b"\n" + PATIENT + b"\n", False),
        (b"\n\r\n" + PATIENT, False),
        (b'{"resourceType":"Patient","id":}\n' + PATIENT, False),  # one bad line of NDJSON
        (b"\xff\n" + PATIENT, False),
        (b'{"resourceType":"Patient","id":"a}\n' + PATIENT, True),  # its string is open, and so is it
        (b'{"resourceType":"Patient"}}\n' + PATIENT, False),
        (b'{"a":"{[","b":nul}\n' + PATIENT, False),
        (b'{"a":1}{\n' + PATIENT, False),
        (b"nul\n" + PATIENT, False),
        (b'{"resourceType":"Bundle","entry":[{"resource":{"id":"\xff"\n}}]}', True),
        (json.dumps(BUNDLE).encode(), True),
        (json.dumps(BUNDLE, indent=2).encode(), True),
        (json.dumps(json.loads(PATIENT), indent=1).encode(), True),
        (json.dumps({"entry": BUNDLE["entry"], "type": "collection", "resourceType": "Bundle"}).encode(), True),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_document_and_lines_are_told_apart(content: bytes, is_document: bool, pack: type[bytes]) -> None:
    found = stream(pack(content))
    assert found.is_document is is_document
    if is_document:
        assert found.document() == content
        return
    assert found.digest() is None
    assert list(found) == [
        (number, line.strip()) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()
    ]
    assert found.digest() == f"sha256:{hashlib.sha256(pack(content)).hexdigest()}"


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"", mtime=0)])
def test_nothing_is_not_an_import(content: bytes) -> None:
    with pytest.raises(InvalidResource, match="standard input is empty"):
        stream(content)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(PATIENT, mtime=0)[:-9],
        gzip.compress(PATIENT, mtime=0) + b"rest",
        b"\x1f\x8b",
        b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 40,
    ],
)
def test_what_is_not_gzip_to_its_end_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidResource, match="cannot read standard input"):
        list(stream(content))


def test_a_document_is_bounded_and_so_is_a_bomb() -> None:
    with pytest.raises(InvalidResource, match="more than 1000 bytes"):
        stream(b"{\n" + b" " * 2000, Limits(size_bytes=1000)).document()
    with pytest.raises(InvalidResource, match="more than 1000 bytes"):
        stream(gzip.compress(b"{" + bytes(30_000_000), mtime=0), Limits(size_bytes=1000)).document()


class Endless(io.RawIOBase):
    """Lines as somebody makes them, in pieces that end anywhere."""

    def __init__(self, lines: int) -> None:
        self._pieces = self._cut(lines)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return next(self._pieces, b"")

    def _cut(self, lines: int) -> Iterator[bytes]:
        yield PATIENT[:1]
        yield PATIENT[1:2]
        yield PATIENT[2:] + b"\n"
        for _ in range(lines - 1):
            yield PATIENT + b" " * 3000
            yield b"\n"


def test_lines_are_read_without_keeping_them() -> None:
    tracemalloc.start()
    try:
        found = Stream(STANDARD_INPUT, Endless(4000), IMPORT_LIMITS)  # type: ignore[arg-type]
        assert sum(line == PATIENT for _, line in found) == 4000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_what_was_given_is_sorted_by_how_it_is_read(tmp_path: Path) -> None:
    for name in ("b.json", "a.json.gz", "Observation.ndjson", "Patient.ndjson.gz", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    odd = tmp_path / "notes.txt"
    found = find_inputs([tmp_path, odd, STANDARD_INPUT])
    assert [one.name for one in found.bundles] == ["a.json.gz", "b.json"]
    assert [one.name for one in found.lines] == ["Patient.ndjson.gz", "Observation.ndjson"]
    assert found.streams == (odd, STANDARD_INPUT)
    with pytest.raises(BadInput, match="only once"):
        find_inputs([STANDARD_INPUT, STANDARD_INPUT])
    with pytest.raises(BadInput, match="does not exist"):
        find_inputs([tmp_path / "absent"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="nothing to import"):
        find_inputs([tmp_path / "empty"])


def test_an_error_of_whoever_reads_is_not_the_streams(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(PATIENT)

    def read() -> None:
        with opened(path) as found:
            for _ in found:
                raise OSError("the vault")

    with pytest.raises(OSError, match="the vault"):
        read()
