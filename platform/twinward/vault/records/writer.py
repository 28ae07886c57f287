"""Writing: records and drafts sealed under their permits, and stored in one durable step.

Every permit was checked to be one to write to its twin (``Vault.write_many``). Here it is held against the twin and the
category of each record, and where a record follows an earlier version, against the category that it would leave.
"""

from __future__ import annotations

from collections.abc import Sequence

from twinward.access.interfaces import Permit, PermitVerifier
from twinward.core.clock import Clock
from twinward.core.ids import new_record_id
from twinward.core.vocabulary import Action, RecordId, TwinId
from twinward.vault.errors import MalformedRecord, VersionConflict, no_record
from twinward.vault.interfaces import Draft, Record, RecordStore
from twinward.vault.keys.keyring import Keyring
from twinward.vault.models import SealedRow, SealedSegment, StoredVersion
from twinward.vault.records.sealer import Opening, Sealer
from twinward.vault.segments.sealer import SegmentSealer


class Writer:
    """Seals and stores what permits to write cover. Arguments as of ``Vault``."""

    def __init__(
        self,
        store: RecordStore,
        keyring: Keyring,
        verifier: PermitVerifier,
        clock: Clock,
        sealer: Sealer,
        segments: SegmentSealer,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._verifier = verifier
        self._clock = clock
        self._sealer = sealer
        self._segments = segments

    def write_many(
        self,
        batch: Sequence[tuple[TwinId, Permit, Sequence[Record]]],
        drafts: Sequence[tuple[TwinId, Permit, Sequence[Draft]]],
    ) -> list[list[Record]]:
        """Seal many twins' records and store them all in one durable step, all or none. Raises as ``Vault.write``.

        Args:
            batch: records, each sealed into a row of its own.
            drafts: new records, sealed together into segments.
        """
        rows: list[SealedRow] = []
        written = [self._seal(twin, permit, records, rows) for twin, permit, records in batch]
        segments = [segment for twin, permit, some in drafts for segment in self._draft(twin, permit, some)]
        firsts = [
            one.references[0] for _, _, records in batch for one in records if one.alone and one.record_id is None
        ]
        self._store.put(rows, segments, [self._sealer.reference_tag(name) for name in firsts])
        return written

    def _draft(self, twin: TwinId, permit: Permit, drafts: Sequence[Draft]) -> list[SealedSegment]:
        """Seal one permit's drafts; nothing is stored yet."""
        for category in {draft.category for draft in drafts}:
            self._verifier.require(permit, action=Action.WRITE, twin=twin, category=category)
        keys, at_ms = self._keyring.keys(twin), self._clock.now_ms()
        return [self._segments.seal_draft(twin, draft, keys, at_ms=at_ms) for draft in drafts]

    def _seal(self, twin: TwinId, permit: Permit, records: Sequence[Record], rows: list[SealedRow]) -> list[Record]:
        """Seal one permit's records onto ``rows``; nothing is stored yet."""
        for of_twin, category in {(record.twin, record.category) for record in records}:
            self._verifier.require(permit, action=Action.WRITE, twin=of_twin, category=category)
        keys = self._keyring.keys(twin)
        at_ms = self._clock.now_ms()
        heads: dict[RecordId, SealedRow] = {}
        opening = Opening(self._sealer, self._segments, keys)
        written: list[Record] = []
        for record in records:
            after, record_id = None, record.record_id
            if record_id is None:
                record_id = new_record_id(at_ms)
            else:
                head = self._head(permit, record, opening, heads)
                after = head.version, opening.hash_of(head)
            row = self._sealer.seal_as(record_id, record, keys, after=after, at_ms=at_ms)
            heads[record_id] = row
            rows.append(row)
            written.append(_written(record, row))
        return written

    def _head(
        self, permit: Permit, record: Record, opening: Opening, heads: dict[RecordId, SealedRow]
    ) -> StoredVersion:
        """The row a record's new version follows."""
        record_id = record.record_id
        if record_id is None:
            raise MalformedRecord("only a record with an id has an earlier version")
        head = heads.get(record_id) or self._store.latest(record_id)
        if head is None or head.twin != record.twin:
            raise no_record(record_id)
        if record.version not in (0, head.version):
            raise VersionConflict(
                f"record {record_id} is at version {head.version}, not {record.version}", hint="read it and write again"
            )
        left = opening.keys.category_of(head.category_tag)
        if left is not record.category:
            self._verifier.require(permit, action=Action.WRITE, twin=record.twin, category=left)
        if opening.type_of(head) != record.record_type:
            raise MalformedRecord(f"record {record_id} is of another type: write a new record instead")
        return head


def _written(record: Record, row: SealedRow) -> Record:
    """The record with what storing it settled. Spelled out: ``replace`` costs as much as sealing does."""
    return Record(
        record.twin,
        record.record_type,
        record.category,
        record.content,
        record.references,
        row.record_id,
        row.version,
        row.committed_at_ms,
        record.fingerprint,
    )
