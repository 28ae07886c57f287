"""Segments sealed and opened. Knows keys and layouts; knows neither permits nor storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from twinward.core.ids import uuid7
from twinward.core.vocabulary import Category, RecordId, TwinId
from twinward.vault.errors import MalformedRecord, RecordDamaged
from twinward.vault.interfaces import Draft, Record
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.models import FINGERPRINT_BYTES, MAX_MEMBERS, Member, SealedSegment
from twinward.vault.segments.payload import (
    RECORD_TYPE,
    SCHEMA,
    Inside,
    OpenMember,
    OpenMembers,
    joined,
    pack,
    unpack,
)
from twinward_crypto.envelope import generation_of, open_sealed, seal
from twinward_crypto.errors import OpenError, ParameterError
from twinward_crypto.kdf import derive, length_prefixed
from twinward_crypto.keys import TenantId
from twinward_crypto.padding import pad, unpad
from twinward_crypto.record_context import RecordContext

MEMBER_HASH = b"twinward/segment-member/1"
"""Label of the hash that a version chains to, where the version before it never had an envelope of its own."""

Tagger = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Version:
    """One version on its way into a segment, with what chains it to its neighbours.

    Attributes:
        record: as it was opened.
        previous_hash: of its own row or member; empty for version 1.
        hash: what the next version is or will be chained to, if it is not the member hash.
        newest: whether blind tags must find it.
        fingerprint: 8 bytes.
    """

    record: Record
    previous_hash: bytes
    hash: bytes
    newest: bool
    fingerprint: bytes


class SegmentSealer:
    """Seals and opens one tenant's segments.

    Args:
        tenant: whose.
        reference_tag, fingerprint_of: a reference's 16-byte blind tag, a fingerprint's 8 bytes.
    """

    def __init__(self, tenant: TenantId, reference_tag: Tagger, fingerprint_of: Tagger) -> None:
        self._tenant = tenant
        self._reference_tag = reference_tag
        self._fingerprint_of = fingerprint_of

    def seal_draft(self, twin: TwinId, draft: Draft, keys: TwinKeys, *, at_ms: int) -> SealedSegment:
        """A segment of new records, whose ids follow from its own.

        Raises:
            MalformedRecord: columns of different lengths, or a part beyond its bound.
        """
        size = len(draft.contents)
        if not len(draft.types) == len(draft.references) == len(draft.fingerprints) == size:
            raise MalformedRecord("the columns of a draft have one length")
        types = list(dict.fromkeys(draft.types))
        kind_of = {name: kind for kind, name in enumerate(types)}
        references = [joined(one) for one in draft.references]
        tag, fingerprint = self._reference_tag, self._fingerprint_of
        inside = Inside(
            committed_at_ms=[at_ms],
            ids=[],
            versions=[],
            types=types,
            kinds=bytes(map(kind_of.__getitem__, draft.types)),
            previous=[],
            hashes=[],
            references=references,
            contents=list(draft.contents),
        )
        tags = [(tag(one), position) for position, of_record in enumerate(draft.references) for one in of_record]
        fingerprints = b"".join([fingerprint(one) for one in draft.fingerprints])
        return self._seal(
            twin, draft.category, keys, inside, at_ms=at_ms, column=b"", fingerprints=fingerprints, tags=tags
        )

    def seal_versions(self, versions: Sequence[Version], keys: TwinKeys, *, at_ms: int) -> SealedSegment:
        """A segment of versions that were stored before, all of one twin and category. Raises as ``seal_draft``."""
        records = [version.record for version in versions]
        types = list(dict.fromkeys(record.record_type for record in records))
        ids = [UUID(_id_of(record)).bytes for record in records]
        inside = Inside(
            committed_at_ms=[record.committed_at_ms for record in records],
            ids=ids,
            versions=[record.version for record in records],
            types=types,
            kinds=bytes(types.index(record.record_type) for record in records),
            previous=[version.previous_hash for version in versions] if any(v.previous_hash for v in versions) else [],
            hashes=[version.hash for version in versions] if any(version.hash for version in versions) else [],
            references=["\x00".join(record.references) for record in records],
            contents=[record.content for record in records],
        )
        column = members_column(inside.ids, inside.versions, inside.committed_at_ms)
        tags = [
            (self._reference_tag(one), position)
            for position, version in enumerate(versions)
            if version.newest
            for one in version.record.references
        ]
        fingerprints = b"".join(version.fingerprint.ljust(FINGERPRINT_BYTES, b"\x00") for version in versions)
        category, twin = records[0].category, records[0].twin
        return self._seal(
            twin, category, keys, inside, at_ms=at_ms, column=column, fingerprints=fingerprints, tags=tags
        )

    def open(self, segment: SealedSegment, keys: TwinKeys) -> OpenMembers:
        """Every member, in the order of positions.

        Raises:
            RecordDamaged: it does not open in its place, or its row says otherwise than its inside.
        """
        category = keys.category_of(segment.category_tag)
        try:
            if generation_of(segment.sealed) != segment.generation:
                raise OpenError
            aad = self._context(segment, category)
            packed = unpad(open_sealed(keys.category_key(category), segment.sealed, aad))
        except (OpenError, ParameterError):
            raise _damaged(segment) from None
        inside = unpack(packed, segment.size)
        _require_row(segment, inside)
        return OpenMembers(inside)

    def record_of(self, member: Member, opened: OpenMember, keys: TwinKeys) -> Record:
        """A member as the record it is."""
        return Record(
            twin=member.twin,
            record_type=opened.record_type,
            category=keys.category_of(member.category_tag),
            content=opened.content,
            references=opened.references,
            record_id=member.record_id,
            version=member.version,
            committed_at_ms=opened.committed_at_ms,
        )

    def hash_of(self, member: Member, opened: OpenMember, keys: TwinKeys) -> bytes:
        """What a version that follows this one is chained to.

        A member that was a row keeps its envelope's hash. One that never was has a keyed hash of all it is: the next
        row shows the hash in the clear, and it must not be a test for guessed content.
        """
        if opened.hash:
            return opened.hash
        context = length_prefixed(
            member.record_id.encode(),
            member.version.to_bytes(8, "big"),
            opened.previous_hash,
            opened.committed_at_ms.to_bytes(8, "big"),
            opened.record_type.encode(),
            opened.content,
        )
        return derive(keys.category_key(keys.category_of(member.category_tag)), MEMBER_HASH, context)

    def _seal(
        self,
        twin: TwinId,
        category: Category,
        keys: TwinKeys,
        inside: Inside,
        *,
        at_ms: int,
        column: bytes,
        fingerprints: bytes,
        tags: Sequence[tuple[bytes, int]],
    ) -> SealedSegment:
        try:
            type_tags = tuple(map(keys.type_tag, inside.types))
        except ParameterError as error:
            raise MalformedRecord(f"the record's type cannot be stored: {error}") from None
        segment = SealedSegment(
            segment_id=_new_segment_id(at_ms),
            twin=twin,
            category_tag=keys.category_tag(category),
            generation=keys.generation,
            size=len(inside.contents),
            committed_at_ms=at_ms,
            type_tags=type_tags,
            members=column,
            fingerprints=fingerprints,
            sealed=b"",
            tags=tags,
        )
        packed = pad(pack(inside))
        sealed = seal(keys.category_key(category), packed, self._context(segment, category), generation=keys.generation)
        return replace(segment, sealed=sealed)

    def _context(self, segment: SealedSegment, category: Category) -> bytes:
        return RecordContext(
            tenant=self._tenant,
            twin=segment.twin,
            record_type=RECORD_TYPE,
            record_id=segment.segment_id,
            version=1,
            previous_hash=b"",
            category=category.value,
            schema=SCHEMA,
        ).encode()


def _require_row(segment: SealedSegment, inside: Inside) -> None:
    """What the row says in the clear must be what was sealed: ids, versions and times."""
    if segment.members:
        agree = segment.members == members_column(inside.ids, inside.versions, inside.committed_at_ms)
    else:
        agree = not (inside.ids or inside.versions) and inside.committed_at_ms == [segment.committed_at_ms]
    if not agree:
        raise _damaged(segment)


def members_column(ids: Sequence[bytes], versions: Sequence[int], times: Sequence[int]) -> bytes:
    """What stands in the clear of each member whose id does not follow from its segment's."""
    if not len(ids) == len(versions) == len(times):
        return b""
    return b"".join(
        own + version.to_bytes(4, "big") + at_ms.to_bytes(8, "big")
        for own, version, at_ms in zip(ids, versions, times, strict=True)
    )


def _new_segment_id(at_ms: int) -> str:
    number = UUID(uuid7(at_ms)).int
    return str(UUID(int=number & ~(MAX_MEMBERS - 1)))


def _id_of(record: Record) -> RecordId:
    if record.record_id is None:
        raise MalformedRecord("a version has its record's id")
    return record.record_id


def _damaged(segment: SealedSegment) -> RecordDamaged:
    return RecordDamaged(
        f"segment {segment.segment_id} does not open in its place",
        hint="it was altered or moved, or the keyring is another's: compare with a backup",
    )
