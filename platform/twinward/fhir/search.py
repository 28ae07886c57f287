"""Search: which twins, which of their records, which page. https://hl7.org/fhir/R4/search.html.

A search that names its patients (``patient``, ``subject``, ``identifier``, ``_id``) reads those twins and nothing
else. One that names nobody goes across the twins in order of their opaque ids, and opens only as many as its page
needs: each is decided and logged by itself. The next page starts after the last record of this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from twinward.access.interfaces import Principal
from twinward.fhir.categories import categories_of_type
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.includes import Including
from twinward.fhir.query import END, Place, Query, cursor_of, place_of
from twinward.fhir.render import reference_of, searchset, withheld_issues
from twinward.fhir.resource_types import SHARED_TYPES
from twinward.fhir.search_parameters import is_searchable
from twinward.twins.service import Twins
from twinward.vault.interfaces import Record
from twinward.vocabulary import Action, Category, Purpose, TwinId

_TWINS_PER_PAGE = 100
"""Twins a page of a search across opens at most: a rare match then costs more pages, not one long request."""


@dataclass(frozen=True, slots=True)
class Found:
    """One page. ``next_after`` is where the next one starts; ``total`` is None where nobody knows it."""

    records: list[Record] = field(repr=False)
    total: int | None
    next_after: Place | None
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
            links["next"] = _url(address, (*query.used, ("_cursor", cursor_of(found.next_after))))
        issues = withheld_issues(found.withheld)
        if query.ignored:
            text = f"not served here, ignored: {', '.join(query.ignored)}"
            issues.append(Issue("not-supported", "", text, severity="warning"))
        return searchset(
            () if query.subset.only_counts else found.records,
            base=base,
            total=found.total,
            links=links,
            issues=issues,
            included=self._included(principal, query, found.records, purpose, justification),
            subset=query.subset,
        )

    def find(self, principal: Principal, query: Query, *, purpose: Purpose, justification: str = "") -> Found:
        """One page of records. Raises as ``page``."""
        if query.named:
            return self._within(principal, query, purpose, justification)
        self.twins.finding.require(principal, Action.SEARCH, purpose, justification)
        if not is_searchable(query.resource_type):
            issue = Issue("not-supported", "", f"a search of {query.resource_type} names its records by _id here")
            raise InvalidResource(issue)
        if query.order or query.subset.only_counts:
            text = "a search across patients is neither sorted nor counted here: that would open every one of them"
            raise InvalidResource(Issue("too-costly", "", text), hint="name the patient, or an _id or identifier")
        return self._across(principal, query, purpose)

    def _included(
        self, principal: Principal, query: Query, matched: Sequence[Record], purpose: Purpose, justification: str
    ) -> list[Record]:
        if not query.includes or query.subset.only_counts:
            return []
        including = Including(self.twins.finding, principal, purpose, justification)
        return including.of(matched, query.includes, query.resource_type)

    def _within(self, principal: Principal, query: Query, purpose: Purpose, justification: str) -> Found:
        finding = self.twins.finding
        candidates = [set().union(*(finding.twins_of(name) for name in names)) for names in query.named]
        twins = sorted(set.intersection(*candidates))
        if not twins:
            finding.require(principal, Action.READ, purpose, justification)
        wanted = categories_of_type(query.resource_type)
        ids = query.ids()
        matched: list[Record] = []
        withheld: frozenset[Category] = frozenset()
        for twin in twins:
            records, hidden = finding.within(
                principal, purpose, twin, query.resource_type, wanted, justification=justification
            )
            withheld |= hidden
            matched += [one for one in records if (ids is None or reference_of(one) in ids) and query.matches(one)]
        rest = _after(query.sorted(matched), query)
        shown = rest[: query.count]
        more = place_of(shown[-1]) if shown and len(rest) > len(shown) else None
        return Found(shown, len(matched), more, withheld)

    def _across(self, principal: Principal, query: Query, purpose: Purpose) -> Found:
        # A twin that the last page finished is not opened again.
        twins = [twin for twin in self._scope(query.resource_type) if (twin, END) > query.after]
        shown: list[Record] = []
        for opened, (twin, records) in enumerate(self._opened(principal, query, purpose, twins, shown), start=1):
            for record in records:
                if place_of(record) > query.after and query.matches(record):
                    if len(shown) == query.count:
                        return Found(shown, None, place_of(shown[-1]) if shown else None, frozenset())
                    shown.append(record)
            if opened < len(twins) and (len(shown) >= query.count or opened == _TWINS_PER_PAGE):
                return Found(shown, None, (twin, END) if query.count else None, frozenset())
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


def _after(records: Sequence[Record], query: Query) -> list[Record]:
    """What is left after the last record of the page before, which is found again where there is an order."""
    if not query.order or query.after == ("", ""):
        return [one for one in records if place_of(one) > query.after]
    places = [place_of(one) for one in records]
    if query.after not in places:
        raise InvalidResource(Issue("conflict", "", "what the last page ended with is gone: start the search again"))
    return list(records[places.index(query.after) + 1 :])


def _url(address: str, pairs: Sequence[tuple[str, str]]) -> str:
    return f"{address}?{urlencode(pairs)}" if pairs else address
