"""What other domains may ask of the vault, and what its stores must do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twinward.access.interfaces import Permit
from twinward.core.vocabulary import Category, RecordId, TwinId
from twinward.vault.models import (
    Compaction,
    Covering,
    Found,
    IndexState,
    Moment,
    SealedRow,
    SealedSegment,
    StoredVersion,
    Stretch,
)
from twinward.vault.search.facets import Facets, Rank, Wanted

MAX_CONTENT_BYTES = 32 * 1024 * 1024
MAX_REFERENCES = 64
MAX_REFERENCE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Record:
    """One plaintext record, as a domain hands it in or gets it back. ``content`` keeps its exact bytes.

    ``references`` are strings under which it is found again (``Patient/123``); only blind tags of them are stored.
    ``fingerprint`` is a string that a record which was found can be asked for: whether its newest version carries it.
    ``alone``, of a new record: nothing else may be found under its first reference, or nothing is stored.
    """

    twin: TwinId
    record_type: str
    category: Category
    content: bytes
    references: tuple[str, ...] = ()
    record_id: RecordId | None = None
    version: int = 0
    committed_at_ms: int = 0
    fingerprint: str | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """New records of one twin and category, column by column, to be sealed together: at most ``MAX_MEMBERS``.

    Attributes:
        types, contents, fingerprints: one each a record.
        references: of each record; at least one.
    """

    category: Category
    types: Sequence[str]
    references: Sequence[tuple[str, ...]] = field(repr=False)
    contents: Sequence[bytes] = field(repr=False)
    fingerprints: Sequence[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is kept, and what may be known of its newest version without opening it.

    Attributes:
        category: what it is about; None where the twin's key is gone, and nobody can tell.
        matches: it has the fingerprint that was asked for.
    """

    twin: TwinId
    record_id: RecordId
    version: int
    category: Category | None
    matches: bool = False

    @property
    def categories(self) -> frozenset[Category]:
        """What a permit to open it must cover: nothing where nothing opens."""
        return frozenset() if self.category is None else frozenset({self.category})


StoredAt = tuple[int, RecordId, int]
"""Where a version stands in time: committed_at_ms, then record id and version, which no two share."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, ``[since_ms, until_ms)``, and in it what was stored before something else was."""

    since_ms: int
    until_ms: int
    before: StoredAt | None = None

    def covers(self, at: StoredAt) -> bool:
        """Whether a version stored then is in it."""
        return self.since_ms <= at[0] < self.until_ms and (self.before is None or at < self.before)


@dataclass(frozen=True, slots=True)
class RecordHead:
    """What may be known of one version of a record without opening it.

    ``category`` is None where the twin's key is gone.
    """

    twin: TwinId
    record_id: RecordId
    version: int
    category: Category | None
    committed_at_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """One version as it may be known without opening it, with the types that it may be of: one, mostly.

    There are none, and no category, where the twin's key is gone.
    """

    head: RecordHead
    types: frozenset[str]

    @property
    def at(self) -> StoredAt:
        """Where it stands in time."""
        return self.head.committed_at_ms, self.head.record_id, self.head.version


class RecordStore(Protocol):
    """Durable storage of sealed rows. ``put`` is all or nothing. Backends pass one conformance suite."""

    def put(
        self, rows: Sequence[SealedRow], segments: Sequence[SealedSegment] = (), absent: Sequence[bytes] = ()
    ) -> None:
        """Store new versions atomically and durably; raise ``VersionConflict`` if one of them exists, or if a record
        is found by one of the tags that are said to be absent: looked at in the same transaction."""
        ...

    def latest(self, record_id: RecordId) -> StoredVersion | None:
        """The newest version of a record."""
        ...

    def history(self, record_id: RecordId) -> list[StoredVersion]:
        """Every version, oldest first."""
        ...

    def of_twin(self, twin: TwinId, category_tags: Sequence[bytes] = ()) -> Iterator[StoredVersion]:
        """The newest version of each of a twin's records, of the given categories or of all."""
        ...

    def stretch(self, twin: TwinId, category_tags: Sequence[bytes], after: str, most: int) -> Stretch:
        """The newest versions of a twin's records of these categories, by record id: those after one, so many."""
        ...

    def newest(self, record_ids: Collection[RecordId]) -> list[StoredVersion]:
        """The newest versions of these records, by record id; those that are not kept are left out."""
        ...

    def index_state(self, twin: TwinId, category_tags: Sequence[bytes]) -> IndexState:
        """One state of a twin's search index of these categories, and of what it is of."""
        ...

    def heads_of(self, twin: TwinId, category_tag: bytes) -> list[tuple[RecordId, int]]:
        """Every record of a twin and category that has a head, with its newest version."""
        ...

    def segments(self, segment_ids: Collection[str]) -> list[SealedSegment]:
        """These segments, without their tags; those that are not kept are left out."""
        ...

    def cover(self, step: Covering) -> bool:
        """Store search blocks in one durable step; False, and nothing is changed, where what they are of has changed
        since, or somebody else is writing: no search waits for that."""
        ...

    def timeline(self, span: Span, limit: int) -> list[Moment]:
        """The newest versions of a stretch of time, of all twins, newest first; as many as ``limit``."""
        ...

    def find(self, tag: bytes) -> list[RecordId]:
        """Records whose newest version carries a blind tag."""
        ...

    def find_many(self, tags: Sequence[bytes]) -> dict[bytes, Found]:
        """For each tag that is found, the last by id of the records whose newest version carries it."""
        ...

    def compactable(self, twin: TwinId) -> tuple[list[SealedRow], list[SealedSegment], dict[str, int]]:
        """Every version of a twin's that stands in a row, its segments, and the newest versions of its records (of
        those that have more than one place to stand)."""
        ...

    def compact(self, step: Compaction) -> bool:
        """Swap rows and segments for new segments, in one durable step; False where one of them has changed since."""
        ...

    def twins(self, start: str = "", most: int | None = None) -> list[TwinId]:
        """The twins that have a row, by id: from ``start`` on, so many at most, or all."""
        ...

    def purge_twin(self, twin: TwinId) -> int:
        """Delete every version of a twin's records with their blind tags, durably; return how many versions."""
        ...

    def purge_category(self, twin: TwinId, category_tag: bytes) -> int:
        """``purge_twin`` for the records of which any version stands under a category's tag."""
        ...

    def forget_deleted(self) -> None:
        """Put what was deleted out of reach in the files, as far as the backend can. Slow: once a batch."""
        ...

    def count(self) -> int:
        """How many rows there are, all versions."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...


class Describing(Protocol):
    """Who knows what records are searched by. ``edition`` changes whenever the same record's facets do."""

    edition: str

    def facets(self, record: Record) -> Facets:
        """What a record is searched by; nothing of one that is no match of any search."""
        ...


class Release(Protocol):
    """What a record tells of, which only its content says; and who may be shown it."""

    def needed(self, record: Record) -> frozenset[Category]:
        """Every category that leave is needed for, to be shown this record."""
        ...

    def further(self, permit: Permit, categories: Collection[Category]) -> Sequence[Permit]:
        """Permits to do the same to further categories, as far as access control gives them. Decided and logged."""
        ...


class RecordVault(Protocol):
    """The vault as other domains see it. Every method wants the permit it acts under."""

    def create_twin(self, permit: Permit) -> None:
        """Make the key of the permit's twin (action ``write``), which must be new: ``TwinExists`` otherwise."""
        ...

    def create_twins(self, permits: Sequence[Permit]) -> None:
        """``create_twin`` for many, in one durable step."""
        ...

    def expect_twins(self, twins: Sequence[TwinId]) -> None:
        """Make keys for twins about to be created, so that the events of their making can be sealed: bulk only."""
        ...

    def fetch_keys(self, twins: Collection[TwinId]) -> None:
        """Unwrap many twins' keys together, for what follows: bulk only. Opens no record."""
        ...

    def write_many(
        self,
        batch: Sequence[tuple[Permit, Sequence[Record]]],
        drafts: Sequence[tuple[Permit, Sequence[Draft]]] = (),
    ) -> list[list[Record]]:
        """``write`` for many permits, all or none in one durable step; drafts go straight into segments with them."""
        ...

    def write(self, permit: Permit, records: Sequence[Record]) -> list[Record]:
        """Seal records of the permit's twin and categories, all or none; return them with id and version."""
        ...

    def read(self, permit: Permit, record_id: RecordId, *, most_bytes: int | None = None) -> Record:
        """Open the newest version of one record. Raises ``RecordLarge`` for one sealed in more bytes."""
        ...

    def read_twin(self, permit: Permit, *, record_type: str | None = None) -> list[Record]:
        """Open every record of the permit's twin and categories."""
        ...

    def read_some(self, permit: Permit, record_ids: Collection[RecordId]) -> list[Record]:
        """Open those of these records that are of the permit's twin and categories, by record id."""
        ...

    def walk_twin(self, permit: Permit, record_type: str, after: str = "") -> Iterator[Record]:
        """Open the permit's twin's records of one type one by one, by record id: those after one."""
        ...

    def search_twin(
        self, permit: Permit, wanted: Wanted, after: Record | RecordId | None = None
    ) -> Iterator[tuple[Rank, Record]]:
        """Open the permit's twin's records that its search index finds, with their ranks, in the order of these."""
        ...

    def read_history(
        self, permit: Permit, record_id: RecordId, *, versions: Collection[int] | None = None
    ) -> list[Record]:
        """Open every version of a record, or some of them, oldest first."""
        ...

    def locate(self, reference: str) -> Place | None:
        """Where a reference such as ``Patient/123`` is kept. Opens nothing."""
        ...

    def locate_many(
        self, references: Collection[str], fingerprint: Callable[[str], str] | None = None
    ) -> dict[str, Place]:
        """``locate`` for many, in one look-up, and whether each has the fingerprint given for it. Opens nothing."""
        ...

    def locate_all(self, reference: str) -> list[tuple[TwinId, RecordId]]:
        """Every record whose newest version carries a reference. Opens nothing."""
        ...

    def twins_of(self, references: Collection[str]) -> dict[str, TwinId]:
        """The twin that keeps each reference; those that are not kept are left out. Asks for no twin's key."""
        ...

    def heads(self, reference: str) -> list[RecordHead]:
        """Every version of the record a reference is kept under, oldest first; none if it is not. Opens nothing."""
        ...

    def timeline(self, span: Span, limit: int) -> list[Change]:
        """The newest versions of a stretch of time, of all twins, newest first. Opens nothing."""
        ...

    def record_types(self, twin: TwinId) -> frozenset[str]:
        """The types of a twin's records. Opens nothing."""
        ...
