"""Twins: the story of each walk. Every method asks access control first; the vault opens nothing without its permit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import NoReturn

from twinward.access.interfaces import AccessContext, AccessControl, Permit, categories_in, require_records
from twinward.core.clock import Clock
from twinward.core.errors import outcome_of
from twinward.core.turns import Turn
from twinward.core.vocabulary import RECORD_CATEGORIES, Action, Category, TwinId
from twinward.features.derivation import Evidence, FeatureVector, day_of, derive
from twinward.features.schema import CARDIOMETABOLIC, FeatureSchema
from twinward.twins import references as names
from twinward.twins.errors import BelongsToAnother, RecordDeleted, RecordNotFound, TwinNotFound
from twinward.twins.ingest.bulk_import import BulkImport
from twinward.twins.ingest.features import read_evidence
from twinward.twins.ingest.ingestion import Ingestion
from twinward.twins.ingest.queue import IngestQueue
from twinward.twins.interfaces import Progress, TwinList
from twinward.twins.models import DIRECTORY, NOTHING_KEPT, STAY_TYPE, PatientImport, Receipt
from twinward.twins.read.changes import Changes
from twinward.twins.read.each import Opened, read_each
from twinward.twins.read.search import RecordSearch
from twinward.twins.read.versions import Versions
from twinward.twins.state.states import TwinStates
from twinward.twins.state.targets import Targets
from twinward.vault.interfaces import Record, RecordHead, RecordVault


class Twins:
    """The hospital's twins.

    Args:
        vault: where their records are sealed.
        index: who knows which twins are kept: the vault's record store.
        access: what decides.
        clock: for new ids and for ages.
        schema: the features derived at import.
        writing: the turn of whoever changes twins: what is looked at in it stays as it is until it is over.
        conditions: the turn of whoever writes on a condition that is a search. Taken before ``writing``, never in it.
    """

    def __init__(
        self,
        vault: RecordVault,
        index: TwinList,
        access: AccessControl,
        clock: Clock,
        schema: FeatureSchema = CARDIOMETABOLIC,
        *,
        writing: Turn | None = None,
        conditions: Turn | None = None,
    ) -> None:
        self._vault = vault
        self._index = index
        self._access = access
        self._clock = clock
        self.schema = schema
        self.writing = writing or Turn()
        self.conditions = conditions or Turn()
        self._ingestion = Ingestion(vault, access, clock, schema)
        self.arriving = IngestQueue(self.writing, self._ingestion)

    @cached_property
    def versions(self) -> Versions:
        """The versions of one record."""
        return Versions(self._vault, self._access, self._take, self.writing)

    @cached_property
    def search(self) -> RecordSearch:
        """Finding records of one type."""
        return RecordSearch(self._vault, self._access)

    @cached_property
    def changes(self) -> Changes:
        """What was written, across twins."""
        return Changes(self._vault, self._access)

    @cached_property
    def states(self) -> TwinStates:
        """Twins as their features stand."""
        return TwinStates(self._vault, self._access, self.schema, self._clock)

    @cached_property
    def targets(self) -> Targets:
        """Care targets."""
        return Targets(self._vault, self._access, self.states, self.writing)

    def ingest(self, context: AccessContext, source: PatientImport) -> Receipt:
        """Take one import in, all or nothing: new records, and new versions of those that changed.

        Importing the same again writes nothing. A patient's first import makes the twin.

        Raises:
            AccessDenied: the principal may not write here, or not to the twin that keeps one of its references.
            TwinNotFound: no twin yet, and the import does not carry the patient's own record.
            BelongsToAnother: one of its references is kept under another twin.
            VersionMismatch: one of them does not follow the version it was made to follow.
        """
        return self._take(context, source)

    def ingest_each(self, asked: Sequence[tuple[AccessContext, PatientImport]]) -> list[Receipt | Exception]:
        """What ``ingest`` gives or raises for each of several imports, which have nothing to do with each other."""
        outcomes = self.arriving.take_each(asked)
        return [
            outcome_of(partial(self._told_another, context, outcome))
            if isinstance(outcome, BelongsToAnother)
            else outcome
            for (context, _), outcome in zip(asked, outcomes, strict=True)
        ]

    def ingest_together(self, context: AccessContext, sources: Sequence[PatientImport]) -> list[Receipt]:
        """Take in what belongs together, of one patient or several: all of it or nothing, in one durable step.

        Raises as ``ingest``, before anything is written.
        """
        with self._telling(context), self.writing:
            return self._ingestion.take_all(context, sources)

    def ingest_all(
        self, context: AccessContext, sources: Iterable[PatientImport], *, progress: Progress | None = None
    ) -> list[Receipt]:
        """Take many imports in, one after the other; what landed before an error stays."""
        receipts: list[Receipt] = []
        for source in sources:
            receipt = self.ingest(context, source)
            receipts.append(receipt)
            if progress is not None:
                progress(receipt)
        return receipts

    def bulk_import(self, context: AccessContext) -> BulkImport:
        """One import of very many records, straight into segments."""
        return BulkImport(self, self._vault, self._access, self._clock, context)

    def read(
        self, context: AccessContext, twin: TwinId, categories: Iterable[Category], *, record_type: str | None = None
    ) -> list[Record]:
        """Open a twin's records of these categories. All or none: one category that may not be read denies all.

        Raises:
            AccessDenied: one of them may not be read.
            NotARecord: derived data is among them, which is no record.
        """
        wanted = frozenset(categories)
        require_records(wanted)
        permit = self._access.decide(context.request(Action.READ, twin, wanted))
        records = self._vault.read_twin(permit, record_type=record_type)
        return [record for record in records if record.content != names.DELETED]

    def read_permitted(self, context: AccessContext, reference: str) -> tuple[list[Record], frozenset[Category]]:
        """Open what this principal may see of the twin that keeps a reference; also say which categories were withheld.

        Raises:
            AccessDenied, RecordNotFound: as ``read_reference``.
        """
        twin = self._vault.twins_of([reference]).get(reference)
        if twin is None:
            raise self._absent(context)
        permits = self._access.decide_part(context.request(Action.READ, twin, RECORD_CATEGORIES))
        records = [one for permit in permits for one in self._vault.read_twin(permit)]
        kept = [record for record in records if record.content != names.DELETED]
        return kept, RECORD_CATEGORIES - categories_in(permit.request for permit in permits)

    def read_reference(self, context: AccessContext, reference: str) -> Record:
        """Open the newest version of one record.

        Raises:
            AccessDenied: the principal may not read it; also for a reference that is not kept, if the principal may
                read nothing in general, so that a stranger cannot learn who is a patient here.
            RecordNotFound: it is not kept.
            RecordDeleted: its newest version is a deletion.
        """
        place = self._vault.locate(reference)
        if place is None:
            raise self._absent(context)
        permit = self._access.decide(context.request(Action.READ, place.twin, place.categories))
        record = self._vault.read(permit, place.record_id)
        if record.content == names.DELETED:
            raise RecordDeleted("this record was deleted", hint="its earlier versions are in its history")
        return record

    def read_each(self, asked: Sequence[tuple[AccessContext, str]]) -> list[Opened | Exception]:
        """``read_reference`` of many, each by itself: the record, what opens it where that is left to whoever asked,
        or what is raised. Logged in one durable step."""
        return read_each(self._vault, self._access, asked)

    def directory(self) -> TwinId | None:
        """The twin of what belongs to no patient; None before anything is in it."""
        return self._vault.twins_of([DIRECTORY]).get(DIRECTORY)

    def require(self, context: AccessContext, action: Action) -> None:
        """Refuse, and log it, whoever may not do this to any twin: before what they send is looked at."""
        self._access.require(context.request(action))

    def find(self, reference: str) -> TwinId:
        """The twin a reference is kept under. Opens nothing. Raises ``TwinNotFound``."""
        twin = self._vault.twins_of([reference]).get(reference)
        if twin is None:
            raise TwinNotFound("there is no twin of this patient", hint="import the patient first")
        return twin

    def all(self, start: str = "", most: int | None = None) -> list[TwinId]:
        """Patients' twins by id, from ``start`` on, so many at most, or all; the directory is not a patient."""
        directory = self.directory()
        found = self._index.twins(start, None if most is None else most + 1)
        return [twin for twin in found if twin != directory][:most]

    def feature_vector(self, permit: Permit) -> FeatureVector | None:
        """The twin's features as they stand today, under a permit that covers them; None if it has none.

        Raises:
            FeaturesUnreadable: stored under another schema.
        """
        evidence = self.evidence(permit)
        return None if evidence is None else derive(self.schema, evidence, day_of(self._clock.now_ms()))

    def evidence(self, permit: Permit) -> Evidence | None:
        """What the twin's features are derived from. Raises as ``feature_vector``."""
        return read_evidence(self._vault, self.schema, permit)

    def keep_stay(self, context: AccessContext, twin: TwinId, content: bytes, *, name: str = "1") -> Record:
        """Seal one monitored stay (``features.monitored_stays.encode_stay``); the same name again is a new version."""
        return self.keep_stays(context, [(twin, content)], name=name)[0]

    def keep_stays(
        self, context: AccessContext, stays: Sequence[tuple[TwinId, bytes]], *, name: str = "1"
    ) -> list[Record]:
        """Seal many stays, one per twin. Raises ``AccessDenied`` before anything is written if one is refused."""
        requests = [context.request(Action.WRITE, twin, frozenset({Category.MONITORING})) for twin, _ in stays]
        self._access.require(*requests)
        permits = self._access.decide_all(requests)
        written: list[Record] = []
        with self.writing:
            for permit, (twin, content) in zip(permits, stays, strict=True):
                reference = names.stay_of(twin, name)
                kept = self._vault.locate(reference)
                record_id = None if kept is None else kept.record_id
                record = Record(
                    twin, STAY_TYPE, Category.MONITORING, content, (reference,), record_id=record_id, alone=True
                )
                written += self._vault.write(permit, [record])
        return written

    def read_stays(self, context: AccessContext, twin: TwinId) -> list[Record]:
        """Open a twin's monitored stays."""
        wanted = {Category.MONITORING}
        return self.read(context, twin, wanted, record_type=STAY_TYPE)

    def _take(self, context: AccessContext, source: PatientImport) -> Receipt:
        with self._telling(context):
            return self.arriving.take(context, source)

    @contextmanager
    def _telling(self, context: AccessContext) -> Iterator[None]:
        """Log that somebody is told that a reference is another patient's, as an event of that patient's."""
        try:
            yield
        except BelongsToAnother as error:
            self._told_another(context, error)

    def _told_another(self, context: AccessContext, error: BelongsToAnother) -> NoReturn:
        self.search.note(context, self._newest(error.reference), "another-patient")
        raise error

    def _newest(self, reference: str) -> RecordHead | None:
        heads = self._vault.heads(reference)
        return heads[-1] if heads else None

    def _absent(self, context: AccessContext) -> RecordNotFound:
        """What whoever reads is told of a reference that is not kept; logged. Raises ``AccessDenied``: not that."""
        self._access.decide(context.request(Action.READ, detail=NOTHING_KEPT))
        return RecordNotFound("no record is kept under this reference")
