"""Records to sealed rows and back (``twinward/record/1``). Knows keys and layouts; neither permits nor storage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from twinward.core.vocabulary import Category, RecordId, TwinId
from twinward.vault.errors import MalformedRecord, RecordDamaged
from twinward.vault.interfaces import MAX_CONTENT_BYTES, MAX_REFERENCE_BYTES, MAX_REFERENCES, Record
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.models import FINGERPRINT_BYTES, Member, SealedRow, StoredVersion
from twinward.vault.segments.payload import OpenMember, OpenMembers
from twinward.vault.segments.sealer import SegmentSealer
from twinward_crypto.envelope import generation_of, open_sealed, seal
from twinward_crypto.errors import OpenError, ParameterError
from twinward_crypto.keys import TenantId
from twinward_crypto.padding import pad, unpad
from twinward_crypto.record_context import RecordContext

SCHEMA = "twinward/record/1"
REFERENCE_INDEX = "record-reference"
FINGERPRINT_INDEX = "record-mark"
RECENT_TAGS = 65_536
Tagger = Callable[[str, str], bytes]
"""(index name, value) to a 16-byte blind tag; ``Keyring.tag``."""


class Sealer:
    """Seals and opens one tenant's records."""

    def __init__(self, tenant: TenantId, tagger: Tagger) -> None:
        self._tenant = tenant
        self._tagger = tagger
        self._recent: dict[str, bytes] = {}
        self._type_tags: dict[tuple[TwinId, str], bytes] = {}

    def seal(self, record: Record, keys: TwinKeys, *, after: tuple[int, bytes] | None, at_ms: int) -> SealedRow:
        """The row of a record that has its id: version 1, or the one after this version with this hash.

        Raises:
            MalformedRecord: a part beyond its bound.
        """
        if record.record_id is None:
            raise MalformedRecord("a record is sealed under an id")
        return self.seal_as(record.record_id, record, keys, after=after, at_ms=at_ms)

    def seal_as(
        self, record_id: RecordId, record: Record, keys: TwinKeys, *, after: tuple[int, bytes] | None, at_ms: int
    ) -> SealedRow:
        """``seal`` under this id, whatever the record says of its own."""
        version, previous_hash = (1, b"") if after is None else (after[0] + 1, after[1])
        payload = Payload(at_ms, record.references, record.content).encode()
        type_tag = self._type_tag(record.record_type, keys)
        place = (record.twin, record_id, version, previous_hash)
        aad = self._context(place, record.record_type, record.category)
        key = keys.category_key(record.category)
        return SealedRow(
            record_id=record_id,
            version=version,
            twin=record.twin,
            category_tag=keys.category_tag(record.category),
            type_tag=type_tag,
            generation=keys.generation,
            previous_hash=previous_hash,
            committed_at_ms=at_ms,
            sealed=seal(key, pad(payload), aad, generation=keys.generation),
            tags=tuple([self.reference_tag(reference) for reference in record.references]),
            fingerprint=b"" if record.fingerprint is None else self.fingerprint_of(record.fingerprint),
        )

    def open(self, row: SealedRow, keys: TwinKeys) -> Record:
        """The record of a row, with the exact bytes that were sealed.

        Raises:
            RecordDamaged: it does not open in its place.
        """
        category = keys.category_of(row.category_tag)
        try:
            record_type = keys.type_of(row.type_tag)
            if generation_of(row.sealed) != row.generation:
                raise OpenError
            place = (row.twin, row.record_id, row.version, row.previous_hash)
            aad = self._context(place, record_type, category)
            payload = Payload.decode(unpad(open_sealed(keys.category_key(category), row.sealed, aad)))
        except (OpenError, ParameterError):
            raise _damaged(row.record_id, row.version) from None
        if payload.committed_at_ms != row.committed_at_ms:
            raise _damaged(row.record_id, row.version)
        return Record(
            twin=row.twin,
            record_type=record_type,
            category=category,
            content=payload.content,
            references=payload.references,
            record_id=row.record_id,
            version=row.version,
            committed_at_ms=payload.committed_at_ms,
        )

    def reference_tag(self, reference: str) -> bytes:
        """The blind tag under which a reference is found again."""
        tag = self._recent.get(reference)
        if tag is None:  # importing asks for a tag twice: is it kept, and under what
            if len(self._recent) >= RECENT_TAGS:
                self._recent.clear()
            tag = self._recent[reference] = self._tagger(REFERENCE_INDEX, reference)
        return tag

    def fingerprint_of(self, fingerprint: str) -> bytes:
        """What is stored of a fingerprint: 8 bytes, which a record that was found can be held against."""
        return self._tagger(FINGERPRINT_INDEX, fingerprint)[:FINGERPRINT_BYTES]

    def _type_tag(self, record_type: str, keys: TwinKeys) -> bytes:
        place = (keys.twin, record_type)
        tag = self._type_tags.get(place)
        if tag is None:
            try:
                tag = keys.type_tag(record_type)
            except ParameterError as error:
                raise MalformedRecord(f"the record's type cannot be stored: {error}") from None
            if len(self._type_tags) >= RECENT_TAGS:
                self._type_tags.clear()
            self._type_tags[place] = tag
        return tag

    def _context(self, place: tuple[TwinId, RecordId, int, bytes], record_type: str, category: Category) -> bytes:
        twin, record_id, version, previous_hash = place
        return RecordContext(
            self._tenant, twin, record_type, record_id, version, previous_hash, category.value, SCHEMA
        ).encode()


def hash_of(row: SealedRow) -> bytes:
    """SHA-256 of a row's whole envelope: what its next version is chained to."""
    return hashlib.sha256(row.sealed).digest()


def _damaged(record_id: RecordId, version: int) -> RecordDamaged:
    return RecordDamaged(
        f"version {version} of record {record_id} does not open in its place",
        hint="it was altered or moved, or the keyring is another's: compare with a backup",
    )


@dataclass(frozen=True, slots=True)
class Payload:
    """What is inside a record's envelope, before padding: its content, and what must not be readable beside it.

    bytes  field
    8      committed_at_ms, unsigned big-endian
    2      number of references, unsigned big-endian
    2 + n  each reference: length, UTF-8
    rest   the content's exact bytes
    """

    committed_at_ms: int
    references: tuple[str, ...]
    content: bytes

    def encode(self) -> bytes:
        """The bytes to pad and seal. Raises ``MalformedRecord`` for a part beyond its bound."""
        if len(self.content) > MAX_CONTENT_BYTES:
            raise MalformedRecord(f"a record holds at most {MAX_CONTENT_BYTES} bytes", hint="store it in parts")
        if len(self.references) > MAX_REFERENCES:
            raise MalformedRecord(f"a record has at most {MAX_REFERENCES} references")
        parts = [self.committed_at_ms.to_bytes(8, "big"), len(self.references).to_bytes(2, "big")]
        for reference in self.references:
            encoded = _encode(reference)
            parts += (len(encoded).to_bytes(2, "big"), encoded)
        return b"".join((*parts, self.content))

    @classmethod
    def decode(cls, data: bytes) -> Payload:
        """Parse what ``encode`` wrote. Raises ``RecordDamaged``."""
        count = int.from_bytes(data[8:10], "big")
        if len(data) < 10 or count > MAX_REFERENCES:
            raise _unknown_layout()
        references, offset = [], 10
        for _ in range(count):
            start = offset + 2
            offset = start + int.from_bytes(data[offset:start], "big")
            if offset > len(data):
                raise _unknown_layout()
            try:
                references.append(data[start:offset].decode())
            except UnicodeDecodeError:
                raise _unknown_layout() from None
        return cls(int.from_bytes(data[:8], "big"), tuple(references), data[offset:])


def _encode(reference: str) -> bytes:
    try:
        encoded = reference.encode()
    except UnicodeEncodeError:
        raise MalformedRecord("a reference is not Unicode text: it holds a lone surrogate") from None
    if not 1 <= len(encoded) <= MAX_REFERENCE_BYTES:
        raise MalformedRecord(f"a reference has 1 to {MAX_REFERENCE_BYTES} bytes")
    return encoded


def _unknown_layout() -> RecordDamaged:
    return RecordDamaged("a record opened, but its inside is not of a known layout")


class Opening:
    """Opens places of one twin, each segment once. It holds plaintext: it lives as long as one call of the vault."""

    def __init__(self, rows: Sealer, segments: SegmentSealer, keys: TwinKeys) -> None:
        self.keys = keys
        self._rows = rows
        self._segments = segments
        self._opened: dict[str, OpenMembers] = {}

    def record(self, place: StoredVersion) -> Record:
        """The record that stands there. Raises ``RecordDamaged``."""
        if isinstance(place, SealedRow):
            return self._rows.open(place, self.keys)
        return self._segments.record_of(place, self._member(place), self.keys)

    def hash_of(self, place: StoredVersion) -> bytes:
        """What the next version is chained to."""
        if isinstance(place, SealedRow):
            return hash_of(place)
        return self._segments.hash_of(place, self._member(place), self.keys)

    def type_of(self, place: StoredVersion) -> str:
        """The record's type. Raises ``RecordDamaged``."""
        if isinstance(place, Member):
            return self._member(place).record_type
        try:
            return self.keys.type_of(place.type_tag)
        except OpenError:
            raise RecordDamaged(f"record {place.record_id} carries a type tag that is not its twin's") from None

    def require_chain(self, places: Sequence[StoredVersion], may_open: Collection[Category]) -> None:
        """Raise ``RecordDamaged`` unless these are all versions of a record, each chained to the one before.

        A link to or from a version inside a segment is held against what the segment seals. It is left out where that
        segment's category is none of ``may_open``: nothing is opened that the permit does not cover.
        """
        expected: bytes | None = b""
        for version, place in enumerate(places, start=1):
            opens = isinstance(place, SealedRow) or self.keys.category_of(place.category_tag) in may_open
            previous = None if not opens else self._previous_of(place)
            broken = None not in (previous, expected) and previous != expected
            if place.version != version or broken:
                raise RecordDamaged(f"the history of record {place.record_id} is broken at version {version}")
            expected = self.hash_of(place) if opens and version < len(places) else None

    def _previous_of(self, place: StoredVersion) -> bytes:
        return place.previous_hash if isinstance(place, SealedRow) else self._member(place).previous_hash

    def _member(self, place: Member) -> OpenMember:
        segment = place.segment
        opened = self._opened.get(segment.segment_id)
        if opened is None:
            opened = self._opened[segment.segment_id] = self._segments.open(segment, self.keys)
        return opened[place.position]


def type_tags(place: StoredVersion) -> tuple[bytes, ...]:
    """The tags of the types that may stand there. Opens nothing."""
    return (place.type_tag,) if isinstance(place, SealedRow) else place.segment.type_tags
