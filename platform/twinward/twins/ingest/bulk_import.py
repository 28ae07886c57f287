"""Bulk import: many patients' new records straight into segments, a durable step a batch.

What is new is sealed together; what is kept already is left alone, if its fingerprint says it is the same; what changed
goes the way of every update (``Twins.ingest``). A batch is acknowledged once it is durable as a whole. There is no
state to resume from but the vault itself: after ``kill -9`` the same import goes on, since what landed is recognised.

The order is that of ``Twins.ingest``: the events of writing are in the log before any twin exists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Permit
from twinward.core.clock import Clock
from twinward.core.errors import BadInput, Conflict, NotFound, TwinwardError
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.features.derivation import Person
from twinward.twins import references as names
from twinward.twins.errors import AlreadyImported, BelongsToAnother, TwinNotFound
from twinward.twins.ingest.features import BulkFeatures
from twinward.twins.ingest.plan import stays
from twinward.twins.interfaces import SingleImport
from twinward.twins.models import DIRECTORY, BulkRecord, IfKept, ImportRecord, PatientImport
from twinward.vault.interfaces import Draft, Place, Record, RecordVault

LEAST = 16
"""New records of one patient and category that make a segment; fewer become rows, and are compacted later."""

MOST = 256
_SEGMENT_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class BulkReceipt:
    """What became of a batch. ``refused`` has the index of each record that was not taken, with the reason.

    ``patients`` counts patients' own records, whether they were new or not.
    """

    patients: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    new_twins: int = 0
    refused: list[tuple[int, TwinwardError]] = field(default_factory=list)


@dataclass(slots=True)
class _Patient:
    """One patient's part of a batch."""

    reference: str
    twin: TwinId | None
    new: list[BulkRecord] = field(default_factory=list)
    changed: list[BulkRecord] = field(default_factory=list)
    same: list[BulkRecord] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)


class BulkImport:
    """One import of many batches. ``finish`` derives the features of the twins it touched.

    Args:
        twins: for what goes the way of every single import, and the turn it is taken in.
        vault, access, clock: the node's.
        context: who imports, and why.
        least: new records of one patient and category that make a segment.
    """

    def __init__(
        self,
        twins: SingleImport,
        vault: RecordVault,
        access: AccessControl,
        clock: Clock,
        context: AccessContext,
        *,
        least: int = LEAST,
    ) -> None:
        self._twins = twins
        self._least = least
        self._vault = vault
        self._access = access
        self._clock = clock
        self._context = context
        self._barred: set[str] = set()
        self._features = BulkFeatures(twins.schema, twins.writing, vault, access, clock, context)

    def take(self, records: Sequence[BulkRecord]) -> BulkReceipt:
        """Take a batch in; it is durable on return. What is refused is named, the rest lands.

        Raises:
            AccessDenied: the principal may not write here; nothing of the batch was written.
            Unavailable: a store or the log does not answer; nothing new of the batch was written.
        """
        receipt = BulkReceipt()
        with self._twins.writing:
            patients = self._sort(records, receipt)
            fresh = [patient for patient in patients if patient.twin is None]
            writing = [patient for patient in patients if patient.new]
            if writing:
                self._write(writing, fresh)
        for patient in patients:
            receipt.created += len(patient.new)
            if patient.new or patient.changed:
                self._features.touch(patient.reference)
            for record in (*patient.new, *patient.same):
                self._features.add(record)
            self._update(patient, receipt)
        self._features.relieve()
        receipt.new_twins = sum(patient.reference != DIRECTORY for patient in fresh)
        refused = {index for index, _ in receipt.refused}
        for index, record in enumerate(records):
            receipt.patients += index not in refused and record.reference == record.owner
        return receipt

    @property
    def clock(self) -> Clock:
        """The node's."""
        return self._clock

    @property
    def wanted_codes(self) -> frozenset[str]:
        """The LOINC codes of readings that some feature is made of: a source may leave the others out."""
        return self._features.codes

    def finish(self) -> int:
        """Derive the features of every twin about which something new was said; return how many there were."""
        return self._features.derive()

    def _sort(self, records: Sequence[BulkRecord], receipt: BulkReceipt) -> list[_Patient]:
        """Whose is what, and what of it is new."""
        by_name = {record.reference: record for record in records}
        # A fingerprint costs a hash of the content: it is asked for only where a record of that name is kept.
        kept = self._vault.locate_many(by_name.keys(), lambda name: fingerprint_of(by_name[name]))
        self._bar(records, kept)
        patients: dict[str, _Patient] = {}
        seen: set[str] = set()
        for index, record, patient in self._owned(records, patients, receipt):
            existing = kept.get(record.reference)
            if existing is None and record.reference not in seen and record.owner not in self._barred:
                seen.add(record.reference)
                patient.new.append(record)
            elif existing is not None and existing.twin != patient.twin:
                receipt.refused.append((index, self._told_of_another(record)))
            elif record.owner in self._barred:
                receipt.refused.append((index, AlreadyImported(record.owner, is_other=True)))
            elif existing is None or record is not by_name[record.reference]:
                patient.changed.append(record)
                patient.indices.append(index)
            else:
                self._compare(index, record, existing, patient, receipt)
        return list(patients.values())

    def _compare(
        self, index: int, record: BulkRecord, existing: Place, patient: _Patient, receipt: BulkReceipt
    ) -> None:
        """Whether what is kept stays, is to be updated, or the record is refused."""
        try:
            unchanged = stays(record.reference, record.if_kept, is_same=existing.matches)
        except AlreadyImported as error:
            receipt.refused.append((index, error))
            return
        if unchanged:
            receipt.unchanged += 1
            patient.same += [record] if existing.matches else []  # else it says what is not kept
        else:
            patient.changed.append(record)
            patient.indices.append(index)

    def _bar(self, records: Sequence[BulkRecord], kept: Mapping[str, Place]) -> None:
        """Note the patients whose own record is refused since another is kept: what says it is theirs may not be."""
        for record in records:
            existing = kept.get(record.reference) if record.reference == record.owner else None
            if existing is not None and record.if_kept in (IfKept.REFUSE, IfKept.REFUSE_OTHER) and not existing.matches:
                self._barred.add(record.owner)

    def _told_of_another(self, record: BulkRecord) -> TwinwardError:
        """Why a record is refused that another patient has; telling so is logged as that patient's."""
        heads = self._vault.heads(record.reference)
        self._twins.search.note(self._context, heads[-1] if heads else None, "another-patient")
        return BelongsToAnother(f"{record.reference} is kept under another patient", reference=record.reference)

    def _owned(
        self, records: Sequence[BulkRecord], patients: dict[str, _Patient], receipt: BulkReceipt
    ) -> Iterator[tuple[int, BulkRecord, _Patient]]:
        """Each record with its patient, new ones put into ``patients``; what can have none is refused."""
        owners = self._vault.locate_many({record.owner for record in records})
        own = {record.owner for record in records if record.reference == record.owner or record.owner == DIRECTORY}
        for index, record in enumerate(records):
            patient = patients.get(record.owner)
            if patient is None:
                owner = owners.get(record.owner)
                refusal = _refusal(record, owner, own)
                if refusal is not None:
                    receipt.refused.append((index, refusal))
                    continue
                patient = patients[record.owner] = _Patient(record.owner, None if owner is None else owner.twin)
            yield index, record, patient

    def _write(self, patients: Sequence[_Patient], fresh: Sequence[_Patient]) -> None:
        self._name(fresh)
        requests = [self._request(patient) for patient in patients]
        self._access.require(requests[0])
        self._vault.expect_twins([_twin_of(patient) for patient in fresh])
        permits = self._access.decide_all(requests)
        new = {patient.reference for patient in fresh}
        self._vault.create_twins(
            [permit for permit, patient in zip(permits, patients, strict=True) if patient.reference in new]
        )
        batch: list[tuple[Permit, list[Record]]] = []
        drafts: list[tuple[Permit, list[Draft]]] = []
        for permit, patient in zip(permits, patients, strict=True):
            rows, some = pack(_twin_of(patient), patient.new, self._least)
            batch.append((permit, rows))
            drafts.append((permit, some))
        self._vault.write_many(batch, drafts)

    def _name(self, fresh: Sequence[_Patient]) -> None:
        """Name the twins about to be made; the directory gets the record it is found by."""
        for patient in fresh:
            patient.twin = new_twin_id(self._clock.now_ms())
            if patient.reference == DIRECTORY:
                marker = BulkRecord(DIRECTORY, "Directory", DIRECTORY, Category.ADMINISTRATIVE, b"{}", (), None, ())
                patient.new.insert(0, marker)

    def _update(self, patient: _Patient, receipt: BulkReceipt) -> None:
        """Each by itself: one that is refused must not take the others along."""
        for index, record in zip(patient.indices, patient.changed, strict=True):
            one = ImportRecord(
                record.reference,
                record.record_type,
                record.category,
                record.content,
                record.found_by,
                if_kept=record.if_kept,
            )
            try:
                stored = self._twins.ingest(
                    self._context,
                    PatientImport(patient.reference, (one,), record.readings, record.person or Person()),
                ).stored
            except (BadInput, Conflict, NotFound) as error:
                receipt.refused.append((index, error))
                continue
            if stored[0].change == "updated":
                self._features.forget(record)
            receipt.updated += stored[0].change == "updated"
            receipt.unchanged += stored[0].change == "unchanged"

    def _request(self, patient: _Patient) -> AccessRequest:
        categories = frozenset(record.category for record in patient.new)
        return self._context.request(Action.WRITE, _twin_of(patient), categories)


def _refusal(record: BulkRecord, owner: Place | None, own: set[str]) -> TwinwardError | None:
    """Why nothing of this owner can be taken; None if it can."""
    if owner is None and record.owner not in own:
        hint = "import the Patient resource as well"
        return TwinNotFound("there is no twin of this patient yet", reference=record.owner, hint=hint)
    if owner is not None and owner.category is None:
        return BelongsToAnother("this patient was erased", hint="a patient who returns takes a new id")
    return None


def _twin_of(patient: _Patient) -> TwinId:
    assert patient.twin is not None  # noqa: S101 - narrows the type: new twins were named before
    return patient.twin


def pack(twin: TwinId, records: Iterable[BulkRecord], least: int) -> tuple[list[Record], list[Draft]]:
    """Rows for the few, drafts for the many of a category."""
    by_category: dict[Category, list[BulkRecord]] = defaultdict(list)
    for record in records:
        by_category[record.category].append(record)
    rows: list[Record] = []
    drafts: list[Draft] = []
    for category, some in by_category.items():
        if len(some) < least:
            rows += [_record(twin, one) for one in some]
        else:
            drafts += [_draft(category, chunk) for chunk in _chunks(some)]
    return rows, drafts


def _chunks(records: Sequence[BulkRecord]) -> Iterable[Sequence[BulkRecord]]:
    start, size = 0, 0
    for index, record in enumerate(records):
        if index > start and (index - start == MOST or size + len(record.content) > _SEGMENT_BYTES):
            yield records[start:index]
            start, size = index, 0
        size += len(record.content)
    yield records[start:]


def _draft(category: Category, records: Sequence[BulkRecord]) -> Draft:
    return Draft(
        category,
        [one.record_type for one in records],
        [(one.reference, *one.found_by) for one in records],
        [one.content for one in records],
        [fingerprint_of(one) for one in records],
    )


def fingerprint_of(one: BulkRecord) -> str:
    """What the vault knows the record's content by; a hash of it all."""
    return names.as_content(one.reference, one.category, one.content)


def _record(twin: TwinId, one: BulkRecord) -> Record:
    fingerprint = fingerprint_of(one)
    return Record(
        twin, one.record_type, one.category, one.content, (one.reference, *one.found_by), fingerprint=fingerprint
    )
