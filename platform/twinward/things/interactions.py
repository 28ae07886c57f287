"""What happens to things: started, stopped, used, filled, broken, serviced. With a patient it is an event of both.

A step that concerns a patient is a permit to write to that patient's records, in the category the thing belongs to:
policy and consent decide, the access is in the patient's history, and the thing's own history names it too.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from twinward.access.interfaces import AccessContext, AccessRequest
from twinward.core.ids import uuid7
from twinward.core.vocabulary import Action, TwinId
from twinward.live.assignments import ERASED
from twinward.things.errors import BadThing, NoSuchAffordance, ThingConflict
from twinward.things.models import Happening, Kind, Thing, What, checked_amount, checked_note
from twinward.things.parts import ThingParts
from twinward.things.relations import Relations, found, require_kept, told
from twinward.things.storage.database import Tables

OF_KIND = {
    Kind.DEVICE: (What.STARTED, What.STOPPED, What.FAULT, What.SERVICED),
    Kind.BED: (What.FAULT, What.SERVICED),
    Kind.STOCK: (What.USED, What.FILLED),
    Kind.WARD: (),
    Kind.HOSPITAL: (),
}


@dataclass(frozen=True, slots=True)
class Report:
    """What is said to have happened.

    Attributes:
        twin: for whom stock was used. A device is with whom it is assigned to.
        amount: of stock.
        note: a few words, of a fault say; nothing of a patient.
    """

    what: What
    twin: TwinId | None = None
    amount: int = 0
    note: str = ""


class Interactions:
    """Takes reports. Safe to share between threads and processes."""

    def __init__(self, parts: ThingParts, relations: Relations) -> None:
        self._parts = parts
        self._relations = relations

    def record(self, context: AccessContext, name: str, report: Report) -> Happening:
        """Note that something happened to a thing, now.

        Raises:
            AccessDenied: the caller may not file this, or policy or the patient's consent says no. Logged.
            ThingNotFound: no such thing.
            NoSuchAffordance: nothing of the kind happens to things of its kind.
            BadThing: an amount, a patient or a note that cannot be.
            ThingConflict: it runs already, stands still, is with nobody; or there is not so much in stock.
        """
        self._parts.access.require(context.request(Action.WRITE))
        with self._parts.database.reading() as tables:
            thing = found(tables, name)
        _require_fits(thing, report)
        twin = self._concerned(thing, report)
        request = _request(context, thing, report, twin)
        self._parts.access.require(request)
        with self._parts.database.writing() as tables:
            if self._concerned(thing, report) != twin:
                raise ThingConflict(f"{name} changed hands meanwhile", hint="look again")
            require_kept(self._parts, report.twin)
            now_ms, by = self._parts.clock.now_ms(), context.principal.id
            one = Happening(uuid7(now_ms), name, report.what, now_ms, by, twin, report.amount, report.note)
            changed, revision = self._changed(tables, thing, one)
            self._parts.access.decide(request)  # in the transaction: the log tells of what is done, not of a race lost
            if changed is not None:
                tables.put_thing(changed, revision)
            tables.add_happening(one)
        return one

    def of(self, thing: Thing, context: AccessContext | None = None) -> list[Happening]:
        """What happened to a thing, the oldest first. As ``Relations.assignments``."""
        with self._parts.database.reading() as tables:
            happened = tables.happenings_of(thing.name)
        return [
            one if one.twin is None else msgspec.structs.replace(one, twin=told(self._parts, thing, one.twin, context))
            for one in happened
        ]

    def _concerned(self, thing: Thing, report: Report) -> TwinId | None:
        """The patient, where there is one."""
        if report.what not in (What.STARTED, What.STOPPED):
            return report.twin
        current = self._relations.current(thing)
        if current is None:
            raise ThingConflict(
                f"{thing.name} is with no patient", hint=f"`twinward thing relate {thing.name} assigned-to TWIN` first"
            )
        return TwinId(current.target)

    def _changed(self, tables: Tables, thing: Thing, one: Happening) -> tuple[Thing | None, int]:
        """What the thing becomes by it. Raises ``ThingConflict``."""
        if one.what in (What.STARTED, What.STOPPED):
            happened = tables.happenings_of(one.thing)
            last = next((other for other in reversed(happened) if other.what in (What.STARTED, What.STOPPED)), None)
            is_on = False
            if last is not None and last.twin is not None and last.what is What.STARTED:
                is_on = told(self._parts, thing, last.twin, None) == one.twin
            if is_on is (one.what is What.STARTED):
                raise ThingConflict(f"{one.thing} {'runs already' if is_on else 'does not run'}")
        kept = tables.thing(one.thing)
        if kept is None or one.what not in (What.USED, What.FILLED):
            return None, 0
        kept_thing, revision = kept
        level = kept_thing.level + (one.amount if one.what is What.FILLED else -one.amount)
        if level < 0:
            raise ThingConflict(f"there are {kept_thing.level} of {thing.name} left", hint="fill it, or use less")
        return msgspec.structs.replace(kept_thing, level=level), revision + 1


def _require_fits(thing: Thing, report: Report) -> None:
    what = report.what
    if what not in OF_KIND[thing.kind]:
        said = ", ".join(OF_KIND[thing.kind]) or "nothing"
        raise NoSuchAffordance(f"a {thing.kind} is not {what}", hint=f"it takes: {said}")
    if what in (What.USED, What.FILLED):
        checked_amount(report.amount)
    elif report.amount:
        raise BadThing("an amount is of stock")
    if (report.twin is not None) is not (what is What.USED):
        raise BadThing("stock is used for a patient; nothing else names one", hint="a device is with whom it is with")
    checked_note(report.note)


def _request(context: AccessContext, thing: Thing, report: Report, twin: TwinId | None) -> AccessRequest:
    detail: tuple[tuple[str, str], ...] = (("thing", thing.name), ("what", report.what))
    if report.amount:
        detail = (*detail, ("amount", str(report.amount)))
    if twin is None or twin == ERASED:  # who was erased has no records, and nobody's consent
        return context.request(Action.WRITE, detail=detail)
    return context.request(Action.WRITE, twin, {thing.category}, detail=detail)
