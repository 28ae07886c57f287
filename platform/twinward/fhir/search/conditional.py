"""Conditions: which record, if any, a conditional create, update or delete is about.

https://hl7.org/fhir/R4/http.html#cond-update. A condition on a business identifier is answered by blind tags and opens
nothing, so whoever may only write can use it; any other condition is a search, decided and logged as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from twinward.access.interfaces import AccessContext
from twinward.fhir.errors import InvalidResource, Issue, SeveralMatch
from twinward.fhir.json.strict_json import JsonObject
from twinward.fhir.search.matching import matches
from twinward.fhir.search.query import Query, read_query
from twinward.fhir.search.representation import reference_of
from twinward.fhir.search.service import Search
from twinward.vault.interfaces import Record, RecordHead

_MAX_CONDITION_CHARS = 2000
_MAX_FIELDS = 50


@dataclass(frozen=True, slots=True)
class Match:
    """The one record that a condition is true of. ``record`` is there if it had to be opened to know."""

    head: RecordHead
    record: Record | None = None


def read_condition(resource_type: str, text: str, *, base: str = "") -> Query:
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
    return condition_of(resource_type, pairs, base=base)


def condition_of(resource_type: str, pairs: Sequence[tuple[str, str]], *, base: str = "") -> Query:
    """A condition out of parameters. Raises as ``read_condition``."""
    query = read_query(resource_type, pairs, base=base)
    if query.chains:
        raise InvalidResource(Issue("not-supported", "", "a condition is about the resource itself: no chain, no _has"))
    if not (query.named or query.filters):
        raise InvalidResource(Issue("required", "", "a condition names at least one search parameter"))
    if query.total or query.order or query.includes or query.subset.summary or query.subset.elements:
        raise InvalidResource(Issue("not-supported", "", "a condition says which resource, not how it is shown"))
    return replace(query, count=2, after=("", ""), after_version=None)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Looks up what conditions are true of."""

    search: Search

    def match(self, context: AccessContext, query: Query) -> Match | None:
        """The only record the condition is true of; None where there is none.

        Raises:
            SeveralMatch: it is true of more than one.
            AccessDenied: it needs a search, and the principal may not search.
            InvalidResource: it would need a search across too many patients.
        """
        named = _identifiers_of(query)
        if named:
            return self._by_tags(context, query, named)
        return self._by_search(context, query)

    def _by_tags(self, context: AccessContext, query: Query, names: tuple[str, ...]) -> Match | None:
        finding = self.search.twins.search
        places = {place: name for name in names for place in finding.places_of(name)}
        for owners in query.named:
            if owners != names:
                twins = set().union(*(finding.twins_of(owner) for owner in owners))
                places = {place: name for place, name in places.items() if place[0] in twins}
        if len(places) > 1:
            for name in set(places.values()):
                finding.note(context, finding.head_of(name), "several-match")
            raise _several()
        if not places:
            return None
        return Match(finding.head_of(next(iter(places.values()))))

    def _by_search(self, context: AccessContext, query: Query) -> Match | None:
        found = self.search.find(context, query)
        if len(found.records) > 1:
            raise _several()
        if found.next_cursor:
            text = "this condition would need a search across too many patients"
            raise InvalidResource(Issue("too-costly", "", text), hint="name the patient, or a business identifier")
        if not found.records:
            return None
        record = found.records[0]
        return Match(self.search.twins.search.head_of(reference_of(record)), record)


@dataclass(frozen=True, slots=True)
class KeptHere:
    """The ``Finder`` of a transaction: what the caller's conditions are true of, among what is kept and what comes in.

    What a condition is true of must be opened to learn its name, so whoever may not read it is refused.

    Attributes:
        turn: begun before the first condition is looked at: whoever has none waits for nobody, and holds nobody up.
        seen: the version of each kept resource that a condition was true of.
    """

    conditions: Conditions
    context: AccessContext
    base: str
    turn: Callable[[], object] = lambda: None
    seen: dict[str, int] = field(default_factory=dict, init=False)

    def find(self, resource_type: str, condition: str, among: Mapping[str, JsonObject]) -> str | None:
        """See ``twinward.fhir.mapping.references.Finder``."""
        query = read_condition(resource_type, condition, base=self.base)
        self.turn()
        found = {name for name, body in among.items() if _is_true_of(query, name, body)}
        match = self.conditions.match(self.context, query)
        if match is not None:
            finding = self.conditions.search.twins.search
            record = match.record or finding.open(self.context, match.head)
            self.seen[reference_of(record)] = match.head.version
            found.add(reference_of(record))
        if len(found) > 1:
            raise _several()
        return found.pop() if found else None


def _is_true_of(query: Query, name: str, body: JsonObject) -> bool:
    """Whether a condition is true of a resource that is about to be kept. Whose it is, nobody can say yet."""
    if name.partition("/")[0] != query.resource_type or any(names[0].startswith("Patient/") for names in query.named):
        return False
    return all(name != "_lastUpdated" and matches(parameter, value, body) for name, parameter, value in query.filters)


def _identifiers_of(query: Query) -> tuple[str, ...]:
    """The names of the identifiers, where the condition is about nothing else than these and whose record it is."""
    if {name for name, _, _ in query.filters} != {"identifier"}:
        return ()
    named = [names for names in query.named if not names[0].startswith("Patient/")]
    prefix = f'["{query.resource_type}?identifier"'
    return named[0] if len(named) == 1 and named[0][0].startswith(prefix) else ()


def _several() -> SeveralMatch:
    return SeveralMatch("the condition is true of several resources", hint="make it true of one only")
