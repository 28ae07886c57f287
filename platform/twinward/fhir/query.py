"""A search as it was asked: parameters of a request read into a ``Query``. https://hl7.org/fhir/R4/search.html.

Whatever is not served is refused by name, so that nobody takes an unfiltered, unsorted or shortened answer for what
was asked; ``Prefer: handling=lenient`` has it ignored instead, and the answer says so.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.includes import Include, read_include
from twinward.fhir.patients import identifier_key
from twinward.fhir.render import reference_of
from twinward.fhir.search_parameters import (
    Parameter,
    alternatives,
    check,
    is_blind,
    matches,
    matches_date,
    parameters_of,
    sort_key,
    token_parts,
)
from twinward.fhir.subset import WHOLE, Subset, read_subset
from twinward.fhir.validate import ID
from twinward.vault.interfaces import Record

DEFAULT_COUNT = 50
MAX_COUNT = 500
_MAX_PARAMETERS = 50
_MAX_VALUE_CHARS = 1000
_MAX_NAMED = 20
_MAX_SORTED = 5

END = "~"
"""After every record id of a twin."""

Place = tuple[str, str]
"""Where a record stands among all: its twin, its record id."""

_CURSOR = re.compile(r"([0-9a-f-]{36})/([0-9a-f-]{36})?")
_OWNER = re.compile(r"(?:https?://[^?#]{1,500}/)?(?:Patient/)?([A-Za-z0-9\-.]{1,64})")
_WISHES = {
    "_format": frozenset({"json", "application/json", "application/fhir+json"}),
    "_total": frozenset({"none", "estimate", "accurate"}),
    "_totalMethod": frozenset({"count"}),
}
"""What changes no answer here: a total is told, and exact, wherever the search names its patients. The last one is what
``fhirpy`` sends for a count."""


@dataclass(frozen=True, slots=True)
class Order:
    """One key of a ``_sort``."""

    name: str
    parameter: Parameter
    descending: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A search as it was understood. ``named`` are strings that blind tags can find: all lists, any of each."""

    resource_type: str
    count: int = DEFAULT_COUNT
    after: Place = ("", "")
    named: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    filters: tuple[tuple[str, Parameter, str], ...] = field(default=(), repr=False)
    used: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ignored: tuple[str, ...] = ()
    order: tuple[Order, ...] = ()
    includes: tuple[Include, ...] = ()
    subset: Subset = WHOLE

    def matches(self, record: Record) -> bool:
        """Whether an opened record is one of those asked for."""
        resource = json.loads(record.content) if self.filters else {}
        moment = (record.committed_at_ms, record.committed_at_ms + 1)
        return all(
            matches_date(value, [moment]) if name == "_lastUpdated" else matches(parameter, value, resource)
            for name, parameter, value in self.filters
        )

    def ids(self) -> set[str] | None:
        """The ``Type/id`` of what is asked for, where the query says; None where it does not."""
        found = [set(names) for names in self.named if names[0].startswith(f"{self.resource_type}/")]
        return set.intersection(*found) if found else None

    def sorted(self, records: Sequence[Record]) -> list[Record]:
        """Records in the order asked for; those that say nothing of a key come last. Without an order: by place."""
        found = sorted(records, key=place_of)
        for one in reversed(self.order):  # sorting is stable: the first key is sorted by last
            keyed = [(_key_of(one, record), record) for record in found]
            said = sorted((pair for pair in keyed if pair[0] is not None), key=_first, reverse=one.descending)
            found = [record for _, record in said] + [record for key, record in keyed if key is None]
        return found


def read_query(resource_type: str, pairs: Sequence[tuple[str, str]], *, lenient: bool = False) -> Query:
    """A query out of the parameters of a request.

    Args:
        resource_type: the type searched; a type of R4.
        pairs: names and values in order.
        lenient: ignore what is not known here, and say so, instead of refusing it.

    Raises:
        InvalidResource: a parameter that is not served, or a value that cannot be one.
    """
    if len(pairs) > _MAX_PARAMETERS or any(len(value) > _MAX_VALUE_CHARS for _, value in pairs):
        raise InvalidResource(
            Issue("too-long", "", f"at most {_MAX_PARAMETERS} parameters, {_MAX_VALUE_CHARS} letters")
        )
    known = parameters_of(resource_type)
    count, after = DEFAULT_COUNT, ("", "")
    order: tuple[Order, ...] = ()
    includes: list[Include] = []
    named: list[tuple[str, ...]] = []
    filters: list[tuple[str, Parameter, str]] = []
    used: list[tuple[str, str]] = []
    ignored: list[str] = []
    for name, value in pairs:
        if name == "_count":
            count = _count_of(value)
        elif name == "_cursor":
            after = _position_of(value)
            continue
        elif name == "_sort":
            order = _order_of(resource_type, value, known)
        elif name in ("_include", "_revinclude"):
            includes.append(read_include(name, value, resource_type))
        elif name in ("_summary", "_elements"):
            pass  # read together below
        elif name in _WISHES and value in _WISHES[name]:
            continue
        elif name in known:
            check(name, known[name], value)
            found = _names_of(resource_type, name, value)
            if found is not None:
                named.append(found)
            if not is_blind(resource_type, name):  # those are answered by what they name
                filters.append((name, known[name], value))
        elif lenient:
            ignored.append(name[:40])
            continue
        else:
            raise _not_served(resource_type, name, known)
        used.append((name, value))
    return Query(
        resource_type,
        count,
        after,
        tuple(named),
        tuple(filters),
        tuple(used),
        tuple(ignored),
        order,
        tuple(includes),
        read_subset(pairs),
    )


def place_of(record: Record) -> Place:
    """Where a record stands among all."""
    return record.twin, str(record.record_id)


def cursor_of(place: Place) -> str:
    """What a ``next`` link carries."""
    return base64.urlsafe_b64encode("/".join(place).replace(END, "").encode()).decode().rstrip("=")


def _key_of(one: Order, record: Record) -> tuple[int | str, ...] | None:
    if one.name == "_lastUpdated":
        return (record.committed_at_ms,)
    if one.name == "_id":
        return (reference_of(record),)
    return sort_key(one.parameter, json.loads(record.content), descending=one.descending)


def _first(pair: tuple[tuple[int | str, ...] | None, Record]) -> tuple[int | str, ...]:
    return pair[0] or ()


def _order_of(resource_type: str, value: str, known: dict[str, Parameter]) -> tuple[Order, ...]:
    names = value.split(",")
    if len(names) > _MAX_SORTED:
        raise InvalidResource(Issue("too-costly", "", f"_sort takes at most {_MAX_SORTED} keys"))
    found = []
    for one in names:
        name = one.removeprefix("-")
        if name not in known or known[name].kind == "reference":
            raise InvalidResource(Issue("not-supported", "", f"{resource_type} is not sorted by {name[:40]!r} here"))
        found.append(Order(name, known[name], one.startswith("-")))
    return tuple(found)


def _names_of(resource_type: str, name: str, value: str) -> tuple[str, ...] | None:
    """The strings under which blind tags find what a parameter names; None for one that names nothing."""
    if name == "_id":
        found = alternatives(value)
        if not all(ID.fullmatch(one) for one in found):
            raise InvalidResource(Issue("value", "", "_id takes ids of 1 to 64 letters, digits, hyphens and dots"))
        names = [f"{resource_type}/{one}" for one in found]
    elif name in ("patient", "subject"):
        owners = [_OWNER.fullmatch(one) for one in alternatives(value)]
        names = [f"Patient/{owner[1]}" for owner in owners if owner is not None]
        if len(names) != len(owners):
            raise InvalidResource(Issue("value", "", f"{name} takes an id or Patient/id"))
    elif name == "identifier":
        tokens = [token_parts(one) for one in alternatives(value)]
        if not all(code for _, code in tokens):
            raise InvalidResource(Issue("value", "", "identifier takes value or system|value"))
        names = [identifier_key(resource_type, system, code) for system, code in tokens]
    else:
        return None
    if len(names) > _MAX_NAMED:
        raise InvalidResource(Issue("too-costly", "", f"{name} takes at most {_MAX_NAMED} values"))
    return tuple(names)


def _not_served(resource_type: str, name: str, known: dict[str, Parameter]) -> InvalidResource:
    issue = Issue("not-supported", "", f"{resource_type} has no search parameter {name[:40]!r} here")
    return InvalidResource(issue, hint=f"one of {', '.join(sorted(known))}; or Prefer: handling=lenient")


def _count_of(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise InvalidResource(Issue("value", "", "_count is a number"))
    return min(int(value), MAX_COUNT)


def _position_of(text: str) -> Place:
    """Where a page starts. It opens nothing by itself: every twin is decided anew on every page."""
    try:
        decoded = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
    except (ValueError, binascii.Error):
        decoded = ""
    match = _CURSOR.fullmatch(decoded)
    if match is None:
        raise InvalidResource(Issue("value", "", "_cursor comes from the next link of a search and is used as it is"))
    return match[1], match[2] or END
