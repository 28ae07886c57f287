"""Bulk import: many patients' new records straight into segments, a durable step a batch.

What is new is sealed together; what is kept already is left alone, if its mark says it is the same; what changed goes
the way of every update (``Twins.ingest``). A batch is acknowledged once it is durable as a whole. There is no state to
resume from but the vault itself: after ``kill -9`` the same import goes on, since what landed is recognised.

The order is that of ``Twins.ingest``: the events of writing are in the log before any twin exists.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from twinward.access.interfaces import AccessControl, AccessRequest, Permit, Principal
from twinward.clock import Clock
from twinward.errors import BadInput, Conflict, NotFound, TwinwardError
from twinward.feature_schema import FeatureSchema
from twinward.identifiers import new_twin_id
from twinward.twins import references as names
from twinward.twins.errors import BelongsToAnother, FeaturesUnreadable, TwinNotFound
from twinward.twins.features import FeatureVector, extract, merge, to_content
from twinward.twins.measurements import EQUIVALENT_CODES, Measurement, Person
from twinward.twins.models import DIRECTORY, FEATURES_TYPE, ImportRecord, PatientImport
from twinward.twins.service import Twins
from twinward.vault.interfaces import Draft, Kept, Record, RecordVault
from twinward.vocabulary import Action, Category, Purpose, TwinId

LEAST = 16
"""New records of one patient and category that make a segment; fewer become rows, and are compacted later."""

MOST = 256
_SEGMENT_BYTES = 4 * 1024 * 1024
_TWINS_AT_ONCE = 256
"""Twins decided together: permits are used before they expire."""


class Reading(NamedTuple):
    """A number that a feature may be made of; ``when`` as a full ISO 8601 moment, or in ms since the epoch."""

    code: str
    value: float
    unit: str
    when: str | int


class BulkRecord(NamedTuple):
    """One record of a bulk source: whose it is, and what a twin needs to know of it.

    Attributes:
        owner: the patient's reference, or ``DIRECTORY``.
        person: what features need to know of a person, where this is the patient's own record.
        readings: numbers in it.
    """

    owner: str
    record_type: str
    reference: str
    category: Category
    content: bytes
    found_by: tuple[str, ...]
    person: Person | None
    readings: tuple[Reading, ...]


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
    indices: list[int] = field(default_factory=list)


class BulkImport:
    """One import of many batches. ``finish`` derives the features of the twins it touched.

    Args:
        twins, vault, access, clock: the node's.
        principal, purpose: who imports, and why.
        least: new records of one patient and category that make a segment.
    """

    def __init__(
        self,
        twins: Twins,
        vault: RecordVault,
        access: AccessControl,
        clock: Clock,
        principal: Principal,
        *,
        purpose: Purpose = Purpose.RECORD_MANAGEMENT,
        least: int = LEAST,
    ) -> None:
        self._twins = twins
        self._least = least
        self._vault = vault
        self._access = access
        self._clock = clock
        self._principal = principal
        self._purpose = purpose
        self._evidence = _Evidence(twins.schema)
        self._changed: set[str] = set()

    def take(self, records: Sequence[BulkRecord]) -> BulkReceipt:
        """Take a batch in; it is durable on return. What is refused is named, the rest lands.

        Raises:
            AccessDenied: the principal may not write here; nothing of the batch was written.
            Unavailable: a store or the log does not answer; nothing new of the batch was written.
        """
        receipt = BulkReceipt()
        with self._twins.ingesting:
            patients = self._sort(records, receipt)
            fresh = [patient for patient in patients if patient.twin is None]
            writing = [patient for patient in patients if patient.new]
            if writing:
                self._write(writing, fresh)
        for patient in patients:
            receipt.created += len(patient.new)
            if patient.new or patient.changed:
                self._changed.add(patient.reference)
            self._update(patient, receipt)
        receipt.new_twins = sum(patient.reference != DIRECTORY for patient in fresh)
        refused = {index for index, _ in receipt.refused}
        for index, record in enumerate(records):
            if index not in refused:
                self._evidence.add(record)
                receipt.patients += record.reference == record.owner
        return receipt

    @property
    def wanted_codes(self) -> frozenset[str]:
        """The LOINC codes of readings that some feature is made of: a source may leave the others out."""
        return self._evidence.codes

    def finish(self) -> int:
        """Derive the features of every twin about which something new was said; return how many there were."""
        owners = sorted(self._changed | self._missing())
        for start in range(0, len(owners), _TWINS_AT_ONCE):
            self._derive(owners[start : start + _TWINS_AT_ONCE])
        return len(owners)

    def _sort(self, records: Sequence[BulkRecord], receipt: BulkReceipt) -> list[_Patient]:
        """Whose is what, and what of it is new."""
        owners = self._vault.kept({record.owner for record in records})
        by_name = {record.reference: record for record in records}
        # A mark costs a hash of the content: it is asked for only where a record of that name is kept.
        kept = self._vault.kept(by_name.keys(), lambda name: _mark_of(by_name[name]))
        own = {record.owner for record in records if record.reference == record.owner or record.owner == DIRECTORY}
        patients: dict[str, _Patient] = {}
        seen: set[str] = set()
        for index, record in enumerate(records):
            patient = patients.get(record.owner)
            if patient is None:
                owner = owners.get(record.owner)
                refusal = _refusal(record, owner, own)
                if refusal is not None:
                    receipt.refused.append((index, refusal))
                    continue
                patient = patients[record.owner] = _Patient(record.owner, None if owner is None else owner.twin)
            existing = kept.get(record.reference)
            if existing is None and record.reference not in seen:
                seen.add(record.reference)
                patient.new.append(record)
            elif existing is not None and existing.twin != patient.twin:
                receipt.refused.append((index, BelongsToAnother(f"{record.reference} is kept under another patient")))
            elif (
                existing is not None
                and record is by_name[record.reference]
                and (existing.marked or record.owner == DIRECTORY)
            ):
                receipt.unchanged += 1
            else:
                patient.changed.append(record)
                patient.indices.append(index)
        return list(patients.values())

    def _write(self, patients: Sequence[_Patient], fresh: Sequence[_Patient]) -> None:
        for patient in fresh:
            patient.twin = new_twin_id(self._clock.now_ms())
            if patient.reference == DIRECTORY:
                patient.new.insert(
                    0, BulkRecord(DIRECTORY, "Directory", DIRECTORY, Category.ADMINISTRATIVE, b"{}", (), None, ())
                )
        requests = [self._request(patient) for patient in patients]
        if requests and not self._access.check(requests[0]).permitted:
            self._access.decide(requests[0])
        self._vault.expect_twins([_twin_of(patient) for patient in fresh])
        batch: list[tuple[Permit, list[Record]]] = []
        drafts: list[tuple[Permit, list[Draft]]] = []
        permits = [
            permit or self._access.decide(request)
            for permit, request in zip(self._access.decide_many(requests), requests, strict=True)
        ]
        new = {patient.reference for patient in fresh}
        self._vault.create_twins(
            [permit for permit, patient in zip(permits, patients, strict=True) if patient.reference in new]
        )
        for permit, patient in zip(permits, patients, strict=True):
            rows, some = _split(_twin_of(patient), patient.new, self._least)
            batch.append((permit, rows))
            drafts.append((permit, some))
        self._vault.write_many(batch, drafts)

    def _update(self, patient: _Patient, receipt: BulkReceipt) -> None:
        """Each by itself: one that is refused must not take the others along."""
        for index, record in zip(patient.indices, patient.changed, strict=True):
            one = ImportRecord(record.reference, record.record_type, record.category, record.content, record.found_by)
            try:
                stored = self._twins.ingest(
                    self._principal, PatientImport(patient.reference, (one,)), purpose=self._purpose
                ).stored
            except (BadInput, Conflict, NotFound) as error:
                receipt.refused.append((index, error))
                continue
            receipt.updated += stored[0].change == "updated"
            receipt.unchanged += stored[0].change == "unchanged"

    def _request(self, patient: _Patient) -> AccessRequest:
        categories = frozenset(record.category for record in patient.new)
        return AccessRequest(self._principal, Action.WRITE, self._purpose, _twin_of(patient), categories)

    def _missing(self) -> set[str]:
        """Owners whose twin has no features under the present schema, though something is known for them."""
        owners = self._evidence.owners() - self._changed
        twins = {owner: twin for owner, (twin, _) in self._vault.locate_many(sorted(owners)).items()}
        under = {names.features_under(twin, self._twins.schema.fingerprint()): owner for owner, twin in twins.items()}
        found = self._vault.locate_many(list(under))
        return {owner for name, owner in under.items() if name not in found}

    def _derive(self, owners: Sequence[str]) -> None:
        twins = {owner: twin for owner, (twin, _) in self._vault.locate_many(owners).items() if owner != DIRECTORY}
        today = datetime.fromtimestamp(self._clock.now_ms() / 1000, tz=UTC).date()
        vectors: dict[TwinId, FeatureVector] = {}
        whole: set[TwinId] = set()
        for owner, twin in twins.items():
            person, measurements = self._evidence.of(owner)
            vector = extract(self._twins.schema, person, measurements, today)
            if vector.readings:  # all defaults would look like the average patient to every query
                vectors[twin] = vector
                whole |= {twin} if person != Person() else set()
        kept = self._vault.kept([names.features_of(twin) for twin in vectors])
        known = [twin for twin in vectors if names.features_of(twin) in kept]
        older = self._older(known)
        for twin in known:
            if twin in older:
                vectors[twin] = merge(self._twins.schema, older[twin], vectors[twin])
            elif twin not in whole:
                del vectors[twin]  # a part of the record must not displace what was derived from all of it
        self._keep(vectors, kept)

    def _older(self, twins: Sequence[TwinId]) -> dict[TwinId, FeatureVector]:
        """The features kept so far, where they may be read and are of this schema; decided in one durable step."""
        wanted = frozenset({Category.FEATURES})
        requests = [AccessRequest(self._principal, Action.READ, self._purpose, twin, wanted) for twin in twins]
        requests = [request for request in requests if self._access.check(request).permitted]
        found: dict[TwinId, FeatureVector] = {}
        for permit in self._access.decide_many(requests):
            if permit is not None and permit.request.twin is not None:
                with contextlib.suppress(FeaturesUnreadable):
                    vector = self._twins.feature_vector(permit)
                    if vector is not None:
                        found[permit.request.twin] = vector
        return found

    def _keep(self, vectors: Mapping[TwinId, FeatureVector], kept: Mapping[str, Kept]) -> None:
        """Write feature vectors that differ from what is kept, all in one durable step."""
        records = {twin: _features_record(twin, vector, kept) for twin, vector in vectors.items()}
        marks = {record.references[0]: record.mark or "" for record in records.values()}
        same = {name for name, one in self._vault.kept(marks.keys(), marks.__getitem__).items() if one.marked}
        records = {twin: record for twin, record in records.items() if record.references[0] not in same}
        wanted = frozenset({Category.FEATURES})
        requests = [AccessRequest(self._principal, Action.WRITE, self._purpose, twin, wanted) for twin in records]
        permits = [
            permit or self._access.decide(request)
            for permit, request in zip(self._access.decide_many(requests), requests, strict=True)
        ]
        self._vault.write_many([(permit, [record]) for permit, record in zip(permits, records.values(), strict=True)])


def _features_record(twin: TwinId, vector: FeatureVector, kept: Mapping[str, Kept]) -> Record:
    reference, content = names.features_of(twin), to_content(vector)
    before = kept.get(reference)
    return Record(
        twin,
        FEATURES_TYPE,
        Category.FEATURES,
        content,
        (reference, names.features_under(twin, vector.schema)),
        record_id=None if before is None else before.record_id,
        mark=names.as_content(reference, Category.FEATURES, content),
    )


class _Evidence:
    """What features are made of, patient by patient: the latest reading of each code in each unit."""

    def __init__(self, schema: FeatureSchema) -> None:
        wanted = {code for feature in schema.features for code in feature.loinc}
        self.codes = frozenset(wanted | {code for code, same in EQUIVALENT_CODES.items() if same in wanted})
        self._readings: dict[str, dict[tuple[str, str, str], Reading]] = defaultdict(dict)
        self._persons: dict[str, Person] = {}

    def add(self, record: BulkRecord) -> None:
        """Remember what a record says."""
        if record.person is not None:
            self._persons[record.owner] = record.person
        for reading in record.readings:
            if reading.code in self.codes:
                when = reading.when
                # Times written alike compare as text; those of another zone or precision are kept beside them.
                zone = when[19:] if isinstance(when, str) else ""
                kept, key = self._readings[record.owner], (reading.code, reading.unit, zone + type(when).__name__)
                if key not in kept or str(kept[key].when) < str(when):  # of equals the first, as in extract
                    kept[key] = reading

    def owners(self) -> set[str]:
        """Of whom anything is known."""
        return self._readings.keys() | self._persons.keys()

    def of(self, owner: str) -> tuple[Person, tuple[Measurement, ...]]:
        """A patient's, as ``extract`` takes them."""
        found = []
        for reading in self._readings.get(owner, {}).values():
            at_ms = reading.when if isinstance(reading.when, int) else _to_ms(reading.when)
            if at_ms is not None:
                found.append(Measurement(reading.code, reading.value, reading.unit, at_ms))
        return self._persons.get(owner, Person()), tuple(found)


def _to_ms(text: str) -> int | None:
    """A full ISO 8601 moment in ms since the epoch; None for what is none. Without a zone it counts as UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _refusal(record: BulkRecord, owner: Kept | None, own: set[str]) -> TwinwardError | None:
    """Why nothing of this owner can be taken; None if it can."""
    if owner is None and record.owner not in own:
        return TwinNotFound("there is no twin of this patient yet", hint="import the Patient resource as well")
    if owner is not None and owner.category is None:
        return BelongsToAnother("this patient was erased", hint="a patient who returns takes a new id")
    return None


def _split(twin: TwinId, records: Iterable[BulkRecord], least: int) -> tuple[list[Record], list[Draft]]:
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
        [_mark_of(one) for one in records],
    )


def _mark_of(one: BulkRecord) -> str:
    return names.as_content(one.reference, one.category, one.content)


def _record(twin: TwinId, one: BulkRecord) -> Record:
    mark = _mark_of(one)
    return Record(twin, one.record_type, one.category, one.content, (one.reference, *one.found_by), mark=mark)


def _twin_of(patient: _Patient) -> TwinId:
    assert patient.twin is not None  # noqa: S101 - narrows the type: new twins were named before
    return patient.twin
