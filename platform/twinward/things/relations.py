"""How things stand to each other and to patients, in time: the story of each change.

A device with a patient is an assignment of the live room, which places readings by it: it is made and ended there, and
read from there. All other relations are kept here. A thing has one of each at a time; a patient lies in one bed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from twinward.access.interfaces import AccessContext, AccessRequest
from twinward.core.clock import iso
from twinward.core.ids import uuid7
from twinward.core.vocabulary import Action, TwinId
from twinward.live.assignments import ERASED, WITHHELD, Assignment
from twinward.things.errors import BadThing, ThingConflict, no_such_thing
from twinward.things.models import OF_PATIENTS, Kind, Related, Relation, Thing, require_between
from twinward.things.parts import ThingParts
from twinward.things.storage.database import Tables

MOST_RELATIONS: Final = 10_000
"""Of one thing."""


class Relations:
    """Changes of relations, and what they were. Safe to share between threads and processes."""

    def __init__(self, parts: ThingParts) -> None:
        self._parts = parts

    def relate(
        self, context: AccessContext, name: str, relation: Relation, target: str, from_ms: int | None = None
    ) -> Related:
        """Say how a thing stands to another, or to a patient, from a moment (now) on.

        Args:
            context: who says so.
            name: of the thing.
            relation: which; ``assigned-to`` is to a patient.
            target: the other's name, or the patient's twin.
            from_ms: since when; never ahead.

        Raises:
            AccessDenied: the caller may not file this, or policy or the patient's consent says no. Logged.
            BadThing: things of these kinds do not stand so, or the moment is still to come.
            ThingNotFound: one of the two.
            ThingConflict, AssignmentConflict: it stands so to another then; or the bed is taken.
        """
        self._parts.access.require(context.request(Action.WRITE))
        at_ms = self._moment(from_ms)
        with self._parts.database.reading() as tables:
            thing = found(tables, name)
        if relation is Relation.ASSIGNED_TO:
            if thing.kind not in OF_PATIENTS:
                raise BadThing(f"a {thing.kind} is not assigned to a patient", hint="devices and beds are")
            if thing.kind is Kind.DEVICE:
                return of_device(name, self._parts.live.assign(context, name, TwinId(target), from_ms))
        self._parts.access.require(_request(context, thing, relation, target, "related", at_ms))
        with self._parts.database.writing() as tables:
            at_ms = self._moment(from_ms)  # now is after whatever others did meanwhile
            return self._begun(tables, context, thing, relation, target, at_ms)

    def end(self, context: AccessContext, name: str, relation: Relation, until_ms: int | None = None) -> Related:
        """Say that a thing stands so no longer, since a moment (now).

        Raises as ``relate``; ``ThingConflict``: it does not stand so.
        """
        self._parts.access.require(context.request(Action.WRITE))
        self._moment(until_ms)
        with self._parts.database.reading() as tables:
            thing = found(tables, name)
        if relation is Relation.ASSIGNED_TO and thing.kind is Kind.DEVICE:
            return of_device(name, self._parts.live.release(context, name, until_ms))
        with self._parts.database.writing() as tables:
            at_ms = self._moment(until_ms)
            mine = [one for one in tables.relations_of(name) if one.relation is relation]
            if not mine or mine[-1].until_ms is not None:
                raise ThingConflict(f"{name} is {relation} nothing", hint=f"twinward thing show {name}")
            if at_ms <= mine[-1].from_ms:
                raise ThingConflict(f"it has been since {iso(mine[-1].from_ms)}", hint="end it later than that")
            ended, about = self._over(tables, context, thing, mine[-1], at_ms)
        return msgspec.structs.replace(ended, target=about) if about == WITHHELD else ended

    def lay(self, context: AccessContext, twin: TwinId, beds: Sequence[str]) -> None:
        """Move a patient into the first of these beds that there is, out of any other; into none where there is none.

        One transaction looks and moves: whoever comes second, in whichever process, finds the bed taken, and the
        patient stays in the one they have. Done twice it comes to the same. Raises as ``relate``; nothing was changed.
        """
        self._parts.access.require(context.request(Action.WRITE))
        with self._parts.database.writing() as tables:
            known = {one.name: one for one in tables.things() if one.kind is Kind.BED}
            stays = [one for one in tables.relations_to_twin(twin) if one.thing in known]
            target = next((one for one in beds if one in known), None)
            line = [] if target is None else tables.relations_of(target)
            line = [one for one in line if one.relation is Relation.ASSIGNED_TO]
            if any(one.until_ms is None and one.target != twin for one in line):
                raise ThingConflict("the bed is taken", hint="end that first: `twinward thing end`")
            leaves = [one for one in stays if one.until_ms is None and one.thing != target]
            enters = target is not None and not any(one.until_ms is None for one in line)
            at_ms = max([self._moment(None), *_earliest([*stays, *line])])
            if target is not None and enters:
                wanted = _request(context, known[target], Relation.ASSIGNED_TO, twin, "related", at_ms)
                self._parts.access.require(wanted)  # before they are said to have left
            for one in leaves:
                self._over(tables, context, known[one.thing], one, at_ms)
            if target is not None and enters:
                self._begun(tables, context, known[target], Relation.ASSIGNED_TO, twin, at_ms)

    def of(self, thing: Thing, context: AccessContext) -> list[Related]:
        """All of a thing's, the oldest first: for whoever has asked access control; patients as ``told`` to them."""
        with self._parts.database.reading() as tables:
            mine = [one for one in tables.relations_of(thing.name) if one.relation is not Relation.ASSIGNED_TO]
        return sorted([*mine, *self.assignments(thing, context)], key=lambda one: one.from_ms)

    def assignments(self, thing: Thing, context: AccessContext | None = None) -> list[Related]:
        """With which patients a device or a bed was, the oldest first; as ``told``, where it is for somebody."""
        if thing.kind is Kind.DEVICE:
            line = self._parts.live.line_of(thing.name).assignments
            return [self._shown(thing, of_device(thing.name, one), context) for one in line]
        with self._parts.database.reading() as tables:
            mine = tables.relations_of(thing.name)
        return [self._shown(thing, one, context) for one in mine if one.relation is Relation.ASSIGNED_TO]

    def current(self, thing: Thing, context: AccessContext | None = None) -> Related | None:
        """With which patient a device or a bed is. As ``assignments``."""
        mine = self.assignments(thing, context)
        return mine[-1] if mine and mine[-1].until_ms is None else None

    def _begun(
        self, tables: Tables, context: AccessContext, thing: Thing, relation: Relation, target: str, at_ms: int
    ) -> Related:
        related = Related(uuid7(at_ms), thing.name, relation, target, at_ms, None, context.principal.id)
        if relation is not Relation.ASSIGNED_TO:
            require_between(thing.kind, relation, found(tables, target).kind)
        else:
            require_kept(self._parts, TwinId(target))
        self._require_free(tables, related)
        # In the transaction: the log tells of what is done, not of a race that was lost.
        self._parts.access.decide(_request(context, thing, relation, target, "related", at_ms))
        tables.add_relation(related)
        return related

    def _over(
        self, tables: Tables, context: AccessContext, thing: Thing, one: Related, at_ms: int
    ) -> tuple[Related, str]:
        """One that is over, and its target as the caller may be told."""
        about = one.target
        if one.relation is Relation.ASSIGNED_TO:
            about = told(self._parts, thing, TwinId(about), None)
        request = _request(context, thing, one.relation, about, "ended", at_ms)
        if self._parts.access.barred_by_consent_alone(request):  # nobody is kept in a bed by their own no
            request, about = _request(context, thing, one.relation, WITHHELD, "ended", at_ms), WITHHELD
        self._parts.access.decide(request)
        ended = msgspec.structs.replace(one, until_ms=at_ms)
        tables.end_relation(ended)
        return ended, about

    def _shown(self, thing: Thing, one: Related, context: AccessContext | None) -> Related:
        return msgspec.structs.replace(one, target=told(self._parts, thing, TwinId(one.target), context))

    def _require_free(self, tables: Tables, new: Related) -> None:
        mine = [one for one in tables.relations_of(new.thing) if one.relation is new.relation]
        taken = "the bed is taken" if new.relation is Relation.ASSIGNED_TO else f"{new.thing} is {new.relation} another"
        _require_after(mine, new.from_ms, taken)
        if new.relation is Relation.ASSIGNED_TO:
            _require_after(tables.relations_to_twin(new.target), new.from_ms, "the patient lies in another bed")
        if len(mine) >= MOST_RELATIONS:
            raise ThingConflict(f"a thing has {MOST_RELATIONS} relations of a kind at most", hint="give it a new name")

    def _moment(self, at_ms: int | None) -> int:
        now_ms = self._parts.clock.now_ms()
        if at_ms is not None and not 0 <= at_ms <= now_ms:
            raise BadThing("a relation changes now, or did: never ahead", hint="say it again then")
        return now_ms if at_ms is None else at_ms


def found(tables: Tables, name: str) -> Thing:
    """A thing by its name. Raises ``ThingNotFound``."""
    kept = tables.thing(name)
    if kept is None:
        raise no_such_thing()
    return kept[0]


def told(parts: ThingParts, thing: Thing, twin: TwinId, context: AccessContext | None) -> TwinId:
    """A patient with whom a thing was, as a caller is told; None: for the node itself.

    ``ERASED``, and ``WITHHELD`` from whom policy or the patient's consent keeps from filing the like.
    """
    if parts.is_erased(twin) or twin == ERASED:
        return ERASED
    if context is None or parts.access.may(context.request(Action.WRITE, twin, {thing.category})):
        return twin
    return WITHHELD


def require_kept(parts: ThingParts, twin: TwinId | None) -> None:
    """Raise ``ThingConflict`` for a patient who was erased: asked where rows are written, so none names one again."""
    if twin is not None and parts.is_erased(twin):
        raise ThingConflict("the patient was erased", hint="nothing is done for a patient who is not kept here")


def of_device(device: str, one: Assignment) -> Related:
    """An assignment of the live room as a relation."""
    name = f"{device}@{one.from_ms}"
    return Related(name, device, Relation.ASSIGNED_TO, one.twin, one.from_ms, one.until_ms, one.by)


def _earliest(line: Sequence[Related]) -> list[int]:
    """From when on each of these can be over, or another begin."""
    return [one.from_ms + 1 if one.until_ms is None else one.until_ms for one in line]


def _require_after(line: Sequence[Related], from_ms: int, taken: str) -> None:
    """Raise ``ThingConflict`` unless all of these are over by then."""
    for one in line:
        if one.until_ms is None:
            raise ThingConflict(taken, hint="end that first: `twinward thing end`")
        if one.until_ms > from_ms:
            raise ThingConflict(f"{taken} until {iso(one.until_ms)}", hint="say it from then on")


def _request(
    context: AccessContext, thing: Thing, relation: Relation, target: str, what: str, at_ms: int
) -> AccessRequest:
    detail = (("thing", thing.name), ("what", f"{relation} {what}"), ("at", iso(at_ms)))
    if relation is Relation.ASSIGNED_TO and target not in (ERASED, WITHHELD):
        return context.request(Action.WRITE, TwinId(target), {thing.category}, detail=detail)
    return context.request(Action.WRITE, detail=(*detail, ("to", target)))
