"""What came by the live pipe, among a named patient's Observations: made as it is read, kept nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from twinward.access.interfaces import AccessContext, Permit, categories_in
from twinward.core.vocabulary import Category, TwinId
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.values import ALWAYS
from twinward.fhir.mapping.live_observations import LiveObservation, live_observations, place_from, place_of
from twinward.fhir.search.query import Query
from twinward.live.service import Live
from twinward.live.signals import LIVE_CATEGORIES
from twinward.twins.errors import RecordNotFound
from twinward.vault.interfaces import Record

_ENCODER = msgspec.json.Encoder()
OBSERVATION = "Observation"
LEFT_OUT: Final = "what live twins measured is shown where the patient is named, in $everything and in exports"
MOST_MEASURED: Final = 20_000
MOST_MEASURED_BYTES: Final = 64 * 1024 * 1024
"""Of Observations that were measured, of one patient, which are sorted or counted."""
_FOREVER_MS: Final = 1 << 50


@dataclass(frozen=True, slots=True)
class LiveRecords:
    """Observations of live twins as records are."""

    live: Live

    def are_in(self, query: Query, twin: TwinId) -> bool:
        """Whether a search shows any of a twin: of Observations, and by the patient alone. Opens nothing."""
        by_patient = all(name.startswith("Patient/") for names in query.named for name in names)
        plain = query.resource_type == OBSERVATION and by_patient and not query.chains
        return plain and self.live.has_measured(twin)

    def are_left_out(self, query: Query) -> bool:
        """Whether a search shows none of them though there are some: it would have to open everybody's series."""
        return query.resource_type == OBSERVATION and not query.named and self.live.has_any()

    def walk(
        self, context: AccessContext, twin: TwinId, subject: str, after: str = "", care: tuple[int, int] = ALWAYS
    ) -> tuple[Iterator[Record], frozenset[Category]]:
        """All of a twin behind a record's id, opened as they are walked, and which categories are withheld.

        Args:
            care: hours that hold nothing of it are not opened.
        """
        permits = self.live.observed(context, twin, LIVE_CATEGORIES)
        return self._walked(permits, twin, subject, after, care), LIVE_CATEGORIES - categories_in(
            permit.request for permit in permits
        )

    def leaving(self, context: AccessContext, twin: TwinId, subject: str, since_ms: int) -> Iterator[Record]:
        """All of a twin that may be exported, of hours of which anything was stored since; opened as they are walked.

        Whose permit ends, or who is forbidden meanwhile, is asked for and left out hour by hour.
        """
        if self.live.has_measured(twin):
            for hour in self.live.leaving.hours(context, twin, since_ms):
                found = sorted(live_observations(twin, subject, hour), key=lambda one: one.record_id)
                yield from (_record(twin, one) for one in found)

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

    def _walked(
        self, permits: Sequence[Permit], twin: TwinId, subject: str, after: str, care: tuple[int, int]
    ) -> Iterator[Record]:
        place, time_ms = place_from(after)
        for number, category in enumerate((Category.VITALS, Category.LABS, Category.MONITORING)):
            permit = next((one for one in permits if category in one.request.categories), None)
            if permit is None or number < place:
                continue
            first_ms = max(time_ms if number == place else 0, care[0])
            for hour in self.live.reader.windows(
                permit, category, first_ms=first_ms, last_ms=min(care[1], _FOREVER_MS)
            ):
                found = sorted(live_observations(twin, subject, hour), key=lambda one: one.record_id)
                yield from (_record(twin, one) for one in found if one.record_id > after)


def bounded(measured: Iterable[Record]) -> Iterator[Record]:
    """So many of what was measured as are held in memory at once. Raises ``InvalidResource``: there are more."""
    size = 0
    for number, record in enumerate(measured, 1):
        size += len(record.content)
        if number > MOST_MEASURED or size > MOST_MEASURED_BYTES:
            text = f"what was measured of a patient is sorted and counted up to {MOST_MEASURED} Observations, 64 MiB"
            hint = "narrow it by date or code, or ask without _sort"
            raise InvalidResource(Issue("too-costly", "", text), hint=hint)
        yield record


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
