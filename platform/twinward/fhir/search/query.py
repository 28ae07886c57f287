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

from twinward.core.ids import UUID_PATTERN
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.search.chains import Chain, read_chain, typed_reference
from twinward.fhir.search.includes import Include, read_include
from twinward.fhir.search.matching import Criterion, all_true, check, sort_key
from twinward.fhir.search.parameters import (
    SUBSETS,
    Parameter,
    alternatives,
    count_of,
    is_blind,
    is_wish,
    names_of,
    parameters_of,
)
from twinward.fhir.search.representation import COUNTED, WHOLE, Subset, read_subset, reference_of
from twinward.vault.interfaces import Record

DEFAULT_COUNT = 50
_MAX_PARAMETERS = 50
_MAX_VALUE_CHARS = 1000
_MAX_SORTED = 5
_MAX_CHAINS = 5

END = "~"
"""After every record id of a twin."""

Place = tuple[str, str]
"""Where a record stands among all: its twin, its record id."""

_CURSOR = re.compile(f"({UUID_PATTERN})/({UUID_PATTERN})?")
_SORTED_CURSOR = re.compile(r"([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})/_history/([1-9][0-9]{0,9})")
_TOTALS = frozenset({"none", "estimate", "accurate"})
_COUNTS_ANYWAY = ("_totalMethod", "count")
"""What ``fhirpy`` sends beside ``_count=0``."""


@dataclass(frozen=True, slots=True)
class Order:
    """One key of a ``_sort``."""

    name: str
    parameter: Parameter
    descending: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A search as it was understood. ``named`` are strings that blind tags can find: all lists, any of each.

    ``total`` is what ``_total`` says, empty where it does not. Where there is an order, the last page ended with
    ``after_version``: a version stays what it was when its record is changed or deleted.
    """

    resource_type: str
    count: int = DEFAULT_COUNT
    after: Place = ("", "")
    after_version: tuple[str, int] | None = None
    named: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    filters: tuple[Criterion, ...] = field(default=(), repr=False)
    chains: tuple[Chain, ...] = field(default=(), repr=False)
    used: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ignored: tuple[str, ...] = ()
    order: tuple[Order, ...] = ()
    includes: tuple[Include, ...] = ()
    subset: Subset = WHOLE
    total: str = ""

    def matches(self, record: Record) -> bool:
        """Whether an opened record is one of those asked for, as far as it says so itself."""
        return all_true(self.filters, record)

    @property
    def needs_all(self) -> bool:
        """Whether every match must be known before the first is shown."""
        return bool(self.order) or self.needs_total

    @property
    def needs_total(self) -> bool:
        """Whether every match must be known to say how many there are."""
        return self.subset.only_counts or self.total == "accurate"

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


def read_query(resource_type: str, pairs: Sequence[tuple[str, str]], *, lenient: bool = False, base: str = "") -> Query:
    """A query out of the parameters of a request.

    Args:
        resource_type: the type searched; a type of R4.
        pairs: names and values in order.
        lenient: ignore what is not known here, and say so, instead of refusing it.
        base: of this node, as the caller knows it: an address there is the relative reference.

    Raises:
        InvalidResource: a parameter that is not served, or a value that cannot be one.
    """
    if len(pairs) > _MAX_PARAMETERS or any(len(value) > _MAX_VALUE_CHARS for _, value in pairs):
        raise InvalidResource(
            Issue("too-long", "", f"at most {_MAX_PARAMETERS} parameters, {_MAX_VALUE_CHARS} letters")
        )
    subset = read_subset(pairs)
    reader = _Reader(resource_type, base, lenient)
    for name, value in pairs:
        reader.take(*typed_reference(resource_type, name, value))
    return reader.query(subset)


class _Reader:
    """The parameters of one request, taken one by one."""

    def __init__(self, resource_type: str, base: str, lenient: bool) -> None:
        self._resource_type, self._base, self._lenient = resource_type, base, lenient
        self._known = parameters_of(resource_type)
        self._count = DEFAULT_COUNT
        self._order: tuple[Order, ...] = ()
        self._includes: list[Include] = []
        self._named: list[tuple[str, ...]] = []
        self._filters: list[Criterion] = []
        self._chains: list[Chain] = []
        self._used: list[tuple[str, str]] = []
        self._ignored: list[str] = []
        self._cursor = self._total = ""

    def take(self, name: str, value: str) -> None:
        """Take one parameter. Raises ``InvalidResource`` where it is not served, or its value cannot be one."""
        if name == "_cursor":
            self._cursor = value
        elif self._shows(name, value):
            self._used.append((name, value))
        elif is_wish(name, value) or (name, value) == _COUNTS_ANYWAY:
            pass
        elif name in self._known:
            self._used.append((name, self._criterion(name, self._known[name], value)))
        elif chain := _chain(self._resource_type, name, value, self._base, lenient=self._lenient):
            self._chains.append(chain)
            self._used.append((name, value))
        elif self._lenient:
            self._ignored.append(name[:40])
        else:
            raise _not_served(self._resource_type, name, self._known)

    def _shows(self, name: str, value: str) -> bool:
        """Take what says how matches are shown; whether this does."""
        if name == "_count":
            self._count = count_of(value)
        elif name == "_sort":
            self._order = _order_of(self._resource_type, value, self._known)
        elif name in ("_include", "_revinclude"):
            self._includes.append(read_include(name, value, self._resource_type))
        elif name == "_total" and value in _TOTALS:
            self._total = value
        else:
            return name in SUBSETS  # read together
        return True

    def _criterion(self, name: str, parameter: Parameter, value: str) -> str:
        """Take what must be true of a match; its value, an address at this node made relative."""
        if parameter.kind == "reference" and self._base:
            value = ",".join(one.removeprefix(f"{self._base}/") for one in alternatives(value))
        check(name, parameter, value)
        found = names_of(self._resource_type, name, value)
        if found is not None:
            self._named.append(found)
        if not is_blind(self._resource_type, name):  # those are answered by what they name
            self._filters.append((name, parameter, value))
        return value

    def query(self, subset: Subset) -> Query:
        """What all of them ask for. Raises ``InvalidResource`` for too many chains, or a cursor that is none."""
        if len(self._chains) > _MAX_CHAINS:
            raise InvalidResource(Issue("too-costly", "", f"at most {_MAX_CHAINS} chained criteria"))
        after, after_version = _position_of(self._cursor, self._resource_type, is_sorted=bool(self._order))
        return Query(
            self._resource_type,
            self._count,
            after,
            after_version,
            tuple(self._named),
            tuple(self._filters),
            tuple(self._chains),
            tuple(self._used),
            tuple(self._ignored),
            self._order,
            tuple(self._includes),
            subset if self._count else COUNTED,
            self._total,
        )


def place_of(record: Record) -> Place:
    """Where a record stands among all."""
    return record.twin, str(record.record_id)


def cursor_of(place: Place) -> str:
    """What a ``next`` link carries."""
    return _encoded("/".join(place).replace(END, ""))


def sorted_cursor_of(record: Record) -> str:
    """What the ``next`` link of a sorted page carries, which ends with this record."""
    return _encoded(f"{reference_of(record)}/_history/{record.version}")


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


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
            text = f"_sort: {resource_type} is not sorted by {name[:40]!r} here"
            raise InvalidResource(Issue("not-supported", "", text))
        found.append(Order(name, known[name], one.startswith("-")))
    return tuple(found)


def _chain(resource_type: str, name: str, value: str, base: str, *, lenient: bool) -> Chain | None:
    """A parameter as a chain; None for one that is none, or (``lenient``) for one that is not served."""
    try:
        return read_chain(resource_type, name, value, base=base)
    except InvalidResource as error:
        if lenient and error.issues[0].code == "not-supported":
            return None
        raise


def _not_served(resource_type: str, name: str, known: dict[str, Parameter]) -> InvalidResource:
    issue = Issue("not-supported", "", f"{resource_type} has no search parameter {name[:40]!r} here")
    return InvalidResource(issue, hint=f"one of {', '.join(sorted(known))}; or Prefer: handling=lenient")


def _position_of(text: str, resource_type: str, *, is_sorted: bool) -> tuple[Place, tuple[str, int] | None]:
    """Where a page starts. It opens nothing by itself: every twin is decided anew on every page."""
    if not text:
        return ("", ""), None
    try:
        decoded = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
    except (ValueError, binascii.Error):
        decoded = ""
    match = (_SORTED_CURSOR if is_sorted else _CURSOR).fullmatch(decoded)
    if match is not None and not is_sorted:
        return (match[1], match[2] or END), None
    if match is not None and match[1].startswith(f"{resource_type}/"):
        return ("", ""), (match[1], int(match[2]))
    raise InvalidResource(Issue("value", "", "_cursor comes from the next link of a search and is used as it is"))
