"""What the vault stores: sealed rows, sealed segments, and what storage finds in them. Nothing here is plaintext."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twinward.core.vocabulary import RecordId, TwinId

FINGERPRINT_BYTES = 8
MAX_MEMBERS = 256
"""Records in one segment. It is also how many ids follow from a segment's own, whose last byte is zero."""

MEMBER_BYTES = 28


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
    fingerprint: bytes | None = None

    @property
    def sealed_bytes(self) -> int:
        """How much has to be unsealed to open it."""
        return len(self.sealed)


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """Versions of many records of one twin and category, sealed together. Nothing here is plaintext.

    Attributes:
        segment_id: a UUIDv7 whose last byte is zero.
        size: how many members it has, 1 to ``MAX_MEMBERS``.
        members: empty where member *i* is version 1 of the record ``segment_id + i``; otherwise 28 bytes each: record
            id 16, version 4, committed_at_ms 8.
        type_tags: of the types in it, each once.
        fingerprints: 8 bytes a member.
        tags: blind tags of members that are their records' newest versions, with their positions.
    """

    segment_id: str
    twin: TwinId
    category_tag: bytes
    generation: int
    size: int
    committed_at_ms: int
    type_tags: tuple[bytes, ...]
    members: bytes
    fingerprints: bytes
    sealed: bytes
    tags: Sequence[tuple[bytes, int]] = ()

    def place(self, position: int) -> tuple[RecordId, int, int]:
        """Record id, version and committed_at_ms of a member."""
        if not self.members:
            return RecordId(f"{self.segment_id[:-2]}{position:02x}"), 1, self.committed_at_ms
        raw = self.members[MEMBER_BYTES * position : MEMBER_BYTES * (position + 1)]
        text = raw[:16].hex()
        return (
            RecordId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"),
            int.from_bytes(raw[16:20], "big"),
            int.from_bytes(raw[20:], "big"),
        )


@dataclass(frozen=True, slots=True)
class Member:
    """One version of a record that stands in a segment."""

    segment: SealedSegment
    position: int
    record_id: RecordId
    version: int
    committed_at_ms: int

    @property
    def twin(self) -> TwinId:
        """Whose it is."""
        return self.segment.twin

    @property
    def category_tag(self) -> bytes:
        """The blind tag of its category."""
        return self.segment.category_tag

    @property
    def sealed_bytes(self) -> int:
        """How much has to be unsealed to open it: its segment."""
        return len(self.segment.sealed)

    @property
    def fingerprint(self) -> bytes:
        """Its fingerprint's 8 bytes."""
        return self.segment.fingerprints[FINGERPRINT_BYTES * self.position : FINGERPRINT_BYTES * (self.position + 1)]


StoredVersion = SealedRow | Member
"""Where one version of a record stands."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where some of a twin's records stand, by record id; the next ones follow ``last``, if there are any."""

    places: Sequence[StoredVersion]
    last: RecordId | None


@dataclass(frozen=True, slots=True)
class Found:
    """What a blind tag finds, without opening it: the record, its newest version, and its fingerprint."""

    twin: TwinId
    record_id: RecordId
    version: int
    category_tag: bytes
    fingerprint: bytes | None


@dataclass(frozen=True, slots=True)
class Moment:
    """When one version was stored, as storage sees it; ``type_tags`` are of the types that it may be of.

    ``at`` is committed_at_ms, record id and version (``interfaces.StoredAt``).
    """

    at: tuple[int, RecordId, int]
    twin: TwinId
    category_tag: bytes
    type_tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SealedBlock:
    """What some records of one twin and category are searched by, sealed (``vault.search.block``).

    ``block_id`` is the segment's whose members it has, all of them; or its own, and it is of records with heads.
    """

    block_id: str
    twin: TwinId
    category_tag: bytes
    generation: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class IndexState:
    """One state of a twin's search index, and of what it is of, in some categories.

    Attributes:
        covered: of each category with heads that are said to be in a block, these in order: id, space, version, space.
        uncovered: record id, newest version and category tag of the other heads.
        segments: id and category tag of every segment.
        blocks: all there are.
    """

    covered: Mapping[bytes, str]
    uncovered: Sequence[tuple[RecordId, int, bytes]]
    segments: Sequence[tuple[str, bytes]]
    blocks: Sequence[SealedBlock]


@dataclass(frozen=True, slots=True)
class Covering:
    """Blocks to be stored, of one twin and category.

    Attributes:
        made: the blocks.
        heads: record ids and versions that come to be covered; they must be the newest.
        segments: ids of segments that come to be covered; they must be there.
        replaced: ids of blocks that go; they must be there.
        anew: no block of heads that is there holds: all of them go, and no head is covered but ``heads``.
    """

    twin: TwinId
    category_tag: bytes
    made: Sequence[SealedBlock]
    heads: Sequence[tuple[RecordId, int]] = ()
    segments: Sequence[str] = ()
    replaced: Sequence[str] = ()
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Compaction:
    """What one step of compaction takes out and puts in, at once."""

    rows: Sequence[SealedRow]
    segments: Sequence[SealedSegment]
    made: Sequence[SealedSegment]
