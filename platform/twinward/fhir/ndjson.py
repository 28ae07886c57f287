"""Bulk NDJSON: one resource a line, streamed. A bad line is named and left out; the good ones land.

Full validation against the FHIR models is deferred: ``twin import --full`` does it, at 400 µs a resource.
"""

from __future__ import annotations

import gc
import gzip
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import NamedTuple

from twinward.errors import BadInput, TwinwardError
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.ndjson_reader import NdjsonReader
from twinward.fhir.strict_json import REQUEST_LIMITS
from twinward.fhir.validate import Depth
from twinward.twins.bulk import BulkImport
from twinward.twins.bulk_records import BulkRecord
from twinward.twins.errors import TwinNotFound

SUFFIXES = (".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz")
MAX_LINE_BYTES = REQUEST_LIMITS.size_bytes

BATCH_LINES = 20_000
BATCH_BYTES = 32 * 1024 * 1024
WAITING_BYTES = 256 * 1024 * 1024
"""Records that wait for their patient are kept in memory up to this much; further ones are refused at once."""


def find_ndjson(paths: Iterable[Path]) -> list[Path]:
    """The NDJSON files among paths, and in folders among them (not their subfolders), patients' files first."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.is_file() and one.name.endswith(SUFFIXES))
        elif path.name.endswith(SUFFIXES) and path.is_file():
            found.append(path)
    return sorted(found, key=lambda path: not path.name.startswith("Patient"))


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """A file's lines that are not blank, with their numbers from 1; unpacked if its name ends in ``.gz``.

    Memory: one line. One longer than ``MAX_LINE_BYTES`` is given as its beginning, which no decoder takes.

    Raises:
        InvalidResource: the file cannot be read, or is not gzip.
    """
    try:
        with _opened(path) as file:
            yield from _lines_of(file)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "it is not gzip, or ends too early"
        raise InvalidResource(Issue("exception", "", f"cannot read the file: {reason}")) from None


def _lines_of(file: BufferedIOBase) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
        text = line.strip(b" \t\r\n")
        if text:
            yield number, text


def _opened(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")


class BadLine(NamedTuple):
    """A line that was refused, and why. Lines count from 1."""

    path: Path
    number: int
    error: TwinwardError


@dataclass(slots=True)
class NdjsonTally:
    """What became of an import of NDJSON, so far."""

    lines: int = 0
    patients: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    new_twins: int = 0
    refused: int = 0


Tell = Callable[[NdjsonTally], None]


def import_ndjson(
    paths: Iterable[Path],
    bulk: BulkImport,
    *,
    depth: Depth = "structure",
    on_bad_line: Callable[[BadLine], None],
    progress: Tell | None = None,
) -> NdjsonTally:
    """Take files in, batch by batch; each batch is durable before the next one is read.

    A record whose patient is not there yet waits for the end of the files: an export has a file a type, in any order.

    Raises:
        InvalidResource: a file cannot be read.
        AccessDenied, Unavailable: as ``BulkImport.take``; what landed before stays, and the same import goes on.
    """
    lines = ((path, number, line) for path in paths for number, line in read_lines(path))
    return _import(lines, _Run(bulk, NdjsonReader(bulk.wanted_codes, depth=depth), on_bad_line, progress))


def import_body(
    body: bytes,
    bulk: BulkImport,
    *,
    on_bad_line: Callable[[BadLine], None],
    progress: Tell | None = None,
) -> NdjsonTally:
    """``import_ndjson`` for what was sent as one body."""
    lines = ((Path(), number, line) for number, line in _lines_of(BytesIO(body)))
    return _import(lines, _Run(bulk, NdjsonReader(bulk.wanted_codes), on_bad_line, progress))


def _import(lines: Iterable[tuple[Path, int, bytes]], run: _Run) -> NdjsonTally:
    with _no_cycles():
        for path, number, line in lines:
            run.add(path, number, line)
        run.flush()
        run.retry()
        run.finish()
    return run.tally


@contextmanager
def _no_cycles() -> Iterator[None]:
    """Leave the cycle collector out: a batch makes a million objects and no cycle, and each full collection would
    walk every module the node has loaded. What has no reference is freed as always."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Run:
    """One import under way: the batch being gathered, and what waits for its patient."""

    def __init__(
        self,
        bulk: BulkImport,
        reader: NdjsonReader,
        on_bad_line: Callable[[BadLine], None],
        progress: Tell | None,
    ) -> None:
        self.tally = NdjsonTally()
        self._bulk = bulk
        self._reader = reader
        self._on_bad_line = on_bad_line
        self._progress = progress
        self._batch: list[BulkRecord] = []
        self._places: list[tuple[Path, int]] = []
        self._bytes = 0
        self._waiting: list[tuple[Path, int, BulkRecord]] = []
        self._waiting_bytes = 0

    def add(self, path: Path, number: int, line: bytes) -> None:
        """Read one line into the batch."""
        self.tally.lines += 1
        try:
            record = self._reader.read(line)
        except BadInput as error:
            self._refuse(path, number, error)
            return
        self._batch.append(record)
        self._places.append((path, number))
        self._bytes += len(line)
        if len(self._batch) >= BATCH_LINES or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self, *, wait: bool = True) -> None:
        """Make the batch durable. With ``wait``, what lacks its patient is kept for later, as far as memory allows."""
        if not self._batch:
            return
        batch, places = self._batch, self._places
        self._batch, self._places, self._bytes = [], [], 0
        receipt = self._bulk.take(batch)
        self.tally.created += receipt.created
        self.tally.updated += receipt.updated
        self.tally.unchanged += receipt.unchanged
        self.tally.new_twins += receipt.new_twins
        self.tally.patients += receipt.patients
        for index, error in receipt.refused:
            path, number = places[index]
            if wait and isinstance(error, TwinNotFound) and self._waiting_bytes < WAITING_BYTES:
                self._waiting.append((path, number, batch[index]))
                self._waiting_bytes += len(batch[index].content)
            else:
                self._refuse(path, number, error)
        if self._progress is not None:
            self._progress(self.tally)

    def retry(self) -> None:
        """Take what waited, now that every patient there is has been read."""
        for path, number, record in self._waiting:
            self._batch.append(record)
            self._places.append((path, number))
            if len(self._batch) >= BATCH_LINES:
                self.flush(wait=False)
        self._waiting = []
        self.flush(wait=False)

    def finish(self) -> None:
        """Derive what is derived from all of it."""
        self._bulk.finish()

    def _refuse(self, path: Path, number: int, error: TwinwardError) -> None:
        self.tally.refused += 1
        self._on_bad_line(BadLine(path, number, error))
