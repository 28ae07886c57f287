"""The walk of one import: planned, decided with the features in it, and written in one step."""

from __future__ import annotations

from datetime import UTC, datetime

from twinward.access.interfaces import AccessControl, AccessRequest, Permit, Principal
from twinward.clock import Clock
from twinward.feature_schema import FeatureSchema
from twinward.identifiers import new_twin_id
from twinward.twins import references as names
from twinward.twins.errors import FeaturesUnreadable, TwinNotFound
from twinward.twins.features import FeatureVector, extract
from twinward.twins.gate import require_in_general
from twinward.twins.models import PatientImport, Receipt
from twinward.twins.plan import FeatureNews, Plan, read_features
from twinward.vault.interfaces import RecordVault
from twinward.vocabulary import Action, Category, Purpose, TwinId


class Ingestion:
    """Takes imports in, one at a time. Arguments as of ``Twins``."""

    def __init__(self, vault: RecordVault, access: AccessControl, clock: Clock, schema: FeatureSchema) -> None:
        self._vault = vault
        self._access = access
        self._clock = clock
        self._schema = schema

    def take(self, principal: Principal, source: PatientImport, purpose: Purpose) -> Receipt:
        """Take one import in, all or nothing; see ``Twins.ingest``. The caller sees to it that it is the only one."""
        kept = self._vault.locate_many([source.reference]).get(source.reference)
        if kept is None and all(one.reference != source.reference for one in source.records):
            require_in_general(self._access, principal, Action.WRITE, purpose)
            raise TwinNotFound("there is no twin of this patient yet", hint="import the Patient resource first")
        twin = new_twin_id(self._clock.now_ms()) if kept is None else kept[0]
        plan = Plan(self._vault, twin, source)
        news = self._news(plan, source, is_new=kept is None)
        if not plan.records and news is None:
            return Receipt(twin, created=False, stored=plan.stored(()), source=source.source)
        permit, vector = self._decided(principal, purpose, plan, news, is_new=kept is None)
        if permit is None:
            return Receipt(twin, created=False, stored=plan.stored(()), source=source.source)
        if kept is None:
            self._vault.create_twin(permit)
        written = self._vault.write(permit, plan.records)
        stored, at_ms = plan.stored(written), written[0].committed_at_ms
        return Receipt(twin, kept is None, stored, vector, source.source, at_ms)

    def _decided(
        self, principal: Principal, purpose: Purpose, plan: Plan, news: FeatureNews | None, *, is_new: bool
    ) -> tuple[Permit | None, FeatureVector | None]:
        """The permit to write the plan, with the features in it; None where in the end nothing has to be written.

        To read the features kept so far and to write are decided together: one durable step of the log for both.
        """
        reading = None if news is None else self._reading(principal, purpose, plan.twin, news)
        vector = None
        if reading is None:
            vector = None if news is None else news.into(plan, None)
            if not plan.records:
                return None, None
        categories = plan.categories if reading is None else plan.categories | reading.categories
        writing = AccessRequest(principal, Action.WRITE, purpose, plan.twin, categories)
        if not self._access.check(writing).permitted:
            self._access.decide(writing)  # logs the refusal and raises: nothing is opened for who may not write
        if is_new:
            self._vault.expect_twins([plan.twin])
        if reading is None:
            return self._access.decide(writing), vector
        to_read, to_write = self._access.decide_many([reading, writing])
        # Consent may change between the two looks: the refusal is then raised here, by the gate itself.
        to_write = to_write or self._access.decide(writing)
        assert news is not None  # noqa: S101 - narrows the type: there is something to join
        vector = news.into(plan, None if to_read is None else self._readable(to_read))
        return to_write if plan.records else None, vector

    def _reading(self, principal: Principal, purpose: Purpose, twin: TwinId, news: FeatureNews) -> AccessRequest | None:
        """The request to read the features kept so far; None where there are none to join, or they may not be read."""
        reading = AccessRequest(principal, Action.READ, purpose, twin, frozenset({Category.FEATURES}))
        return reading if news.joins_older and self._access.check(reading).permitted else None

    def _news(self, plan: Plan, source: PatientImport, *, is_new: bool) -> FeatureNews | None:
        """What the import says about the twin's features; None where that is nothing new."""
        own, current = names.features_of(plan.twin), names.features_under(plan.twin, self._schema.fingerprint())
        places = {} if is_new else self._vault.locate_many([own, current])
        outdated = current not in places
        if not (plan.records or outdated):
            return None
        today = datetime.fromtimestamp(self._clock.now_ms() / 1000, tz=UTC).date()
        vector = extract(self._schema, source.person, source.measurements, today)
        if not vector.readings:
            return None  # all defaults: such a twin would look like the average patient to every query
        existing = places[own][1] if own in places else None
        whole = any(one.reference == source.reference for one in source.records)
        return FeatureNews(
            self._schema, vector, existing, joins_older=existing is not None and not outdated, whole=whole
        )

    def _readable(self, permit: Permit) -> FeatureVector | None:
        try:
            return read_features(self._vault, self._schema, permit)
        except FeaturesUnreadable:
            return None
