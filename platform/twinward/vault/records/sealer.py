"""Records to sealed rows and back. Knows keys and layouts; knows neither permits nor storage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from twinward.core.vocabulary import Category, RecordId, TwinId
from twinward.vault.errors import MalformedRecord, RecordDamaged
from twinward.vault.interfaces import MARK_BYTES, Record, SealedRow
from twinward.vault.keys.twin_keys import TwinKeys
from twinward.vault.records.payload import SCHEMA, Payload
from twinward_crypto.envelope import generation_of, open_sealed, seal
from twinward_crypto.errors import OpenError, ParameterError
from twinward_crypto.keys import TenantId
from twinward_crypto.padding import pad, unpad
from twinward_crypto.record_context import RecordContext

REFERENCE_INDEX = "record-reference"
MARK_INDEX = "record-mark"
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
            mark=b"" if record.mark is None else self.mark_of(record.mark),
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

    def mark_of(self, mark: str) -> bytes:
        """What is stored of a mark: 8 bytes, which a record that was found can be held against."""
        return self._tagger(MARK_INDEX, mark)[:MARK_BYTES]

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
