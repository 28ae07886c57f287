"""What the vault stores, what its stores must do, and what other domains may ask of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from twinward.access.interfaces import Permit
from twinward.vocabulary import Category, RecordId, TwinId


@dataclass(frozen=True, slots=True)
class Record:
    """One plaintext record, as a domain hands it in or gets it back. ``content`` keeps its exact bytes.

    ``references`` are strings under which it is found again (``Patient/123``); only blind tags of them are stored.
    """

    twin: TwinId
    record_type: str
    category: Category
    content: bytes
    references: tuple[str, ...] = ()
    record_id: RecordId | None = None
    version: int = 0
    committed_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class SealedRow:
    """One row as storage sees it: opaque ids, blind tags, ciphertext. Nothing here is plaintext.

    ``category_tag`` and ``type_tag`` are blind tags within one twin; ``previous_hash`` chains versions.
    """

    record_id: RecordId
    version: int
    twin: TwinId
    category_tag: bytes
    type_tag: bytes
    generation: int
    previous_hash: bytes
    committed_at_ms: int
    sealed: bytes
    tags: tuple[bytes, ...] = ()


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


class RecordStore(Protocol):
    """Durable storage of sealed rows. ``put`` is all or nothing. Backends pass one conformance suite."""

    def put(self, rows: Sequence[SealedRow]) -> None:
        """Store new versions atomically and durably; raise ``VersionConflict`` if one of them exists."""
        ...

    def latest(self, record_id: RecordId) -> SealedRow | None:
        """The newest version of a record."""
        ...

    def history(self, record_id: RecordId) -> list[SealedRow]:
        """Every version, oldest first."""
        ...

    def of_twin(self, twin: TwinId, category_tags: Sequence[bytes] = ()) -> Iterator[SealedRow]:
        """The newest version of each of a twin's records, of the given categories or of all."""
        ...

    def find(self, tag: bytes) -> list[RecordId]:
        """Records whose newest version carries a blind tag."""
        ...

    def find_many(self, tags: Sequence[bytes]) -> dict[bytes, tuple[TwinId, RecordId]]:
        """For each tag that is found, the last by id of the records whose newest version carries it."""
        ...

    def twins(self) -> list[TwinId]:
        """Every twin that has a row."""
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

    def write_many(self, batch: Sequence[tuple[Permit, Sequence[Record]]]) -> list[list[Record]]:
        """``write`` for many permits, all or none in one durable step."""
        ...

    def write(self, permit: Permit, records: Sequence[Record]) -> list[Record]:
        """Seal records of the permit's twin and categories, all or none; return them with id and version."""
        ...

    def read(self, permit: Permit, record_id: RecordId) -> Record:
        """Open the newest version of one record."""
        ...

    def read_twin(self, permit: Permit, *, record_type: str | None = None) -> list[Record]:
        """Open every record of the permit's twin and categories."""
        ...

    def read_history(
        self, permit: Permit, record_id: RecordId, *, versions: Collection[int] | None = None
    ) -> list[Record]:
        """Open every version of a record, or some of them, oldest first."""
        ...

    def locate(self, reference: str) -> tuple[TwinId, RecordId] | None:
        """Where a reference such as ``Patient/123`` is kept. Opens nothing."""
        ...

    def locate_many(self, references: Sequence[str]) -> dict[str, tuple[TwinId, RecordId]]:
        """``locate`` for many; those that are not kept are left out. Opens nothing."""
        ...

    def locate_all(self, reference: str) -> list[tuple[TwinId, RecordId]]:
        """Every record whose newest version carries a reference. Opens nothing."""
        ...

    def heads(self, reference: str) -> list[RecordHead]:
        """Every version of the record a reference is kept under, oldest first; none if it is not. Opens nothing."""
        ...

    def record_types(self, twin: TwinId) -> frozenset[str]:
        """The types of a twin's records. Opens nothing."""
        ...
