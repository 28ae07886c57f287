"""Twins of things: the story of each walk. Every method asks access control first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from twinward.access.interfaces import AccessContext, Principal
from twinward.core.ids import uuid7
from twinward.core.vocabulary import Action, Purpose, Role
from twinward.things.descriptions import description
from twinward.things.errors import ThingConflict
from twinward.things.interactions import Interactions
from twinward.things.models import Happening, Kind, Related, Thing, checked_thing
from twinward.things.parts import ThingParts
from twinward.things.relations import Relations, found

MOST_THINGS: Final = 100_000


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


@dataclass(frozen=True, slots=True)
class Shown:
    """A thing as it stands. ``relations`` are those without an end; those to patients only for who files them."""

    thing: Thing
    relations: tuple[Related, ...]
    contains: tuple[Related, ...]


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
        current = self.relations.current(thing) if sees else None
        others = [one for one in mine if one.relation.value != "assigned-to"]
        return Shown(thing, tuple(others if current is None else [*others, current]), tuple(contains))

    def history(self, context: AccessContext, name: str) -> list[Related | Happening]:
        """All that a thing was and that happened to it, the oldest first. Logged. Raises as ``Relations.relate``."""
        self.require(context)
        with self._parts.database.reading() as tables:
            thing = found(tables, name)
        self._parts.access.decide(context.request(Action.WRITE, detail=(("thing", name), ("what", "history"))))
        merged: list[Related | Happening] = [*self.relations.of(thing), *self.interactions.of(thing)]
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

    def sees_patients(self, context: AccessContext, what: str, name: str = "") -> bool:
        """Let a look in, logged: whether it may see which patient is where. Raises ``AccessDenied``."""
        detail = (("what", what), *((("thing", name),) if name else ()))
        files = context.request(Action.WRITE, detail=detail)
        counts = context.request(Action.AUDIT, detail=detail)
        self._parts.access.require_any(files, counts)
        sees = self._parts.access.check(files).permitted
        self._parts.access.decide(files if sees else counts)
        return sees

    def close(self) -> None:
        """Give back the database."""
        self._parts.database.close()
