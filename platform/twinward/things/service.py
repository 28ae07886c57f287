"""Twins of things: the story of each walk. Every method asks access control first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from twinward.access.interfaces import AccessContext, Principal
from twinward.core.ids import uuid7
from twinward.core.vocabulary import Action, Purpose, Role, TwinId
from twinward.live.assignments import ERASED
from twinward.things.descriptions import description
from twinward.things.errors import BadThing, ThingConflict
from twinward.things.interactions import Interactions
from twinward.things.maintenance import DAY_MS, Service, service_of
from twinward.things.models import OF_PATIENTS, Happening, Kind, Related, Relation, Thing, checked_thing
from twinward.things.parts import ThingParts
from twinward.things.relations import Relations, found
from twinward.things.shown import Shown
from twinward.things.wards import Wards

if TYPE_CHECKING:
    from twinward.things.what_if.baseline import Changes
    from twinward.things.what_if.outlook import Outlook

MOST_THINGS: Final = 10_000


@dataclass(frozen=True, slots=True)
class New:
    """A thing that is to be added: as of ``Thing``."""

    name: str
    kind: Kind
    title: str
    type: str = ""
    service_hours: int = 0
    service_days: int = 0
    unit: str = ""


def usual_purpose(principal: Principal) -> Purpose:
    """Why somebody asks, where it is not said: clinicians treat, officers check, all others file."""
    usual = {Role.CLINICIAN: Purpose.TREATMENT, Role.OFFICER: Purpose.COMPLIANCE}
    return usual.get(principal.role, Purpose.RECORD_MANAGEMENT)


class Things:
    """A hospital's things.

    Who may file patients' records (clinicians, ward systems, operators) sees and changes them. Who may read the access
    log (officers) sees things, and counts of patients in which small numbers are suppressed.
    """

    def __init__(self, parts: ThingParts) -> None:
        self._parts = parts
        self.relations = Relations(parts)
        self.interactions = Interactions(parts, self.relations)
        self.wards = Wards(parts)

    def require(self, context: AccessContext) -> None:
        """Whether the caller may change things at all. Raises ``AccessDenied``, logged."""
        self._parts.access.require(context.request(Action.WRITE))

    def add(self, context: AccessContext, new: New) -> Thing:
        """Add a thing.

        Raises:
            AccessDenied: the caller may not file anything. Logged.
            BadThing: it cannot be.
            ThingConflict: there is one of this name.
        """
        self.require(context)
        now_ms = self._parts.clock.now_ms()
        by, service = context.principal.id, (new.service_hours, new.service_days)
        thing = checked_thing(
            Thing(uuid7(now_ms), new.name, new.kind, new.title, new.type, now_ms, by, *service, new.unit)
        )
        with self._parts.database.writing() as tables:
            if tables.thing(thing.name) is not None:
                raise ThingConflict("there is a thing of this name", hint="names are for ever: take another")
            if tables.count() >= MOST_THINGS:
                raise ThingConflict(f"a hospital has {MOST_THINGS:,} things at most")
            self._parts.access.decide(
                context.request(Action.WRITE, detail=(("thing", thing.name), ("what", "added"), ("kind", thing.kind)))
            )
            tables.put_thing(thing, 1)
        return thing

    def all(self, context: AccessContext, kind: Kind | None = None) -> list[Thing]:
        """Every thing, or of one kind, by name. Logged. Raises ``AccessDenied``."""
        self.sees_patients(context, "listed")
        with self._parts.database.reading() as tables:
            return [one for one in tables.things() if kind is None or one.kind is kind]

    def show(self, context: AccessContext, name: str) -> Shown:
        """A thing and how it stands now. Logged. Raises ``AccessDenied``, ``ThingNotFound``."""
        sees = self.sees_patients(context, "shown", name)
        with self._parts.database.reading() as tables:
            thing = found(tables, name)
            contains = [one for one in tables.relations_to(name) if one.until_ms is None]
            mine = [one for one in tables.relations_of(name) if one.until_ms is None]
        current = self.relations.current(thing, context) if sees else None
        others = [one for one in mine if one.relation is not Relation.ASSIGNED_TO]
        relations = tuple(others if current is None else [*others, current])
        if thing.kind in OF_PATIENTS:
            return Shown(thing, relations, tuple(contains), _told(self.service(thing, sees=sees), sees=sees))
        if thing.kind is Kind.STOCK:
            return Shown(thing, relations, tuple(contains))
        plan = self.wards.plan(thing)
        services = {one.name: self.service(one, sees=sees) for one in (*plan.beds, *plan.devices)}
        state = self.wards.state(context, plan, services, sees_patients=sees)
        return Shown(thing, relations, tuple(contains), state=state)

    def properties(self, context: AccessContext, name: str) -> Mapping[str, Any]:
        """A thing's properties, as its description names them. Logged. Raises as ``show``."""
        return self.show(context, name).properties()

    def service(self, thing: Thing, *, sees: bool = True) -> Service:
        """How a device or a bed stands to its maintenance: for whoever has asked access control.

        A date that hours of use make tells when it was with a patient: it is for who ``sees`` patients.
        """
        use, happened = self.relations.assignments(thing) if sees else [], self.interactions.of(thing)
        return service_of(thing, use, happened, self._parts.clock.now_ms())

    def history(self, context: AccessContext, name: str) -> list[Related | Happening]:
        """All that a thing was and that happened to it, the oldest first. Logged. Raises as ``Relations.relate``."""
        self.require(context)
        with self._parts.database.reading() as tables:
            thing = found(tables, name)
        self._parts.access.decide(context.request(Action.WRITE, detail=(("thing", name), ("what", "history"))))
        merged: list[Related | Happening] = [*self.relations.of(thing, context), *self.interactions.of(thing, context)]
        return sorted(merged, key=lambda one: one.from_ms if isinstance(one, Related) else one.at_ms)

    def describe(self, context: AccessContext, name: str, base: str) -> dict[str, Any]:
        """A thing's description: W3C WoT Thing Description 1.1. Logged. Raises as ``show``.

        Args:
            context: who asks.
            name: of the thing.
            base: the node's address as others reach it, without a slash behind.
        """
        self.sees_patients(context, "described", name)
        with self._parts.database.reading() as tables:
            return description(found(tables, name), base)

    def what_if(
        self,
        context: AccessContext,
        name: str,
        changes: Changes,
        runs: int = 200,
        seed: int = 1,
        progress: Callable[[int], None] = lambda _: None,
        *,
        most_arrivals: int | None = None,
    ) -> Outlook:
        """What comes of other numbers, from how a ward or a hospital stands now: simulated. Logged.

        Args:
            context: who asks: somebody who may file patients' records, for it begins with who is there.
            name: of the ward or the hospital.
            changes: what is to be other than it is.
            runs: how many futures.
            seed: where random numbers begin.
            progress: told after each how many were made.
            most_arrivals: how much is computed at most, in arrivals of all futures; None: minutes of work.

        Raises:
            AccessDenied, ThingNotFound: as ``show``.
            BadThing: it is neither, or the question cannot be.
        """
        from twinward.things.what_if.baseline import of_ward
        from twinward.things.what_if.outlook import look_ahead
        from twinward.things.what_if.scenario import MAX_ARRIVALS

        self.require(context)
        with self._parts.database.reading() as tables:
            thing = found(tables, name)
        if thing.kind not in (Kind.WARD, Kind.HOSPITAL):
            raise BadThing(f"a {thing.kind} takes in no patients", hint="ask about a ward or a hospital")
        self._parts.access.decide(context.request(Action.WRITE, detail=(("thing", name), ("what", "what-if"))))
        beds = self.wards.plan(thing).beds
        stays = [stay for bed in beds for stay in self.relations.assignments(bed)]
        scenario = of_ward(thing.title, len(beds), stays, self._parts.clock.now_ms(), changes)
        most = MAX_ARRIVALS if most_arrivals is None else most_arrivals
        return look_ahead(scenario, runs, seed, progress, most_arrivals=most)

    def sees_patients(self, context: AccessContext, what: str, name: str = "") -> bool:
        """Let a look in, logged: whether it may see which patient is where. Raises ``AccessDenied``."""
        detail = (("what", what), *((("thing", name),) if name else ()))
        files = context.request(Action.WRITE, detail=detail)
        counts = context.request(Action.AUDIT, detail=detail)
        self._parts.access.require_any(files, counts)
        sees = self._parts.access.may(files)
        self._parts.access.decide(files if sees else counts)
        return sees

    def in_beds(self) -> list[TwinId]:
        """Every patient who is in a bed now: for other rooms, which ask access control themselves."""
        with self._parts.database.reading() as tables:
            beds = {one.name for one in tables.things() if one.kind is Kind.BED}
            found = [one for one in tables.open_relations() if one.thing in beds]
        return [TwinId(one.target) for one in found if one.relation is Relation.ASSIGNED_TO]

    def forget_erased(self) -> int:
        """Name patients no longer whose keys are gone: the node's own part of an erasure. How many rows named one."""
        with self._parts.database.writing() as tables:
            forgotten = tables.name_no_longer(self._parts.is_erased, ERASED)
        if forgotten:
            self._parts.database.forget_deleted()
        return forgotten

    def close(self) -> None:
        """Give back the database."""
        self._parts.database.close()


def _told(service: Service, *, sees: bool) -> Service:
    """As it may be told: who may not see patients is not told to the minute how long a thing was with one."""
    if sees:
        return service
    return replace(service, used_h=None, due_ms=None if service.due_ms is None else service.due_ms // DAY_MS * DAY_MS)
