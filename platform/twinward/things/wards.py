"""Twins of wards and hospitals: what follows at this moment from beds, devices and patients.

Nothing of it is kept, so nothing of it is ever old. How ill patients are (NEWS2 of what was measured within four hours)
is what the live room's ward shows: each patient is an access, decided and logged once for ten minutes, and whom the
caller may not see is counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from twinward.access.interfaces import AccessContext
from twinward.core.vocabulary import Action, TwinId
from twinward.live.assignments import ERASED, WITHHELD
from twinward.things.maintenance import Service
from twinward.things.models import Kind, Related, Relation, Thing
from twinward.things.parts import ThingParts
from twinward.things.relations import told
from twinward.things.suppression import Count, remaining, together

UNKNOWN: Final = "unknown"
BANDS: Final = ("low", "medium", "high", UNKNOWN)
"""NEWS2 of 0 to 4, 5 and 6, 7 and more (Royal College of Physicians, 2017, chart 2); and nothing was measured."""


@dataclass(frozen=True, slots=True)
class Lying:
    """Who lies in a bed since when, and how ill (NEWS2); None where that is not known, or not to be seen."""

    bed: str
    twin: TwinId
    since_ms: int
    score: int | None


@dataclass(frozen=True, slots=True)
class WardState:
    """A ward or a hospital at one moment.

    Attributes:
        beds: how many it has.
        census, free: beds with a patient, and without; suppressed for who may not see patients.
        acuity: how many patients are how ill; None for who may read none.
        devices, in_use: how many there are, and how many are with a patient.
        due: things that should have been serviced by now, by name.
        lying: patients, for who files or reads their records; else none.
    """

    at_ms: int
    beds: int
    census: Count
    free: Count
    acuity: Mapping[str, int] | None
    devices: int
    in_use: Count
    due: tuple[str, ...]
    lying: tuple[Lying, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is in a ward or a hospital: its beds and devices, and which patients those are with.

    ``part``: by the name of each, the ward that it is in; the place itself for what is in none.
    """

    beds: tuple[Thing, ...]
    devices: tuple[Thing, ...]
    stays: Mapping[str, Related]
    part: Mapping[str, str]


class Wards:
    """Derives states. Every method is for whoever has asked access control already."""

    def __init__(self, parts: ThingParts) -> None:
        self._parts = parts

    def plan(self, place: Thing) -> Plan:
        """What is in a ward or a hospital now."""
        with self._parts.database.reading() as tables:
            things = {one.name: one for one in tables.things()}
            standing = tables.open_relations()
        part = {place.name: place.name}
        for kind in (Kind.WARD, Kind.BED, Kind.DEVICE):  # each lies in what was found before
            placed = [one for one in standing if one.relation is not Relation.ASSIGNED_TO and one.target in part]
            placed = [one for one in placed if things[one.thing].kind is kind]
            part |= {one.thing: one.thing if kind is Kind.WARD else part[one.target] for one in placed}
        found = [things[name] for name in sorted(part)]
        beds = tuple(one for one in found if one.kind is Kind.BED)
        stays = {one.thing: one for one in standing if one.relation is Relation.ASSIGNED_TO}
        taken = {one.name: stays[one.name] for one in beds if one.name in stays}
        return Plan(beds, tuple(one for one in found if one.kind is Kind.DEVICE), taken, part)

    def state(
        self, context: AccessContext, plan: Plan, services: Mapping[str, Service], *, sees_patients: bool
    ) -> WardState:
        """How a ward or a hospital stands.

        Args:
            context: who asks.
            plan: what is in it.
            services: of its beds and devices, by name.
            sees_patients: whether the caller may know which patient is where.
        """
        now_ms = self._parts.clock.now_ms()
        due = tuple(sorted(name for name, one in services.items() if one.is_due(now_ms)))
        used_by = {one.name for one in plan.devices if self._parts.live.line_of(one.name).current is not None}
        census, in_use = len(plan.stays), len(used_by)
        if not sees_patients:
            shown = together(_counts(plan.beds, plan.stays, plan.part))
            used = together(_counts(plan.devices, used_by, plan.part))
            free = remaining(len(plan.beds), shown)
            return WardState(now_ms, len(plan.beds), shown, free, None, len(plan.devices), used, due, ())
        lying, acuity = self._lying(context, plan)
        free_beds = len(plan.beds) - census
        return WardState(now_ms, len(plan.beds), census, free_beds, acuity, len(plan.devices), in_use, due, lying)

    def _lying(self, context: AccessContext, plan: Plan) -> tuple[tuple[Lying, ...], Mapping[str, int] | None]:
        beds = {one.name: one for one in plan.beds}
        stays = [(beds[name], one) for name, one in plan.stays.items()]
        named = [told(self._parts, bed, TwinId(one.target), context) for bed, one in stays]
        if not self._parts.access.may(context.request(Action.READ)):
            pairs = zip(stays, named, strict=True)
            return tuple(Lying(bed.name, name, one.from_ms, None) for (bed, one), name in pairs), None
        twins = [told(self._parts, bed, TwinId(one.target), None) for bed, one in stays]
        watched = self._parts.live.ward.of(context, [one for one in twins if one != ERASED])
        acuity: Counter[str] = Counter(dict.fromkeys((*BANDS, WITHHELD), 0))
        lying = []
        for (bed, one), twin, name in zip(stays, twins, named, strict=True):
            score = watched[twin].score if twin in watched else None
            total = None if score is None else score.total
            acuity[WITHHELD if twin not in watched and twin != ERASED else _band(total)] += 1
            lying.append(Lying(bed.name, name, one.from_ms, None if name == WITHHELD else total))
        return tuple(lying), dict(acuity)


def _counts(places: Sequence[Thing], taken: Collection[str], part: Mapping[str, str]) -> Iterable[tuple[int, int]]:
    """Of each part, how many of its beds or devices are taken, and how many it has."""
    every = Counter(part[one.name] for one in places)
    held = Counter(part[one] for one in taken)
    return [(held[name], every[name]) for name in every]


def _band(total: int | None) -> str:
    if total is None:
        return UNKNOWN
    return "high" if total >= 7 else "medium" if total >= 5 else "low"
