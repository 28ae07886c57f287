"""Conditions: which record, if any, a conditional create, update or delete is about.

https://hl7.org/fhir/R4/http.html#cond-update. A condition on a business identifier is answered by blind tags and opens
nothing, so whoever may only write can use it; any other condition is a search, decided and logged as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from twinward.access.interfaces import Principal
from twinward.fhir.errors import InvalidResource, Issue, SeveralMatch
from twinward.fhir.query import Query, read_query
from twinward.fhir.render import reference_of
from twinward.fhir.search import Search
from twinward.vault.interfaces import Record, RecordHead
from twinward.vocabulary import Purpose

_MAX_CONDITION_CHARS = 2000
_MAX_FIELDS = 50


@dataclass(frozen=True, slots=True)
class Match:
    """The one record that a condition is true of. ``record`` is there if it had to be opened to know."""

    head: RecordHead
    record: Record | None = None


def read_condition(resource_type: str, text: str) -> Query:
    """A condition as ``If-None-Exist`` carries it: ``identifier=system|value``, say.

    Raises:
        InvalidResource: no criterion at all, or one that is not served.
    """
    if len(text) > _MAX_CONDITION_CHARS:
        raise InvalidResource(Issue("too-long", "", f"a condition has {_MAX_CONDITION_CHARS} letters at most"))
    try:
        pairs = parse_qsl(text.partition("?")[2] or text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InvalidResource(Issue("too-long", "", f"a condition has {_MAX_FIELDS} parameters at most")) from None
    return condition_of(resource_type, pairs)


def condition_of(resource_type: str, pairs: Sequence[tuple[str, str]]) -> Query:
    """A condition out of parameters. Raises as ``read_condition``."""
    query = read_query(resource_type, pairs)
    if not (query.named or query.filters):
        raise InvalidResource(Issue("required", "", "a condition names at least one search parameter"))
    if query.order or query.includes or query.subset.summary or query.subset.elements:
        raise InvalidResource(Issue("not-supported", "", "a condition says which resource, not how it is shown"))
    return replace(query, count=2, after=("", ""))


@dataclass(frozen=True, slots=True)
class Conditions:
    """Looks up what conditions are true of."""

    search: Search

    def match(self, principal: Principal, query: Query, *, purpose: Purpose) -> Match | None:
        """The only record the condition is true of; None where there is none.

        Raises:
            SeveralMatch: it is true of more than one.
            AccessDenied: it needs a search, and the principal may not search.
            InvalidResource: it would need a search across too many patients.
        """
        named = _identifiers_of(query)
        return self._by_tags(query, named) if named else self._by_search(principal, query, purpose)

    def _by_tags(self, query: Query, names: tuple[str, ...]) -> Match | None:
        finding = self.search.twins.finding
        places = {place: name for name in names for place in finding.places_of(name)}
        for owners in query.named:
            if owners != names:
                twins = set().union(*(finding.twins_of(owner) for owner in owners))
                places = {place: name for place, name in places.items() if place[0] in twins}
        if len(places) > 1:
            raise _several()
        if not places:
            return None
        return Match(finding.head_of(next(iter(places.values()))))

    def _by_search(self, principal: Principal, query: Query, purpose: Purpose) -> Match | None:
        found = self.search.find(principal, query, purpose=purpose)
        if len(found.records) > 1:
            raise _several()
        if found.next_after is not None:
            text = "this condition would need a search across too many patients"
            raise InvalidResource(Issue("too-costly", "", text), hint="name the patient, or a business identifier")
        if not found.records:
            return None
        record = found.records[0]
        return Match(self.search.twins.finding.head_of(reference_of(record)), record)


def _identifiers_of(query: Query) -> tuple[str, ...]:
    """The names of the identifiers, where the condition is about nothing else than these and whose record it is."""
    if {name for name, _, _ in query.filters} != {"identifier"}:
        return ()
    named = [names for names in query.named if not names[0].startswith("Patient/")]
    prefix = f'["{query.resource_type}?identifier"'
    return named[0] if len(named) == 1 and named[0][0].startswith(prefix) else ()


def _several() -> SeveralMatch:
    return SeveralMatch("the condition is true of several resources", hint="make it true of one only")
