"""Bulk NDJSON: one resource a line, streamed. A bad line is named and left out; the good ones land.

Every line is checked as a single write is, before anything of it is kept: nothing is deferred. A line without an id is
known by its place in its source, and a source by the hash of all of it: what a pipe brings without an id waits for the
pipe's end.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Protocol

from twinward.core import collector
from twinward.core.errors import BadInput, TwinwardError
from twinward.core.vocabulary import Again
from twinward.fhir.bulk.inputs import NDJSON_SUFFIXES, numbered_lines, opened, read_lines, readable
from twinward.fhir.bulk.ndjson_reader import NdjsonReader
from twinward.fhir.bulk.refusals import BadLine
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.ids import Origin
from twinward.twins.errors import TwinNotFound
from twinward.twins.ingest.bulk_import import BulkImport
from twinward.twins.models import BulkRecord

_NOWHERE = Origin()

BATCH_LINES = 20_000
BATCH_BYTES = 32 * 1024 * 1024
BATCH_PATIENTS = 2_000
"""Fewer than the keys that are kept at hand (``CACHE_TWINS``): each is unwrapped once a batch, however many follow."""

AHEAD_LINES = 512
AHEAD_BYTES = 1024 * 1024
"""Lines that are read together."""

WAITING_BYTES = 256 * 1024 * 1024
"""Records that wait for their patient are kept in memory up to this much, and so are lines that wait for the end of
their pipe; further ones are refused at once."""


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
    passed: int = 0
    """Lines that hold no record: an OperationOutcome tells of the export."""


Tell = Callable[[NdjsonTally], None]
Take = Callable[[Path, bytes], None]


class _Source(Protocol):
    """Lines with their numbers, and what they are known by."""

    path: Path

    def __iter__(self) -> Iterator[tuple[int, bytes]]: ...

    def digest(self) -> str | None:
        """Of all of it; None while that is not known."""
        ...


class _File:
    """A file whose name says that it is NDJSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = lru_cache(maxsize=1)(self._digest)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return read_lines(self.path)

    def _digest(self) -> str:
        """Of the bytes on the disk, packed or not."""
        with readable(self.path), self.path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


class _Body:
    """What was sent as one body."""

    path = Path()

    def __init__(self, body: bytes, origin: Origin) -> None:
        self._body = body
        self.digest = lambda: origin.of(body).digest

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return numbered_lines(BytesIO(self._body))


class _NotYetKnown(Exception):
    """A line has no id, and the digest of its source is not known before its end."""


def import_ndjson(
    paths: Iterable[Path],
    bulk: BulkImport,
    *,
    origin: Origin = _NOWHERE,
    on_bad_line: Callable[[BadLine], None],
    on_document: Take | None = None,
    progress: Tell | None = None,
) -> NdjsonTally:
    """Take files in, batch by batch; each batch is durable before the next one is read.

    A record whose patient is not there yet waits for the end of the files: an export has a file a type, in any order.
    What cannot be read, or no further, is named as a bad line is, and the others go on.

    Args:
        paths: files named as NDJSON, and streams (``twinward.fhir.bulk.inputs``).
        bulk: where they land.
        origin: where they come from, and what becomes of what came from there before.
        on_bad_line: told of each line that is refused.
        on_document: given each stream that is one document; without it they are refused.
        progress: told after each batch.

    Raises:
        AccessDenied, Unavailable: as ``BulkImport.take``; what landed before stays, and the same import goes on.
    """
    run = _Run(bulk, origin, on_bad_line, progress)
    with collector.at_rest():  # a batch makes a million objects and no cycle
        for path in paths:
            try:
                _read(path, run, on_document)
            except InvalidResource as error:
                run.refuse(path, 0, error)
        run.end()
    return run.tally


def _read(path: Path, run: _Run, on_document: Take | None) -> None:
    if path.name.endswith(NDJSON_SUFFIXES) and path.is_file():
        run.read(_File(path))
        return
    with opened(path) as stream:
        if not stream.is_document:
            run.read(stream)
        elif on_document is None:
            raise InvalidResource(Issue("structure", "", "a line holds one resource, and this is no NDJSON"))
        else:
            run.flush()  # its patients may be among them
            on_document(path, stream.document())


def import_body(
    body: bytes,
    bulk: BulkImport,
    *,
    origin: Origin = _NOWHERE,
    on_bad_line: Callable[[BadLine], None],
    progress: Tell | None = None,
) -> NdjsonTally:
    """``import_ndjson`` for what was sent as one body."""
    run = _Run(bulk, origin, on_bad_line, progress)
    with collector.at_rest():
        run.read(_Body(body, origin))
        run.end()
    return run.tally


class _Run:
    """One import under way: the batch being gathered, and what waits for its patient."""

    def __init__(
        self, bulk: BulkImport, origin: Origin, on_bad_line: Callable[[BadLine], None], progress: Tell | None
    ) -> None:
        self.tally = NdjsonTally()
        self._bulk = bulk
        self._is_all_new = origin.again is Again.NEW
        # If all is to be new, it comes from a source that nothing came from before: its lines find each other by it.
        lasting = Origin(f"new {secrets.token_hex(16)}") if self._is_all_new else origin
        self._reader = NdjsonReader(bulk.wanted_codes, origin=lasting, clock=bulk.clock)
        self._on_bad_line = on_bad_line
        self._progress = progress
        self._batch: list[BulkRecord] = []
        self._places: list[tuple[Path, int]] = []
        self._owners: set[str] = set()
        self._bytes = 0
        self._waiting: list[tuple[Path, int, BulkRecord]] = []
        self._waiting_bytes = 0

    def read(self, source: _Source) -> None:
        """Read lines into batches. Raises ``InvalidResource`` where they cannot be read on."""
        nameless: list[tuple[int, bytes]] = []
        held_bytes = 0
        try:
            for number, line, record in self._read_ahead(source):
                self.tally.lines += 1
                if record is not None:
                    self._put(source.path, number, record, len(line))
                    continue
                try:
                    self._add(source, number, line)
                except _NotYetKnown:
                    held_bytes += len(line)
                    if held_bytes > WAITING_BYTES:
                        self.refuse(source.path, number, _too_many_nameless())
                    else:
                        nameless.append((number, line))
        except InvalidResource as error:
            for number, _ in nameless:
                self.refuse(source.path, number, error)
            raise
        for number, line in nameless:
            self._add(source, number, line)

    def _read_ahead(self, source: _Source) -> Iterator[tuple[int, bytes, BulkRecord | None]]:
        """Lines with their records where many can be had at once. What was read before a source fails is given first.

        Raises ``InvalidResource``.
        """
        failed: InvalidResource | None = None
        lines = iter(source)
        while failed is None:
            ahead: list[tuple[int, bytes]] = []
            size = 0
            try:
                for number, line in lines:
                    ahead.append((number, line))
                    size += len(line)
                    if len(ahead) >= AHEAD_LINES or size >= AHEAD_BYTES:
                        break
            except InvalidResource as error:
                failed = error
            if not ahead:
                break
            records = self._reader.read_ahead([line for _, line in ahead])
            for (number, line), record in zip(ahead, records, strict=True):
                yield number, line, record
        if failed is not None:
            raise failed

    def _add(self, source: _Source, number: int, line: bytes) -> None:
        """Read one line into the batch. Raises ``_NotYetKnown``."""

        def place() -> str:
            if self._is_all_new:
                return ""
            digest = source.digest()
            if digest is None:
                raise _NotYetKnown
            return f"{digest} line {number}"

        try:
            record = self._reader.read(line, place)
        except BadInput as error:
            self.refuse(source.path, number, error)
            return
        if record is None:
            self.tally.passed += 1
            return
        self._put(source.path, number, record, len(line))

    def _put(self, path: Path, number: int, record: BulkRecord, size: int = 0, *, wait: bool = True) -> None:
        """Gather a record of a line of ``size`` bytes; make the batch durable when it is full."""
        self._batch.append(record)
        self._places.append((path, number))
        self._owners.add(record.owner)
        self._bytes += size
        if self._is_full:
            self.flush(wait=wait)

    @property
    def _is_full(self) -> bool:
        many = len(self._batch) >= BATCH_LINES or len(self._owners) >= BATCH_PATIENTS
        return many or self._bytes >= BATCH_BYTES

    def flush(self, *, wait: bool = True) -> None:
        """Make the batch durable. With ``wait``, what lacks its patient is kept for later, as far as memory allows."""
        if not self._batch:
            return
        batch, places = self._batch, self._places
        self._batch, self._places, self._owners, self._bytes = [], [], set(), 0
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
                kind = batch[index].record_type
                self.refuse(path, number, error, f"{kind}.subject" if isinstance(error, TwinNotFound) else kind)
        if self._progress is not None:
            self._progress(self.tally)

    def end(self) -> None:
        """Take what waited, now that every patient there is has been read, and derive what all of it says."""
        self.flush()
        for path, number, record in self._waiting:
            self._put(path, number, record, wait=False)
        self._waiting = []
        self.flush(wait=False)
        self._bulk.finish()

    def refuse(self, path: Path, number: int, error: TwinwardError, place: str = "") -> None:
        """Name what is not taken."""
        self.tally.refused += 1
        self._on_bad_line(BadLine(path, number, error, place))


def _too_many_nameless() -> InvalidResource:
    issue = Issue("too-costly", "", "too many lines without an id: they wait in memory for the end of the pipe")
    return InvalidResource(issue, hint="import it as a file, or with --again new")
