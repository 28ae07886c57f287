"""The walk of one import: planned, decided with the features in it, and written in one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from twinward.access.interfaces import NODE, AccessContext, AccessControl, AccessRequest, Permit
from twinward.core.clock import Clock
from twinward.core.ids import new_twin_id
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.features.derivation import (
    Evidence,
    FeaturesUnreadable,
    FeatureVector,
    Measurement,
    News,
    day_of,
    derive,
    end_of,
    evidence_of,
)
from twinward.features.schema import FeatureSchema
from twinward.twins import references as names
from twinward.twins.errors import TwinNotFound
from twinward.twins.ingest.features import FeatureNews, read_evidence
from twinward.twins.ingest.plan import Plan
from twinward.twins.models import PERSON_TYPE, TELLING_TYPES, PatientImport, Receipt
from twinward.vault.interfaces import Record, RecordVault


@dataclass(slots=True)
class _Step:
    """One import under way: what it would write, and by what permit (None: nothing has to be written)."""

    source: PatientImport
    plan: Plan
    is_new: bool
    news: FeatureNews | None = None
    permit: Permit | None = None
    vector: FeatureVector | None = None

    @property
    def tells_of_person(self) -> bool:
        """Whether the patient's own record is in it, as it stands from now on."""
        own = (one for one in self.source.records if one.reference == self.source.reference)
        return any(one.record_type == PERSON_TYPE and one.reference not in self.plan.passed for one in own)

    @property
    def measurements(self) -> Iterator[Measurement]:
        """The numbers in records that stand from now on as the import has them."""
        return (one for one in self.source.measurements if one.source not in self.plan.passed)

    @property
    def retold(self) -> Iterator[str]:
        """The names of records whose numbers kept so far stand no more."""
        measuring = (one.reference for one in self.source.records if one.record_type in TELLING_TYPES)
        return (reference for reference in measuring if reference in self.plan.retold)

    def receipt(self, written: Sequence[Record]) -> Receipt:
        """What became of it."""
        stored = self.plan.stored(written)
        if not written:
            return Receipt(self.plan.twin, created=False, stored=stored, source=self.source.source)
        return Receipt(self.plan.twin, self.is_new, stored, self.vector, self.source.source, written[0].committed_at_ms)


class Ingestion:
    """Takes imports in, one at a time. Arguments as of ``Twins``."""

    def __init__(self, vault: RecordVault, access: AccessControl, clock: Clock, schema: FeatureSchema) -> None:
        self._vault = vault
        self._access = access
        self._clock = clock
        self._schema = schema

    def take(self, context: AccessContext, source: PatientImport) -> Receipt:
        """Take one import in, all or nothing; see ``Twins.ingest``. The caller sees to it that it is the only one."""
        return self.take_all(context, [source])[0]

    def take_all(self, context: AccessContext, sources: Sequence[PatientImport]) -> list[Receipt]:
        """Take imports in, all of them or none, in one durable step. Raises as ``take``, before anything is written."""
        steps = [self._step(context, source) for source in sources]
        self._give_news(steps)
        for step in steps:
            if len(steps) > 1 and step.plan.records:  # before others are decided that will then not be written
                self._access.require(self._writing(context, step.plan, step.plan.categories))
        for step in steps:
            if step.plan.records or step.news is not None:
                step.permit, evidence = self._decided(context, step.plan, step.news, is_new=step.is_new)
                if evidence is not None:
                    step.vector = derive(self._schema, evidence, day_of(self._clock.now_ms()))
        permitted = [(step.permit, step) for step in steps if step.permit is not None]
        self._vault.create_twins([permit for permit, step in permitted if step.is_new])
        written = iter(self._vault.write_many([(permit, step.plan.records) for permit, step in permitted]))
        return [step.receipt([] if step.permit is None else next(written)) for step in steps]

    def _step(self, context: AccessContext, source: PatientImport) -> _Step:
        kept = self._vault.twins_of([source.reference]).get(source.reference)
        if kept is None and all(one.reference != source.reference for one in source.records):
            self._access.require(context.request(Action.WRITE))
            hint = "import the Patient resource first"
            raise TwinNotFound("there is no twin of this patient yet", reference=source.reference, hint=hint)
        twin = new_twin_id(self._clock.now_ms()) if kept is None else kept
        return _Step(source, Plan(self._vault, twin, source), is_new=kept is None)

    def _writing(self, context: AccessContext, plan: Plan, categories: frozenset[Category]) -> AccessRequest:
        return context.request(Action.WRITE, plan.twin, categories)

    def _decided(
        self, context: AccessContext, plan: Plan, news: FeatureNews | None, *, is_new: bool
    ) -> tuple[Permit | None, Evidence | None]:
        """The permit to write the plan, with the features in it; None where in the end nothing has to be written.

        To read the features kept so far and to write are decided together: one durable step of the log for both.
        """
        reading = None if news is None else self._reading(plan.twin, news)
        evidence = None
        if reading is None:
            evidence = None if news is None else news.into(plan, None)
            if not plan.records:
                return None, None
        categories = plan.categories if reading is None else plan.categories | reading.categories
        writing = self._writing(context, plan, categories)
        self._access.require(writing)  # logs the refusal and raises: nothing is opened for who may not write
        if is_new:
            self._vault.expect_twins([plan.twin])
        if reading is None:
            return self._access.decide(writing), evidence
        to_read, to_write = self._access.decide_many([reading, writing])
        # Consent may change between the two looks: the refusal is then raised here.
        to_write = to_write or self._access.decide(writing)
        assert news is not None  # noqa: S101 - narrows the type: there is something to join
        evidence = news.into(plan, None if to_read is None else self._readable(to_read))
        return to_write if plan.records else None, evidence

    def _reading(self, twin: TwinId, news: FeatureNews) -> AccessRequest | None:
        """The node's own request to read the features kept so far, which whoever files the record does not get to see.

        None where there are none to join, or they may not be read.
        """
        reading = AccessRequest(NODE, Action.READ, Purpose.RECORD_MANAGEMENT, twin, frozenset({Category.FEATURES}))
        return reading if news.joins_older and self._access.check(reading).permitted else None

    def _give_news(self, steps: Sequence[_Step]) -> None:
        """Say to each twin's last step what all of its steps say about the features: they are one record."""
        by_twin: dict[TwinId, list[_Step]] = {}
        for step in steps:
            by_twin.setdefault(step.plan.twin, []).append(step)
        for some in by_twin.values():
            some[-1].news = self._news(some)

    def _news(self, steps: Sequence[_Step]) -> FeatureNews | None:
        """What imports of one twin say about its features; None where that is nothing new."""
        twin = steps[0].plan.twin
        own, current = names.features_of(twin), names.features_under(twin, self._schema.fingerprint())
        coded = names.codes_under(twin, self._schema.codes.fingerprint)
        places = {} if any(step.is_new for step in steps) else self._vault.locate_many([own, current, coded])
        existing = places[own].record_id if own in places else None
        outdated = current not in places
        if not (
            outdated
            or (self._schema.codes.features and coded not in places)
            or any(step.plan.records for step in steps)
        ):
            return None
        until_ms = end_of(day_of(self._clock.now_ms()))
        told = [step.source for step in steps if step.tells_of_person]
        person = told[-1].person if told else None
        measurements = [one for step in steps for one in step.measurements]
        evidence = evidence_of(self._schema, person, measurements, until_ms)
        retold = frozenset(name for step in steps for name in step.retold)
        if evidence.is_empty and person is None and not (retold and existing):
            return None
        joins_older = existing is not None and not outdated
        news = News(evidence, until_ms, existing is not None, bool(told), retold)
        return FeatureNews(news, existing, joins_older)

    def _readable(self, permit: Permit) -> Evidence | None:
        try:
            return read_evidence(self._vault, self._schema, permit)
        except FeaturesUnreadable:
            return None
