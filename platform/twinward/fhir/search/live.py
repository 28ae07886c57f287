"""What came by the live pipe, among a named patient's Observations: made as it is read, kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from twinward.access.interfaces import AccessContext, Permit, categories_in
from twinward.core.vocabulary import Category, TwinId
from twinward.fhir.mapping.live_observations import LiveObservation, live_observations, place_from, place_of
from twinward.fhir.search.query import Query
from twinward.live.service import Live
from twinward.live.signals import LIVE_CATEGORIES
from twinward.twins.errors import RecordNotFound
from twinward.vault.interfaces import Record

_ENCODER = msgspec.json.Encoder()
OBSERVATION = "Observation"


@dataclass(frozen=True, slots=True)
class LiveRecords:
    """Observations of live twins as records are."""

    live: Live

    def are_in(self, query: Query, twin: TwinId) -> bool:
        """Whether a search shows any of a twin: of Observations, and by the patient alone. Opens nothing."""
        by_patient = all(name.startswith("Patient/") for names in query.named for name in names)
        plain = query.resource_type == OBSERVATION and by_patient and not query.chains
        return plain and self.live.has_measured(twin)

    def walk(
        self, context: AccessContext, twin: TwinId, subject: str, after: str = ""
    ) -> tuple[Iterator[Record], frozenset[Category]]:
        """All of a twin behind a record's id, opened as they are walked, and which categories are withheld."""
        permits = self.live.observed(context, twin, LIVE_CATEGORIES)
        return self._walked(permits, twin, subject, after), LIVE_CATEGORIES - categories_in(
            permit.request for permit in permits
        )

    def read(self, context: AccessContext, resource_id: str, subject: str) -> Record:
        """One by its id. Raises ``AccessDenied``, ``RecordNotFound``."""
        place = place_of(resource_id)
        if place is None:
            raise RecordNotFound("no such record")
        twin, category, time_ms = place
        permit = self.live.observed_one(context, twin, category)
        for hour in self.live.reader.windows(permit, category, first_ms=time_ms, last_ms=time_ms):
            for one in live_observations(twin, subject, hour):
                if one.resource["id"] == resource_id:
                    return _record(twin, one)
        raise RecordNotFound("no such record")

    def _walked(self, permits: Sequence[Permit], twin: TwinId, subject: str, after: str) -> Iterator[Record]:
        place, time_ms = place_from(after)
        for number, category in enumerate((Category.VITALS, Category.LABS, Category.MONITORING)):
            permit = next((one for one in permits if category in one.request.categories), None)
            if permit is None or number < place:
                continue
            first_ms = time_ms if number == place else 0
            for hour in self.live.reader.windows(permit, category, first_ms=first_ms):
                found = sorted(live_observations(twin, subject, hour), key=lambda one: one.record_id)
                yield from (_record(twin, one) for one in found if one.record_id > after)


def _record(twin: TwinId, one: LiveObservation) -> Record:
    return Record(
        twin,
        OBSERVATION,
        one.category,
        _ENCODER.encode(one.resource),
        (f"{OBSERVATION}/{one.resource['id']}",),
        one.record_id,
        version=1,
        committed_at_ms=one.last_ms,
    )
