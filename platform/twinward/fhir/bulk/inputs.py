"""What an import was given: files and folders sorted by how they are read, and bytes that come once.

Files say by their name what they hold. Of standard input, pipes, devices and other files only the bytes say it. Two of
them tell gzip. The first line tells the rest: a whole JSON object that is no Bundle is the first line of NDJSON; a
Bundle, or a line on which no object ends, is one document. NDJSON is never in memory as a whole; a document is, up to
the limit of every document.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO

import msgspec

from twinward.core.errors import BadInput
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import IMPORT_LIMITS, REQUEST_LIMITS, Limits, is_left_open

STANDARD_INPUT = Path("-")
MAX_LINE_BYTES = REQUEST_LIMITS.size_bytes
_GZIP = b"\x1f\x8b"


class _Typed(msgspec.Struct):
    resourceType: str = ""  # noqa: N815 - FHIR's name


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what may happen when ``path`` is read into ``InvalidResource``."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is not gzip, or ends too early"
        raise InvalidResource(Issue("exception", "", f"cannot read {_called(path)}: {reason}")) from None


def numbered_lines(file: IO[bytes] | io.BufferedIOBase) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers from 1.

    Memory: one line. One longer than ``MAX_LINE_BYTES`` is given as its beginning, which no decoder takes.
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
        text = line.strip(b" \t\r\n")
        if text:
            yield number, text


@contextmanager
def opened(path: Path, limits: Limits = IMPORT_LIMITS) -> Iterator[Stream]:
    """A stream to be read, ``-`` for standard input. Opening a pipe waits for whoever writes into it.

    Raises:
        InvalidResource: it cannot be read, or is empty.
    """
    with readable(path):
        file = sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb")
    try:
        yield Stream(path, file, limits)
    finally:
        if path != STANDARD_INPUT:
            file.close()


class Stream:
    """One of them, read once from its beginning to its end.

    Attributes:
        path: what it was called.
        is_document: whether it is to be had as ``document``; otherwise as lines.
    """

    def __init__(self, path: Path, file: IO[bytes], limits: Limits) -> None:
        self.path = path
        self._limits = limits
        self._raw = _Hashed(file)
        self._text: io.BufferedIOBase = io.BufferedReader(self._raw)
        self._at_end = False
        with readable(path):
            if self._raw.begins_with(_GZIP):
                self._text = gzip.GzipFile(fileobj=self._text)
            self._blank, self._first = self._first_line()
        if not self._first:
            hint = "whatever should have written into it may have failed"
            raise InvalidResource(Issue("structure", "", f"{_called(path)} is empty"), hint=hint)
        self.is_document = _begins_document(self._first)

    def document(self) -> bytes:
        """All of it, unpacked. Raises ``InvalidResource`` if it is longer than the limit."""
        most = self._limits.size_bytes
        with readable(self.path):
            data = self._first + self._text.read(most + 1 - len(self._first))
        if len(data) > most:
            raise InvalidResource(Issue("too-long", "", f"more than {most} bytes"), hint="split it, or send NDJSON")
        return data

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """As ``numbered_lines``."""
        yield self._blank + 1, self._first.strip(b" \t\r\n")
        with readable(self.path):
            for number, line in numbered_lines(self._text):
                yield self._blank + 1 + number, line
        self._at_end = True

    def digest(self) -> str | None:
        """``sha256:…`` of the bytes as they came, packed or not; None before the last line was read."""
        return f"sha256:{self._raw.digest.hexdigest()}" if self._at_end else None

    def _first_line(self) -> tuple[int, bytes]:
        """How many blank lines come first, and the one after them; no bytes where there is none."""
        blank = 0
        while line := self._text.readline(self._limits.size_bytes + 1):
            if line.strip(b" \t\r\n"):
                return blank, line
            blank += 1
        return blank, b""


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._ahead = b""
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        """It is."""
        return True

    def begins_with(self, magic: bytes) -> bool:
        """Whether it does; only to be asked before anything was read."""
        while len(self._ahead) < len(magic) and (more := self._file.read(len(magic) - len(self._ahead))):
            self._ahead += more
        return self._ahead == magic

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Give what there is: a pipe is not waited for until it fills the buffer."""
        data = self._ahead or self._read1(len(buffer))
        self._ahead = b""
        buffer[: len(data)] = data
        self.digest.update(data)
        return len(data)

    def _read1(self, most: int) -> bytes:
        some: bytes = self._file.read1(most) if hasattr(self._file, "read1") else self._file.read(most)
        return some


def _begins_document(line: bytes) -> bool:
    """Whether a first line is a Bundle, or the beginning of an object that does not end on it."""
    try:
        return msgspec.json.decode(line, type=_Typed).resourceType == "Bundle"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return is_left_open(line)


def _called(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else "the file"


BUNDLE_SUFFIXES = (".json", ".json.gz")


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files to import: each path itself, or what a folder holds (not its subfolders), sorted by name.

    Raises:
        BadInput: a path that does not exist, or nothing to import at all.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.is_file() and one.name.endswith(BUNDLE_SUFFIXES))
        elif path.is_file():
            found.append(path)
        else:
            raise BadInput(f"{path} does not exist", hint="give FHIR R4 bundles (.json, .json.gz) or a folder of them")
    if not found:
        raise BadInput("nothing to import", hint="give FHIR R4 bundles (.json, .json.gz) or a folder of them")
    return found


def read_file(path: Path, limits: Limits = IMPORT_LIMITS) -> bytes:
    """A file's bytes, gunzipped if its name ends in ``.gz``; never more than ``limits.size_bytes``.

    Raises:
        InvalidResource: unreadable, not gzip, or too long (a small file may unpack to a huge one).
    """
    try:
        with path.open("rb") as file:
            packed = file.read(limits.size_bytes + 1)
    except OSError as error:
        raise InvalidResource(Issue("exception", "", f"cannot read the file: {error.strerror}")) from error
    data = _gunzip(packed, limits.size_bytes) if path.name.endswith(".gz") else packed
    if len(data) > limits.size_bytes:
        raise InvalidResource(Issue("too-long", "", f"more than {limits.size_bytes} bytes"), hint="split the file")
    return data


def _gunzip(packed: bytes, most: int) -> bytes:
    """Unpack at most ``most + 1`` bytes: a bomb is noticed, not unpacked."""
    unpacked = bytearray()
    rest = packed
    try:
        while rest and len(unpacked) <= most:
            stream = zlib.decompressobj(wbits=31)
            unpacked += stream.decompress(rest, most + 1 - len(unpacked))
            if not stream.eof and len(unpacked) <= most:
                raise InvalidResource(Issue("structure", "", "the gzip file ends too early"))
            rest = stream.unused_data  # gzip files may be concatenated
    except zlib.error:
        raise InvalidResource(Issue("structure", "", "not a gzip file")) from None
    return bytes(unpacked)


NDJSON_SUFFIXES = (".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz")


def find_ndjson(paths: Iterable[Path]) -> list[Path]:
    """The NDJSON files among paths, and in folders among them (not their subfolders), patients' files first."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.is_file() and one.name.endswith(NDJSON_SUFFIXES))
        elif path.name.endswith(NDJSON_SUFFIXES) and path.is_file():
            found.append(path)
    return sorted(found, key=lambda path: not path.name.startswith("Patient"))


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """A file's lines that are not blank, with their numbers from 1; unpacked if its name ends in ``.gz``.

    Memory: one line. One longer than ``streams.MAX_LINE_BYTES`` is given as its beginning, which no decoder takes.

    Raises:
        InvalidResource: the file cannot be read, or is not gzip.
    """
    with readable(path), _unpacked(path) as file:
        yield from numbered_lines(file)


def _unpacked(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")


_HINT = "give FHIR R4 bundles (.json), NDJSON (.ndjson), also .gz, folders of them, a pipe, or - for standard input"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Files and streams of an import.

    Attributes:
        bundles: files named as JSON, in the order given, a folder's by name.
        lines: files named as NDJSON, patients' first.
        streams: everything else, in the order given: what they hold is seen when they are read.
    """

    bundles: tuple[Path, ...]
    lines: tuple[Path, ...]
    streams: tuple[Path, ...]


def find_inputs(paths: Iterable[Path]) -> Inputs:
    """Sort what was given; nothing is opened.

    Raises:
        BadInput: a path that does not exist, a stream named twice, or nothing to import at all.
    """
    paths = list(paths)
    bundles: list[Path] = []
    streams: list[Path] = []
    for path in paths:
        if path != STANDARD_INPUT and path.is_dir():
            bundles += sorted(one for one in path.iterdir() if _is_named(one, BUNDLE_SUFFIXES))
        elif path != STANDARD_INPUT and not path.exists():
            raise BadInput(f"{path} does not exist", hint=_HINT)
        elif _is_named(path, BUNDLE_SUFFIXES):
            bundles.append(path)
        elif not _is_named(path, NDJSON_SUFFIXES):
            streams.append(path)
    lines = find_ndjson(paths)
    if len(set(streams)) < len(streams):
        raise BadInput("a stream can be read only once", hint="name each pipe, and -, once")
    if not (bundles or lines or streams):
        raise BadInput("nothing to import", hint=_HINT)
    return Inputs(tuple(bundles), tuple(lines), tuple(streams))


def _is_named(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether it is a file whose name says what it holds; a pipe is none, whatever it is called."""
    return path.name.endswith(suffixes) and path.is_file()
