"""A twin as its features stand, now or then: what was measured, and what care aims at.

A twin's *parts* are the records behind it: the feature vector, and one care target for each feature that has one. Each
version of a part is one revision of the twin, in the order in which they were committed (those of one millisecond: the
feature vector first, then targets in the schema's order). So the revision is the number of all versions, it grows by
one with every change, and nothing has to be opened to know it.

What a feature shows needs leave to read the category it is measured in (``labs`` for HbA1c), and what was measured
needs leave to read ``features`` besides.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from twinward.access.interfaces import AccessContext, AccessControl, Permit
from twinward.core.clock import Clock, iso
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Category, TwinId
from twinward.features.derivation import FeatureVector, day_of, derive, from_content
from twinward.features.schema import FeatureSchema
from twinward.twins import references as names
from twinward.twins.errors import RevisionNotFound
from twinward.vault.errors import TwinShredded
from twinward.vault.interfaces import RecordHead, RecordVault

VECTOR = ""
"""The name of the part that holds what was measured; every other part is named after its feature."""

JsonObject = dict[str, Any]

_MEASURED_IN = {
    **dict.fromkeys(("age", "sex_female"), Category.DEMOGRAPHICS),
    **dict.fromkeys(("bmi", "systolic_mmhg", "diastolic_mmhg", "heart_rate"), Category.VITALS),
}


def category_of(feature: str) -> Category:
    """The category a feature is measured in, and its care target is sealed under."""
    return _MEASURED_IN.get(feature, Category.LABS)


@dataclass(frozen=True, slots=True)
class Outline:
    """Which versions a twin consists of at one revision. Nothing was opened to know it.

    Attributes:
        twin: whose.
        revision: how many changes there were; 0 for a twin without features and targets.
        modified_ms: when the last of them was committed.
        versions: the newest version of each part.
        on: the day it is seen on, which ages are of: today for the present revision, else the day that was asked for,
            or on which the revision came about.
    """

    twin: TwinId
    revision: int
    modified_ms: int
    versions: Mapping[str, RecordHead] = field(repr=False)
    on: date

    def version(self, part: str) -> int:
        """The version of a part, 0 if there is none."""
        head = self.versions.get(part)
        return 0 if head is None else head.version


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of a twin: which part of it (``VECTOR``, or a feature's target), and when."""

    number: int
    part: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class FeatureState:
    """One feature. ``properties`` is None where nothing was measured, ``desired`` where care has no target."""

    properties: JsonObject | None = field(default=None, repr=False)
    desired: JsonObject | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TwinState:
    """What a principal may see of a twin at one revision; ``withheld`` categories it may not."""

    outline: Outline
    features: Mapping[str, FeatureState] = field(repr=False)
    withheld: frozenset[Category]


class TwinStates:
    """Reads twins' states. Every opening is decided first.

    Args:
        vault: where the parts are sealed.
        access: what decides.
        schema: which features there are.
        clock: for ages.
    """

    def __init__(self, vault: RecordVault, access: AccessControl, schema: FeatureSchema, clock: Clock) -> None:
        self._vault = vault
        self._clock = clock
        self._access = access
        self.schema = schema
        self.units = {feature.name: feature.unit for feature in schema.features}
        self._categories = frozenset({Category.FEATURES, *map(category_of, self.units)})
        self._codes = {feature.name: feature.loinc for feature in schema.features}

    def outline(self, twin: TwinId, *, revision: int | None = None, at_ms: int | None = None) -> Outline:
        """A twin's versions now, at a revision or at a time. Opens nothing.

        Raises:
            RevisionNotFound: it had no such revision, or none yet at that time.
            TwinShredded: its key is gone.
        """
        changes = self._changes(twin)
        now_ms = self._clock.now_ms()
        seen_ms = now_ms if at_ms is None else min(at_ms, now_ms)
        if revision is not None:
            if not 1 <= revision <= len(changes):
                raise RevisionNotFound(sentence("the twin has the revisions 1 to {newest}", newest=len(changes)))
            if revision < len(changes):
                seen_ms = changes[revision - 1][1].committed_at_ms
            changes = changes[:revision]
        elif at_ms is not None:
            changes = changes[: bisect.bisect_right(changes, at_ms, key=lambda change: change[1].committed_at_ms)]
            if not changes:
                raise RevisionNotFound(sentence("the twin had no features yet at {at}", at=iso(at_ms)))
        modified_ms = max((head.committed_at_ms for _, head in changes), default=0)
        return Outline(twin, len(changes), modified_ms, dict(changes), day_of(seen_ms))

    def listed(self, context: AccessContext, twins: Sequence[TwinId]) -> list[Outline]:
        """The outlines of those twins of which this principal may see something, decided in one durable step.

        Whom it may see nothing of is left out, as if not there, and logged as refused. Nothing is opened.
        """
        detail = (("list", "outlines"),)
        requests = [context.request(Action.READ, twin, self._categories, detail=detail) for twin in twins]
        seen = {permit.request.twin for permit in self._access.decide_parts(requests)}
        found = []
        for twin in twins:
            if twin in seen:
                with suppress(TwinShredded):  # it is there no more
                    found.append(self.outline(twin))
        return found

    def nothing_of(self, twin: TwinId) -> Outline:
        """The outline of a twin that has nothing to show."""
        return Outline(twin, 0, 0, {}, day_of(self._clock.now_ms()))

    def history(self, context: AccessContext, twin: TwinId) -> list[Revision]:
        """Every change of a twin, oldest first, of the parts this principal may read. No content is opened.

        Raises:
            AccessDenied: it may read none of them.
            TwinNotFound, TwinShredded: there is no such twin.
        """
        detail = (("history", "features"),)
        request = context.request(Action.READ, twin, self._categories, detail=detail)
        seen = {category for permit in self._access.decide_part(request) for category in _of(permit)}
        self._vault.record_types(twin)
        return [
            Revision(number, part, head.committed_at_ms)
            for number, (part, head) in enumerate(self._changes(twin), start=1)
            if (Category.FEATURES if part == VECTOR else category_of(part)) in seen
        ]

    def read(self, context: AccessContext, outline: Outline, *, detail: tuple[tuple[str, str], ...] = ()) -> TwinState:
        """Open what this principal may see of a twin, at the revision that the outline names.

        Raises:
            AccessDenied: nothing of it may be seen.
            TwinNotFound, TwinShredded: there is no such twin.
        """
        wanted = self._categories
        request = context.request(Action.READ, outline.twin, wanted, detail=detail)
        permits = {category: permit for permit in self._access.decide_part(request) for category in _of(permit)}
        self._vault.record_types(outline.twin)  # there is such a twin: only who may read it is told
        features = self._features(outline, permits)
        return TwinState(outline, features, wanted - permits.keys())

    def read_feature(
        self, context: AccessContext, outline: Outline, feature: str, *, measured: bool = True
    ) -> FeatureState:
        """Open one feature, all of it or none; without ``measured`` its target only.

        Raises:
            AccessDenied: a category it needs may not be read.
            TwinNotFound, TwinShredded: there is no such twin.
        """
        wanted = frozenset({category_of(feature)} | ({Category.FEATURES} if measured else set()))
        permit = self._access.decide(context.request(Action.READ, outline.twin, wanted, detail=(("feature", feature),)))
        self._vault.record_types(outline.twin)
        return self._features(outline, dict.fromkeys(wanted, permit), only=feature)[feature]

    def _features(
        self, outline: Outline, permits: Mapping[Category, Permit], *, only: str | None = None
    ) -> dict[str, FeatureState]:
        vector, source = None, {}
        measured = outline.versions.get(VECTOR)
        if measured is not None and Category.FEATURES in permits:
            # Opened whole; shown is, feature by feature, what a permit for its own category covers together with it.
            evidence = from_content(self.schema, self._open(permits[Category.FEATURES], measured))
            vector = derive(self.schema, evidence, outline.on)
            source = {"record": measured.record_id, "version": measured.version}
        found: dict[str, FeatureState] = {}
        for name in self.units if only is None else (only,):
            permit = permits.get(category_of(name))
            if permit is None:
                continue
            target = outline.versions.get(name)
            desired = None if target is None else self._open(permit, target)
            seen = vector if Category.FEATURES in _of(permit) else None
            state = FeatureState(self._properties(name, seen, source), json.loads(desired) if desired else None)
            if only is not None or state != FeatureState():
                found[name] = state
        return found

    def _properties(self, name: str, vector: FeatureVector | None, source: JsonObject) -> JsonObject | None:
        reading = None if vector is None else vector.readings.get(name)
        if reading is None:
            return None
        return {
            "value": reading.value,
            "unit": self.units[name],
            "measuredAt": iso(reading.at_ms) if reading.at_ms else None,
            "source": source | {"codes": [f"http://loinc.org|{code}" for code in self._codes[name]]},
        }

    def _open(self, permit: Permit, head: RecordHead) -> bytes:
        newest = self._vault.read(permit, head.record_id)  # what is mostly asked for, and one row instead of all
        if newest.version == head.version:
            return newest.content
        return self._vault.read_history(permit, head.record_id, versions={head.version})[0].content

    def _changes(self, twin: TwinId) -> list[tuple[str, RecordHead]]:
        """Every version of every part in the order they were committed, each under its part's name."""
        by_reference = {names.features_of(twin): VECTOR} | {names.target_of(twin, one): one for one in self.units}
        order = {part: place for place, part in enumerate(by_reference.values())}
        kept = self._vault.twins_of(list(by_reference))
        changes = [(by_reference[one], head) for one in kept for head in self._vault.heads(one)]
        if any(head.category is None for _, head in changes):
            raise TwinShredded(sentence("twin {twin} was shredded: nothing of it opens any more", twin=twin))
        return sorted(changes, key=lambda change: (change[1].committed_at_ms, order[change[0]], change[1].version))


def _of(permit: Permit) -> frozenset[Category]:
    return permit.request.categories
