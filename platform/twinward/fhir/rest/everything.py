"""``$everything`` as it was asked: which of a patient's resources, and which page of them.

https://hl7.org/fhir/R4/patient-operation-everything.html.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from twinward.core.ids import UUID_PATTERN
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.json.values import ALWAYS, interval_of
from twinward.fhir.search.live import OBSERVATION, bounded
from twinward.fhir.search.parameters import SUBSETS, count_of, moment_of, require_served, types_of
from twinward.fhir.search.representation import COUNTED, WHOLE, Subset, read_subset, reference_of
from twinward.vault.interfaces import Record

EVERYTHING_PARAMETERS = ("_count", "_cursor", "_since", "_type", "end", "start", *SUBSETS)
MOST_MEASURED = 1_000
"""Observations of what was measured that come on one page where ``_count`` does not say: sampled hours, up to 15 MB."""
_CURSOR = re.compile(f"[01]{UUID_PATTERN}")


@dataclass(frozen=True, slots=True)
class Everything:
    """What was asked for. ``count`` is None for all at once; no types are all types; ``care`` is when it was given."""

    count: int | None = None
    after: str = ""
    since_ms: int = 0
    types: frozenset[str] = frozenset()
    care: tuple[int, int] = ALWAYS
    subset: Subset = WHOLE
    used: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def page(
        self, reference: str, records: Sequence[Record], measured: Iterator[Record] | None = None
    ) -> tuple[list[Record], int | None, str]:
        """One page out of all resources of the patient, how many there are on all pages, and the next page's cursor.

        The patient comes first, the others by record id; so what is deleted between two pages moves nothing else.
        Behind them comes what was measured, opened no further than the page goes: how many there are then nobody knows.

        Args:
            measured: what was, behind the cursor, by record id; None where nothing ever was.

        Raises:
            InvalidResource: only a number is asked for, and it is more than is counted.
        """
        asked = {self._standing(reference, one): one for one in records if self._matches(one)}
        places = [place for place in sorted(asked) if place > self.after]
        wanted = filter(self._matches, measured or ())
        if self.subset.only_counts:
            return [], len(asked) + sum(1 for _ in bounded(wanted)), ""
        shown = [asked[place] for place in (places if self.count is None else places[: self.count])]
        if len(shown) < len(places):
            return shown, len(asked) if measured is None else None, self._standing(reference, shown[-1])
        room = MOST_MEASURED if self.count is None else self.count - len(shown)
        shown += islice(wanted, room)
        if next(wanted, None) is None:
            return shown, len(asked) if measured is None else None, ""
        return shown, None, self._standing(reference, shown[-1])

    @property
    def has_measured(self) -> bool:
        """Whether what was measured may be among it."""
        return not self.types or OBSERVATION in self.types

    @property
    def measured(self) -> tuple[int, int]:
        """When it was measured: an Observation of what was is as new as its last value, so older hours hold none."""
        return max(self.care[0], self.since_ms), self.care[1]

    @property
    def after_record(self) -> str:
        """The record's id that what was measured comes behind."""
        return self.after[1:] if self.after.startswith("1") else ""

    def _matches(self, record: Record) -> bool:
        if record.committed_at_ms < self.since_ms or (self.types and record.record_type not in self.types):
            return False
        return self.care == ALWAYS or is_within(json.loads(record.content), self.care)

    def _standing(self, reference: str, record: Record) -> str:
        return f"{int(reference_of(record) != reference)}{record.record_id}"


def read_everything(pairs: Sequence[tuple[str, str]]) -> Everything:
    """What a request asks for. Raises ``InvalidResource`` for a parameter that is not served, or a value of none."""
    require_served("$everything", pairs, EVERYTHING_PARAMETERS)
    count, after, since_ms, types = None, "", 0, frozenset[str]()
    start, end = ALWAYS
    for name, value in pairs:
        if name == "_count":
            count = count_of(value)
        elif name == "_cursor":
            after = _cursor_of(value)
        elif name == "_since":
            since_ms = moment_of(name, value)[0]
        elif name == "_type":
            types |= types_of(value)
        elif name == "start":
            start = moment_of(name, value)[0]
        elif name == "end":
            end = moment_of(name, value)[1]
    subset = read_subset(pairs)
    used = tuple(pair for pair in pairs if pair[0] in EVERYTHING_PARAMETERS and pair[0] != "_cursor")
    return Everything(count, after, since_ms, types, (start, end), COUNTED if count == 0 else subset, used)


def _cursor_of(value: str) -> str:
    if not _CURSOR.fullmatch(value):
        raise InvalidResource(Issue("value", "", "_cursor comes from the next link and is used as it is"))
    return value


_LASTING = frozenset({"Condition", "AllergyIntolerance"})
"""What is there until it abates, and not only on the day it began."""

_DATES = (
    *("effectiveDateTime", "effectivePeriod", "effectiveInstant", "performedDateTime", "performedPeriod"),
    *("occurrenceDateTime", "occurrencePeriod", "onsetDateTime", "onsetPeriod", "timingDateTime", "timingPeriod"),
    *("period", "billablePeriod", "servicedDate", "servicedPeriod", "started", "start", "startDate"),
    *("whenHandedOver", "whenPrepared", "authoredOn", "authored", "dateTime", "date", "recordedDate", "recorded"),
    *("dateAsserted", "issued", "created"),
)
"""Elements that say it, of any type: the first that is there counts."""


def care_interval(resource: JsonObject) -> tuple[int, int] | None:
    """From when until when, in ms since the epoch, the end excluded; None where a resource does not say."""
    found = next((one for name in _DATES if (one := interval_of(resource.get(name))) is not None), None)
    if found is None or resource.get("resourceType") not in _LASTING:
        return found
    abated = interval_of(resource.get("abatementDateTime") or resource.get("abatementPeriod"))
    return found[0], abated[1] if abated else ALWAYS[1]


def is_within(resource: JsonObject, asked: tuple[int, int]) -> bool:
    """Whether a resource tells of care in this time; what says no date is in any time, and so is who it is about."""
    kept = None if resource.get("resourceType") == "Patient" else care_interval(resource)
    return kept is None or (kept[0] < asked[1] and asked[0] < kept[1])
