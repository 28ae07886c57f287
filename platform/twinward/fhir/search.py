"""Search: which twins, which of their records, which page. https://hl7.org/fhir/R4/search.html.

A search that names its patients (``patient``, ``subject``, ``identifier``, ``_id``) reads those twins and nothing
else. One that names nobody goes across the twins in order of their opaque ids, and opens only as many as its page
needs: each is decided and logged by itself. The next page starts after the last record of this one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from twinward.access.interfaces import Principal
from twinward.fhir.categories import categories_of_type
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.patients import identifier_key
from twinward.fhir.render import reference_of, searchset, withheld_issues
from twinward.fhir.resource_types import SHARED_TYPES
from twinward.fhir.search_parameters import (
    Parameter,
    alternatives,
    check,
    is_searchable,
    matches,
    matches_date,
    parameters_of,
    token_parts,
)
from twinward.fhir.validate import ID
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record
from twinward.vocabulary import Action, Category, Purpose, TwinId

DEFAULT_COUNT = 50
MAX_COUNT = 500
_MAX_PARAMETERS = 50
_MAX_VALUE_CHARS = 1000
_MAX_NAMED = 20
_TWINS_PER_PAGE = 100
"""Twins a page of a search across opens at most: a rare match then costs more pages, not one long request."""

_END = "~"
"""After every record id of a twin."""

_CURSOR = re.compile(r"([0-9a-f-]{36})/([0-9a-f-]{36})?")
_OWNER = re.compile(r"(?:https?://[^?#]{1,500}/)?(?:Patient/)?([A-Za-z0-9\-.]{1,64})")
_FORMATS = frozenset({"json", "application/json", "application/fhir+json"})


@dataclass(frozen=True, slots=True)
class Query:
    """A search as it was understood. ``named`` are strings that blind tags can find: all lists, any of each."""

    resource_type: str
    count: int
    after: tuple[str, str]
    named: tuple[tuple[str, ...], ...] = field(repr=False)
    filters: tuple[tuple[str, Parameter, str], ...] = field(repr=False)
    used: tuple[tuple[str, str], ...] = field(repr=False)
    ignored: tuple[str, ...]

    def matches(self, record: Record) -> bool:
        """Whether an opened record is one of those asked for."""
        resource = json.loads(record.content) if self.filters else {}
        moment = (record.committed_at_ms, record.committed_at_ms + 1)
        return all(
            matches_date(value, [moment]) if name == "_lastUpdated" else matches(parameter, value, resource)
            for name, parameter, value in self.filters
        )


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
        elif name == "_format" and value in _FORMATS:
            continue
        elif name in known:
            check(name, known[name], value)
            found = _names_of(resource_type, name, value)
            if found is not None:
                named.append(found)
            if known[name].kind != "reference" and name != "_id":  # those are answered by what they name
                filters.append((name, known[name], value))
        elif lenient:
            ignored.append(name[:40])
            continue
        else:
            raise _not_served(resource_type, name, known)
        used.append((name, value))
    return Query(resource_type, count, after, tuple(named), tuple(filters), tuple(used), tuple(ignored))


@dataclass(frozen=True, slots=True)
class Found:
    """One page. ``next_after`` is where the next one starts; ``total`` is None where nobody knows it."""

    records: list[Record] = field(repr=False)
    total: int | None
    next_after: tuple[str, str] | None
    withheld: frozenset[Category]


@dataclass(frozen=True, slots=True)
class Search:
    """The walk of one search."""

    twins: Twins

    def page(
        self, principal: Principal, query: Query, *, base: str, purpose: Purpose, justification: str = ""
    ) -> bytes:
        """One page as a searchset.

        Raises:
            AccessDenied: the principal may not search here, or may see nothing of a patient it named.
        """
        found = self.find(principal, query, purpose=purpose, justification=justification)
        address = f"{base}/{query.resource_type}"
        links = {"self": _url(address, query.used)}
        if found.next_after is not None:
            links["next"] = _url(address, (*query.used, ("_cursor", _cursor(found.next_after))))
        issues = withheld_issues(found.withheld)
        if query.ignored:
            text = f"not served here, ignored: {', '.join(query.ignored)}"
            issues.append(Issue("not-supported", "", text, severity="warning"))
        return searchset(found.records, base=base, total=found.total, links=links, issues=issues)

    def find(self, principal: Principal, query: Query, *, purpose: Purpose, justification: str = "") -> Found:
        """One page of records. Raises as ``page``."""
        if query.named:
            return self._within(principal, query, purpose, justification)
        self.twins.finding.require(principal, Action.SEARCH, purpose, justification)
        if not is_searchable(query.resource_type):
            issue = Issue("not-supported", "", f"a search of {query.resource_type} names its records by _id here")
            raise InvalidResource(issue)
        return self._across(principal, query, purpose)

    def _within(self, principal: Principal, query: Query, purpose: Purpose, justification: str) -> Found:
        finding = self.twins.finding
        candidates = [set().union(*(finding.twins_of(name) for name in names)) for names in query.named]
        twins = sorted(set.intersection(*candidates))
        if not twins:
            finding.require(principal, Action.READ, purpose, justification)
        wanted = categories_of_type(query.resource_type)
        ids = _ids_of(query)
        matched: list[Record] = []
        withheld: frozenset[Category] = frozenset()
        for twin in twins:
            records, hidden = finding.within(
                principal, purpose, twin, query.resource_type, wanted, justification=justification
            )
            withheld |= hidden
            matched += [one for one in records if (ids is None or reference_of(one) in ids) and query.matches(one)]
        rest = [one for one in matched if _place(one) > query.after]
        shown = rest[: query.count]
        more = _place(shown[-1]) if shown and len(rest) > len(shown) else None
        return Found(shown, len(matched), more, withheld)

    def _across(self, principal: Principal, query: Query, purpose: Purpose) -> Found:
        # A twin that the last page finished is not opened again.
        twins = [twin for twin in self._scope(query.resource_type) if (twin, _END) > query.after]
        shown: list[Record] = []
        for opened, (twin, records) in enumerate(self._opened(principal, query, purpose, twins, shown), start=1):
            for record in records:
                if _place(record) > query.after and query.matches(record):
                    if len(shown) == query.count:
                        return Found(shown, None, _place(shown[-1]) if shown else None, frozenset())
                    shown.append(record)
            if opened < len(twins) and (len(shown) >= query.count or opened == _TWINS_PER_PAGE):
                return Found(shown, None, (twin, _END) if query.count else None, frozenset())
        return Found(shown, None, None, frozenset())

    def _opened(
        self, principal: Principal, query: Query, purpose: Purpose, twins: list[TwinId], shown: list[Record]
    ) -> Iterator[tuple[TwinId, list[Record]]]:
        """Twins opened a few at a time: for patients as many as are still wanted, since each has one record."""
        wanted = categories_of_type(query.resource_type)
        start = 0
        while start < len(twins):
            some = max(1, query.count - len(shown)) if query.resource_type == "Patient" else 1
            batch = twins[start : start + min(some, _TWINS_PER_PAGE)]
            start += len(batch)
            yield from self.twins.finding.across(principal, Action.SEARCH, purpose, batch, query.resource_type, wanted)

    def _scope(self, resource_type: str) -> list[TwinId]:
        if resource_type not in SHARED_TYPES:
            return sorted(self.twins.all())
        directory = self.twins.directory()
        return [] if directory is None else [directory]


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
    elif name == "identifier" and resource_type == "Patient":
        tokens = [token_parts(one) for one in alternatives(value)]
        if not all(code for _, code in tokens):
            raise InvalidResource(Issue("value", "", "identifier takes value or system|value"))
        names = [identifier_key(system, code) for system, code in tokens]
    else:
        return None
    if len(names) > _MAX_NAMED:
        raise InvalidResource(Issue("too-costly", "", f"{name} takes at most {_MAX_NAMED} values"))
    return tuple(names)


def _ids_of(query: Query) -> set[str] | None:
    found = [set(names) for names in query.named if names[0].startswith(f"{query.resource_type}/")]
    return set.intersection(*found) if found else None


def _not_served(resource_type: str, name: str, known: dict[str, Parameter]) -> InvalidResource:
    issue = Issue("not-supported", "", f"{resource_type} has no search parameter {name[:40]!r} here")
    return InvalidResource(issue, hint=f"one of {', '.join(sorted(known))}; or Prefer: handling=lenient")


def _count_of(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise InvalidResource(Issue("value", "", "_count is a number"))
    return min(int(value), MAX_COUNT)


def _place(record: Record) -> tuple[str, str]:
    return record.twin, str(record.record_id)


def _cursor(place: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode("/".join(place).replace(_END, "").encode()).decode().rstrip("=")


def _position_of(text: str) -> tuple[str, str]:
    """Where a page starts. It opens nothing by itself: every twin is decided anew on every page."""
    try:
        decoded = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
    except (ValueError, binascii.Error):
        decoded = ""
    match = _CURSOR.fullmatch(decoded)
    if match is None:
        raise InvalidResource(Issue("value", "", "_cursor comes from the next link of a search and is used as it is"))
    return match[1], match[2] or _END


def _url(address: str, pairs: Sequence[tuple[str, str]]) -> str:
    return f"{address}?{urlencode(pairs)}" if pairs else address
