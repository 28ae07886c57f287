"""Search: which twins, which of their records, which page. https://hl7.org/fhir/R4/search.html.

A search that names its patients (``patient``, ``subject``, ``identifier``, ``_id``) reads those twins and nothing
else. One that names nobody goes across the twins in order of their opaque ids, and opens only as many as its page
needs: each is decided and logged by itself. The next page starts after the last record of this one.

One that is sorted or counted opens every twin that the caller may see something of, on each page anew: as many as
``most_twins``, for as long as ``most_s``. Whoever may not be seen is in no page, no order and no total.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, Category, RecordId, TwinId
from twinward.fhir.errors import InvalidResource, Issue
from twinward.fhir.mapping.categories import categories_of_type
from twinward.fhir.resource_types import SHARED_TYPES
from twinward.fhir.search.chains import Chaining, Known
from twinward.fhir.search.facets import wanted_by
from twinward.fhir.search.includes import Including
from twinward.fhir.search.live import LEFT_OUT, LiveRecords, bounded
from twinward.fhir.search.parameters import is_searchable
from twinward.fhir.search.query import END, Query, cursor_of, place_of, sorted_cursor_of
from twinward.fhir.search.representation import reference_of
from twinward.fhir.search.results import page_links, searchset, withheld_issues
from twinward.twins.service import Twins
from twinward.vault.errors import NotReleased
from twinward.vault.interfaces import Record
from twinward.vault.search.facets import Wanted

_TWINS_PER_PAGE = 100
"""Twins a page of a search across opens at most: a rare match then costs more pages, not one long request."""

MOST_TWINS = 1000
MOST_S = 20.0
"""Twins that one page opens where all have to be known, and how long that may take."""


@dataclass(frozen=True, slots=True)
class Found:
    """One page. ``next_cursor`` is where the next one starts, empty for none; ``total`` is None if nobody knows it."""

    records: list[Record] = field(repr=False)
    total: int | None
    next_cursor: str
    withheld: frozenset[Category]


@dataclass(frozen=True, slots=True)
class Search:
    """The walk of one search. ``most_twins`` and ``most_s`` bound a search that must open all to sort or to count."""

    twins: Twins
    most_twins: int = MOST_TWINS
    most_s: float = MOST_S
    live: LiveRecords | None = None

    def page(self, context: AccessContext, query: Query, *, base: str) -> bytes:
        """One page as a searchset.

        Raises:
            AccessDenied: the principal may not search here, or may see nothing of a patient it named.
        """
        found = self.find(context, query)
        address, counts = f"{base}/{query.resource_type}", query.subset.only_counts
        issues = withheld_issues(found.withheld)
        if query.ignored:
            text = f"not served here, ignored: {', '.join(query.ignored)}"
            issues.append(Issue("not-supported", "", text, severity="warning"))
        if self.live is not None and self.live.are_left_out(query):
            issues.append(Issue("incomplete", "", LEFT_OUT, severity="information"))
        return searchset(
            () if counts else found.records,
            base=base,
            total=found.total if counts or query.total != "none" else None,
            links=page_links(address, query.used, found.next_cursor, counts=counts),
            issues=issues,
            included=self._included(context, query, found.records),
            subset=query.subset,
        )

    def find(self, context: AccessContext, query: Query) -> Found:
        """One page of records. Raises as ``page``."""
        if query.named:
            return self._within(context, query)
        self.twins.search.require(context, Action.SEARCH)
        if not is_searchable(query.resource_type):
            issue = Issue("not-supported", "", f"a search of {query.resource_type} names its records by _id here")
            raise InvalidResource(issue)
        walk = _Walk(self, query, self._chaining(context))
        return walk.all() if walk.needs_all else walk.some()

    def _chaining(self, context: AccessContext) -> Chaining:
        return Chaining(self.twins.search, self.twins.directory(), context)

    def _included(self, context: AccessContext, query: Query, matched: Sequence[Record]) -> list[Record]:
        if not query.includes or query.subset.only_counts:
            return []
        including = Including(self.twins.search, context)
        return including.of(matched, query.includes, query.resource_type)

    def _within(self, context: AccessContext, query: Query) -> Found:
        candidates = [set().union(*(self.twins.search.twins_of(name) for name in names)) for names in query.named]
        twins = sorted(set.intersection(*candidates))
        if not twins:
            self.twins.search.require(context, Action.READ)
        if query.ids() is None and not query.chains and not query.needs_total:
            wanted = wanted_by(query)
            if wanted is not None and len(twins) == 1 and not self._is_live(query, twins[0]):
                return self._found_within(context, query, twins[0], wanted)
            if not query.order:
                return self._first_within(context, query, twins)
        return self._all_within(context, query, twins)

    def _found_within(self, context: AccessContext, query: Query, twin: TwinId, wanted: Wanted) -> Found:
        """The page of one named patient by the search index, opening no more than it shows."""
        after: Record | RecordId | None = self.last_of_page_before(context, query, ())
        if any(query.after) and query.after[0] >= twin:
            after = RecordId(query.after[1] if query.after[0] == twin else END)
        categories = categories_of_type(query.resource_type)
        records, withheld = self.twins.search.walk_found(context, twin, wanted, categories, after)
        matched = (one for one in records if query.matches(one))
        shown = list(islice(matched, query.count))
        if next(matched, None) is None:
            return Found(shown, len(shown) if after is None else None, "", withheld)
        more = sorted_cursor_of(shown[-1]) if query.order else cursor_of(place_of(shown[-1]))
        return Found(shown, None, more, withheld)

    def _first_within(self, context: AccessContext, query: Query, twins: Sequence[TwinId]) -> Found:
        """The page of patients that are named, opening no more of each than it shows. All of them are decided."""
        wanted = categories_of_type(query.resource_type)
        walks: list[Iterator[Record]] = []
        withheld: frozenset[Category] = frozenset()
        for twin in twins:
            after = query.after[1] if twin == query.after[0] else "" if twin > query.after[0] else END
            records, hidden = self.twins.search.walk(context, twin, query.resource_type, wanted, after)
            walks.append(records)
            withheld |= hidden
            if after != END and self._is_live(query, twin):
                measured, hidden = self._measured(context, query, twin, after)
                walks.append(measured)
                withheld |= hidden
        shown: list[Record] = []
        for record in filter(query.matches, chain.from_iterable(walks)):
            if len(shown) == query.count:  # there are more: how many, nobody has looked
                return Found(shown, None, cursor_of(place_of(shown[-1])), withheld)
            shown.append(record)
        return Found(shown, None if any(query.after) else len(shown), "", withheld)

    def _all_within(self, context: AccessContext, query: Query, twins: Sequence[TwinId]) -> Found:
        """The page of patients that are named out of all matches."""
        finding = self.twins.search
        wanted, ids = categories_of_type(query.resource_type), query.ids()
        places = None if ids is None else {place for one in ids for place in finding.places_of(one)}
        chaining = self._chaining(context)
        known = chaining.shared(query.chains) if twins else {}
        matched: list[Record] = []
        withheld: frozenset[Category] = frozenset()
        for twin in twins:
            if places is None:
                records, hidden = finding.within(context, twin, query.resource_type, wanted)
            else:
                some = {record_id for place, record_id in places if place == twin}
                records, hidden = finding.some_within(context, twin, query.resource_type, wanted, some)
            withheld |= hidden
            found = [one for one in records if (ids is None or reference_of(one) in ids) and query.matches(one)]
            if query.chains:
                found, hidden = chaining.within(twin, found, query.chains, known)
                withheld |= hidden
            matched += found
            if self._is_live(query, twin):
                measured, hidden = self._measured(context, query, twin)
                matched += bounded(filter(query.matches, measured))
                withheld |= hidden
        last = self.last_of_page_before(context, query, matched)
        return _page(matched, query, last, len(matched), withheld)

    def _is_live(self, query: Query, twin: TwinId) -> bool:
        return self.live is not None and self.live.are_in(query, twin)

    def _measured(
        self, context: AccessContext, query: Query, twin: TwinId, after: str = ""
    ) -> tuple[Iterator[Record], frozenset[Category]]:
        """What came by the live pipe of a named patient."""
        if self.live is None:
            return iter(()), frozenset()
        names = [name for named in query.named for name in named]
        subject = next((name for name in names if twin in self.twins.search.twins_of(name)), "")
        return self.live.walk(context, twin, subject, after)

    def last_of_page_before(self, context: AccessContext, query: Query, matched: Sequence[Record]) -> Record | None:
        """The version that the last sorted page ended with, as it was: opened anew where it is no match any more."""
        if query.after_version is None:
            return None
        reference, version = query.after_version
        kept = next((one for one in matched if reference_of(one) == reference and one.version == version), None)
        if kept is not None:
            return kept
        try:
            return self.twins.versions.read(context, reference, version)
        except NotFound:
            raise _page_is_gone() from None

    def scope(self, resource_type: str, start: str, most: int) -> list[TwinId]:
        """The twins that a search of a type across all goes through, in order: from ``start`` on, so many at most."""
        if resource_type not in SHARED_TYPES:
            return self.twins.all(start, most)
        directory = self.twins.directory()
        return [] if directory is None or directory < start else [directory]


class _Walk:
    """One page of a search across twins."""

    def __init__(self, search: Search, query: Query, chaining: Chaining) -> None:
        self._search, self._query, self._chaining = search, query, chaining
        self._known: Known = chaining.shared(query.chains)
        self._possible = all(self._known.values())
        self._named = chaining.named(query.chains) if self._possible else None

    @property
    def needs_all(self) -> bool:
        """Whether every twin has to be opened; an estimate is exact where that can be done, and none where it cannot.

        Raises:
            InvalidResource: these are more than may be opened for one page.
        """
        wanted = self._query.needs_all or self._query.total == "estimate"
        too_many = wanted and len(self._twins("", self._search.most_twins + 1)) > self._search.most_twins
        if self._query.needs_all and too_many:
            raise _too_costly(f"of at most {self._search.most_twins} patients")
        return wanted and not too_many

    def all(self) -> Found:
        """The page out of all matches, in their order, and how many there are."""
        query, asker = self._query, self._chaining
        try:
            last = self._search.last_of_page_before(asker.context, query, ())
        except (AccessDenied, NotReleased):
            raise _page_is_gone() from None  # as of what is not kept
        until = time.monotonic() + self._search.most_s
        kept: list[Record] = []
        total = 0
        twins = self._twins("", self._search.most_twins)
        for start in range(0, len(twins), _TWINS_PER_PAGE):
            batch = twins[start : start + _TWINS_PER_PAGE]
            for _, records in self._opened(batch, at_once=True):
                if time.monotonic() > until:
                    raise _too_costly(f"for at most {self._search.most_s:g} seconds")
                total += len(records)
                kept += [] if query.subset.only_counts else records
            kept = _after(kept, query, last)[: query.count + 1]
        return _page(kept, query, last, total)

    def some(self) -> Found:
        """The page out of as few twins as it takes; nobody knows how many more matches there are."""
        # A twin that the last page finished is not opened again.
        query = self._query
        nearest = self._twins(query.after[0], _TWINS_PER_PAGE + 2)  # one may be finished, one tells that more follow
        twins = [twin for twin in nearest if (twin, END) > query.after]
        shown: list[Record] = []
        for opened, (twin, records) in enumerate(self._few_at_a_time(twins, shown), start=1):
            for record in records:
                if place_of(record) > query.after:
                    if len(shown) == query.count:
                        return Found(shown, None, cursor_of(place_of(shown[-1])), frozenset())
                    shown.append(record)
            if opened < len(twins) and (len(shown) >= query.count or opened == _TWINS_PER_PAGE):
                return Found(shown, None, cursor_of((twin, END)), frozenset())
        return Found(shown, None, "", frozenset())

    def _twins(self, start: str, most: int) -> list[TwinId]:
        """Those that the search goes through, in order: from ``start`` on, so many at most."""
        if not self._possible:
            return []
        if self._named is None:
            return self._search.scope(self._query.resource_type, start, most)
        return [twin for twin in self._named if twin >= start][:most]

    def _few_at_a_time(self, twins: list[TwinId], shown: list[Record]) -> Iterator[tuple[TwinId, list[Record]]]:
        """Patients, and what tells whether a chain holds, for as many twins as are still wanted: each may match once.

        Anything else twin by twin, since one may fill the page.
        """
        of_patients = self._query.resource_type == "Patient"
        start = 0
        while start < len(twins):
            some = max(1, self._query.count - len(shown)) if of_patients or self._query.chains else 1
            batch = twins[start : start + min(some, _TWINS_PER_PAGE)]
            start += len(batch)
            yield from self._opened(batch, at_once=of_patients)

    def _opened(self, twins: Sequence[TwinId], *, at_once: bool) -> Iterator[tuple[TwinId, list[Record]]]:
        """Each twin with its matches."""
        query = self._query
        opening = self._chaining.matching(query.resource_type, query.chains, self._known, twins, at_once=at_once)
        for twin, records in opening:
            yield twin, [one for one in records if query.matches(one)]


def _page(
    matched: Sequence[Record],
    query: Query,
    last: Record | None,
    total: int,
    withheld: frozenset[Category] = frozenset(),
) -> Found:
    """The page that follows ``last`` out of matches."""
    rest = _after(matched, query, last)
    shown = rest[: query.count]
    more = ""
    if shown and len(rest) > len(shown):
        more = sorted_cursor_of(shown[-1]) if query.order else cursor_of(place_of(shown[-1]))
    return Found(shown, total, more, withheld)


def _page_is_gone() -> InvalidResource:
    text = "what the last page ended with is gone with its history: start the search again"
    return InvalidResource(Issue("conflict", "", text))


def _too_costly(bound: str) -> InvalidResource:
    text = f"a search across patients is sorted and counted {bound}"
    hint = "name the patient, or narrow it by an identifier; pages come unsorted without _sort and _total"
    return InvalidResource(Issue("too-costly", "", text), hint=hint)


def _after(records: Sequence[Record], query: Query, last: Record | None) -> list[Record]:
    """What is left, in order, after the last record of the page before; that one does not come again if it changed."""
    if last is None:
        return [one for one in query.sorted(records) if place_of(one) > query.after]
    others = [one for one in records if place_of(one) != place_of(last)]
    ordered = query.sorted([*others, last])
    return ordered[ordered.index(last) + 1 :]
