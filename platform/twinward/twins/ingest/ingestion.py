"""The walk of one import: planned, decided with the features in it, and written in one step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeGuard

from twinward.access.interfaces import NODE, AccessContext, AccessControl, AccessRequest, Permit
from twinward.core.clock import Clock
from twinward.core.errors import Unavailable, told
from twinward.core.ids import new_twin_id
from twinward.core.one_look import one_look
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
from twinward.vault.errors import RecordDamaged
from twinward.vault.interfaces import Record, RecordVault

_TRIED_WHILE_DOWN = 2
"""Imports of one step that are tried alone while what they need does not answer."""


@dataclass(slots=True)
class _Step:
    """One import under way: what it would write, what that takes leave for, and what was given leave.

    Attributes:
        reading: the node's own request to read the features kept so far; None where there are none to join, or they
            may not be read.
        writing: None where nothing has to be written.
        is_decided: whether leave was given, and is in the log.
        is_made: whether a new twin's keys are there.
    """

    context: AccessContext
    source: PatientImport
    plan: Plan
    is_new: bool
    news: FeatureNews | None = None
    reading: AccessRequest | None = None
    writing: AccessRequest | None = None
    evidence: Evidence | None = None
    permit: Permit | None = None
    vector: FeatureVector | None = None
    is_decided: bool = False
    is_made: bool = False

    @property
    def requests(self) -> tuple[AccessRequest, ...]:
        """What is to be decided."""
        return tuple(one for one in (self.reading, self.writing) if one is not None)

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
    """Takes imports in: one caller at a time, which ``queue`` sees to. Arguments as of ``Twins``."""

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
            self._prepare(step)
        return self._finish(steps)

    def take_each(self, asked: Sequence[tuple[AccessContext, PatientImport]]) -> list[Receipt | Exception]:
        """Take imports in that do not wait for each other, in as many durable steps as one takes.

        What becomes of one changes nothing for another: each has its receipt, or the error that ``take`` raises. The
        caller sees to it that no two of them write a record of one name, and that no one needs a patient another makes.
        """
        outcomes: dict[int, Receipt | Exception] = {}
        steps: dict[int, _Step] = {}
        ready: dict[int, _Step] = {}
        with one_look():
            for number, (context, source) in enumerate(asked):
                with told(outcomes, number):
                    steps[number] = self._step(context, source)
            # Several of one twin share one record of its features: apart, each has another to write, and asks anew.
            alone = {next(iter(some)) for some in _by_twin(steps).values() if len(some) == 1}
            for some in _by_twin(steps).values():
                ready |= self._ready(some, outcomes)
        try:
            outcomes |= dict(zip(ready, self._finish(list(ready.values())), strict=True))
        except Exception as error:  # noqa: BLE001 - it is told to who asked
            if len(asked) == 1:
                outcomes[0] = error
        down: list[Exception] = []
        for number, (context, source) in enumerate(asked):
            if number in outcomes:
                continue
            if len(down) == _TRIED_WHILE_DOWN:  # whoever waits for the turn does not wait for each of them to fail
                outcomes[number] = down[-1]
                continue
            # Something is wrong with one of them: which one, each by itself tells.
            step = ready.get(number)
            with told(outcomes, number):
                if step is not None and step.is_decided and number in alone:
                    outcomes[number] = self._write([step])[0]
                else:
                    outcomes[number] = self.take(context, source)
            down = [*down, outcome] if _is_down(outcome := outcomes[number]) else []
        return [outcomes[number] for number in range(len(asked))]

    def _ready(self, some: dict[int, _Step], outcomes: dict[int, Receipt | Exception]) -> dict[int, _Step]:
        """One twin's steps, prepared. What one of them says about the features, the last one writes for all: so
        several go together only where none is refused. A single one is told what becomes of it."""
        steps = list(some.values())
        if len(steps) > 1:
            self._give_news(steps)
            with suppress(Exception):  # each is taken alone then, and told
                for step in steps:
                    self._ask(step)
                if self._access.may(*(step.writing for step in steps if step.writing is not None)):
                    return some
            return {}
        for number, step in some.items():
            with told(outcomes, number):
                self._give_news([step])
                self._prepare(step)
                return some
        return {}

    def _finish(self, steps: Sequence[_Step]) -> list[Receipt]:
        """Decide what is prepared in one durable step, and write it in another."""
        self._decide([step for step in steps if step.writing is not None])
        return self._write(steps)

    def _write(self, steps: Sequence[_Step]) -> list[Receipt]:
        """Write what was decided, in one durable step."""
        permitted = [(step.permit, step) for step in steps if step.permit is not None]
        making = [(permit, step) for permit, step in permitted if step.is_new and not step.is_made]
        self._vault.create_twins([permit for permit, _ in making])
        for _, step in making:
            step.is_made = True
        with one_look():
            written = iter(self._vault.write_many([(permit, step.plan.records) for permit, step in permitted]))
        return [step.receipt([] if step.permit is None else next(written)) for step in steps]

    def _step(self, context: AccessContext, source: PatientImport) -> _Step:
        kept = self._vault.twins_of([source.reference]).get(source.reference)
        if kept is None and all(one.reference != source.reference for one in source.records):
            self._access.require(context.request(Action.WRITE))
            hint = "import the Patient resource first"
            raise TwinNotFound("there is no twin of this patient yet", reference=source.reference, hint=hint)
        twin = new_twin_id(self._clock.now_ms()) if kept is None else kept
        return _Step(context, source, Plan(self._vault, twin, source), is_new=kept is None)

    def _prepare(self, step: _Step) -> None:
        """``_ask``. Raises ``AccessDenied`` (logged): nothing is opened for who may not write."""
        self._ask(step)
        if step.writing is not None:
            self._access.require(step.writing)

    def _ask(self, step: _Step) -> None:
        """Say what a step needs leave for: to read the features kept so far is decided together with the write."""
        plan, news = step.plan, step.news
        step.reading = None if news is None else self._reading(plan.twin, news)
        if step.reading is None and news is not None:
            step.evidence = news.into(plan, None)
        if step.reading is None and not plan.records:
            return
        categories = plan.categories if step.reading is None else plan.categories | step.reading.categories
        step.writing = step.context.request(Action.WRITE, plan.twin, categories)

    def _decide(self, steps: Sequence[_Step]) -> None:
        """Give steps their permits, and the features that go with them: one durable step of the log for all."""
        self._vault.expect_twins([step.plan.twin for step in steps if step.is_new])
        permits = iter(self._access.decide_many([request for step in steps for request in step.requests]))
        with one_look():
            for step in steps:
                assert step.writing is not None  # noqa: S101 - narrows the type: the caller chose those
                to_read = None if step.reading is None else next(permits)
                # Consent may change between the two looks: the refusal is then raised here.
                to_write = next(permits) or self._access.decide(step.writing)
                if step.reading is not None and step.news is not None:
                    step.evidence = step.news.into(step.plan, None if to_read is None else self._readable(to_read))
                step.permit = to_write if step.plan.records else None
                if step.evidence is not None:
                    step.vector = derive(self._schema, step.evidence, day_of(self._clock.now_ms()))
                step.is_decided = True

    def _reading(self, twin: TwinId, news: FeatureNews) -> AccessRequest | None:
        """The node's own request to read the features kept so far, which whoever files the record does not get to see.

        None where there are none to join, or they may not be read.
        """
        reading = AccessRequest(NODE, Action.READ, Purpose.RECORD_MANAGEMENT, twin, frozenset({Category.FEATURES}))
        return reading if news.joins_older and self._access.may(reading) else None

    def _give_news(self, steps: Sequence[_Step]) -> None:
        """Say to each twin's last step what all of its steps say about the features: they are one record."""
        for some in _by_twin(dict(enumerate(steps))).values():
            together = list(some.values())
            together[-1].news = self._news(together)

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


def _is_down(outcome: Receipt | Exception) -> TypeGuard[Unavailable]:
    """Whether what imports need does not answer: not where one patient's key is damaged, which stops nobody else's."""
    return isinstance(outcome, Unavailable) and not isinstance(outcome.__cause__, RecordDamaged)


def _by_twin(steps: dict[int, _Step]) -> dict[TwinId, dict[int, _Step]]:
    found: dict[TwinId, dict[int, _Step]] = {}
    for number, step in steps.items():
        found.setdefault(step.plan.twin, {})[number] = step
    return found
