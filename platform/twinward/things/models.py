"""Things, how they stand to each other and to patients, and what happens to them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from twinward.core.vocabulary import Category, TwinId
from twinward.live.intake.lines import NAME
from twinward.things.errors import BadThing

MAX_TITLE_CHARS: Final = 80
MAX_NOTE_CHARS: Final = 200
MAX_AMOUNT: Final = 1_000_000_000


class Kind(StrEnum):
    """What a thing is."""

    DEVICE = "device"
    BED = "bed"
    WARD = "ward"
    HOSPITAL = "hospital"
    STOCK = "stock"


class Relation(StrEnum):
    """How a thing stands to another, or to a patient."""

    ASSIGNED_TO = "assigned-to"
    LOCATED_IN = "located-in"
    PART_OF = "part-of"


BETWEEN: Final[Mapping[tuple[Kind, Relation], frozenset[Kind]]] = MappingProxyType(
    {
        (Kind.DEVICE, Relation.LOCATED_IN): frozenset({Kind.BED, Kind.WARD, Kind.HOSPITAL}),
        (Kind.STOCK, Relation.LOCATED_IN): frozenset({Kind.WARD, Kind.HOSPITAL}),
        (Kind.BED, Relation.PART_OF): frozenset({Kind.WARD}),
        (Kind.WARD, Relation.PART_OF): frozenset({Kind.HOSPITAL}),
    }
)
"""Which kinds a thing may be in, or part of: always of a higher order, so there is no circle."""
OF_PATIENTS: Final = frozenset({Kind.DEVICE, Kind.BED})
"""What can be assigned to a patient."""

TYPES: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.DEVICE: ("ventilator", "pump", "monitor", "other"),
        Kind.BED: (),
        Kind.WARD: (),
        Kind.HOSPITAL: (),
        Kind.STOCK: ("supply", "medication", "vaccine", "blood"),
    }
)
"""Further than its kind: what a device is, what stock is of."""

_STOCK_CATEGORIES: Final = {"medication": Category.MEDICATIONS, "vaccine": Category.IMMUNIZATIONS}


class Thing(msgspec.Struct, frozen=True):
    """A thing of the hospital's.

    Attributes:
        id: opaque, for ever.
        name: what it is called by.
        title: for people; says nothing of patients.
        type: of ``TYPES``; empty where its kind has none.
        added_ms, by: when, and by which account.
        service_hours, service_days: serviced after so many hours of use, or days; 0: never for that.
        unit, level: of stock: what is counted, and how many there are.
    """

    id: str
    name: str
    kind: Kind
    title: str
    type: str
    added_ms: int
    by: str
    service_hours: int = 0
    service_days: int = 0
    unit: str = ""
    level: int = 0

    @property
    def category(self) -> Category:
        """In which category of a patient's records an interaction with it falls: consent to that decides."""
        if self.kind is Kind.STOCK:
            return _STOCK_CATEGORIES.get(self.type, Category.PROCEDURES)
        return Category.ENCOUNTERS if self.kind is Kind.BED else Category.MONITORING


class Related(msgspec.Struct, frozen=True):
    """A relation for a time, half-open. ``target`` is a thing's name, or a twin; ``until_ms`` None: it still is."""

    id: str
    thing: str
    relation: Relation
    target: str
    from_ms: int
    until_ms: int | None
    by: str

    def overlaps(self, from_ms: int, to_ms: int) -> bool:
        """Whether any of it lies in a span."""
        return self.from_ms < to_ms and (self.until_ms is None or self.until_ms > from_ms)


class What(StrEnum):
    """What can happen to a thing."""

    STARTED = "started"
    STOPPED = "stopped"
    USED = "used"
    FILLED = "filled"
    FAULT = "fault"
    SERVICED = "serviced"


class Happening(msgspec.Struct, frozen=True):
    """Something that happened to a thing: with a patient, where ``twin`` names one."""

    id: str
    thing: str
    what: What
    at_ms: int
    by: str
    twin: TwinId | None = None
    amount: int = 0
    note: str = ""


def checked_thing(thing: Thing) -> Thing:
    """A new thing as it may be added. Raises ``BadThing``."""
    checked_name(thing.name)
    _require_text(thing.title, "a title", MAX_TITLE_CHARS)
    types = TYPES[thing.kind]
    if thing.type and thing.type not in types:
        said = f"one of {', '.join(types)}" if types else f"a {thing.kind} has none"
        raise BadThing("there is no such type of this kind", hint=said)
    if thing.unit and (thing.kind is not Kind.STOCK or len(thing.unit) > 20 or not thing.unit.isprintable()):
        raise BadThing("a unit is 1 to 20 printable characters, of stock only")
    if (thing.service_hours or thing.service_days) and thing.kind not in OF_PATIENTS:
        raise BadThing("devices and beds are serviced", hint="leave the service interval out")
    if not (0 <= thing.service_hours <= 100_000 and 0 <= thing.service_days <= 10_000):
        raise BadThing("a service interval is up to 100,000 hours of use, or 10,000 days")
    if types and not thing.type:
        return msgspec.structs.replace(thing, type=types[-1] if thing.kind is Kind.DEVICE else types[0])
    return thing


def checked_name(name: str) -> str:
    """A thing's name. Raises ``BadThing``."""
    if not NAME.fullmatch(name):
        raise BadThing("a thing's name is 1 to 64 of A-Z a-z 0-9 . _ : -", hint="e.g. ventilator-7")
    return name


def checked_note(note: str) -> str:
    """What is said of a happening; may be empty. Raises ``BadThing``."""
    if note:
        _require_text(note, "a note", MAX_NOTE_CHARS)
    return note


def checked_amount(amount: int) -> int:
    """How many of stock. Raises ``BadThing``."""
    if not 1 <= amount <= MAX_AMOUNT:
        raise BadThing("an amount is a whole number from 1 on", hint="count in the stock's unit")
    return amount


def require_between(kind: Kind, relation: Relation, target: Kind) -> None:
    """Raise ``BadThing`` unless things of these kinds can stand so."""
    allowed = BETWEEN.get((kind, relation), frozenset())
    if target not in allowed:
        said = ", ".join(f"a {one} {how} a {', '.join(sorted(to))}" for (one, how), to in BETWEEN.items())
        raise BadThing(f"a {kind} is not {relation} a {target}", hint=said)


def _require_text(text: str, what: str, most: int) -> None:
    if not 1 <= len(text) <= most or not text.isprintable() or not text.strip():
        raise BadThing(f"{what} is 1 to {most} printable characters")
