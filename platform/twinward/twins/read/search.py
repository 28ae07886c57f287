"""Finding records of one type: within named twins, or across all of them. Each twin opened is an access of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from heapq import merge

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Permit, categories_in
from twinward.core.vocabulary import Action, Category, RecordId, TwinId
from twinward.twins import references as names
from twinward.twins.errors import RecordNotFound
from twinward.twins.models import NOTHING_KEPT
from twinward.vault.errors import NotReleased, TwinShredded
from twinward.vault.interfaces import Record, RecordHead, RecordVault
from twinward.vault.search.facets import Rank, Wanted


class RecordSearch:
    """The walks of a search. What a record must look like is the caller's business: nothing here reads content."""

    def __init__(self, vault: RecordVault, access: AccessControl) -> None:
        self._vault = vault
        self._access = access

    def twins_of(self, reference: str) -> set[TwinId]:
        """The twins that keep a record under this string. Opens nothing."""
        return {twin for twin, _ in self._vault.locate_all(reference)}

    def places_of(self, name: str) -> list[tuple[TwinId, RecordId]]:
        """Every record whose newest version carries this string. Opens nothing."""
        return self._vault.locate_all(name)

    def head_of(self, name: str) -> RecordHead:
        """What may be known, without opening it, of the record found by a string. Raises ``RecordNotFound``."""
        heads = self._vault.heads(name)
        if not heads:
            raise RecordNotFound("it was deleted just now")
        return heads[-1]

    def may_open(self, context: AccessContext, head: RecordHead) -> bool:
        """Whether ``open`` would be permitted. Logs nothing."""
        return self._access.may(_reading(context, head))

    def note(self, context: AccessContext, head: RecordHead | None, answer: str) -> None:
        """Log a write that opened and wrote nothing: its answer still told what is kept, or that nothing is.

        Raises:
            AccessDenied: the principal may not write it, so is not told either.
        """
        told = (("answered", answer),)
        request = context.request(Action.WRITE, detail=told)
        if head is not None:
            request = replace(request, twin=head.twin, categories=_categories_of(head))
        self._access.decide(request)

    def open(self, context: AccessContext, head: RecordHead) -> Record:
        """Open the newest version of one record.

        Raises:
            AccessDenied: the principal may not read it.
            RecordNotFound, TwinShredded: nothing to open.
        """
        permit = self._access.decide(_reading(context, head))
        return self._vault.read(permit, head.record_id)

    def types_of(self, twin: TwinId) -> frozenset[str]:
        """The types of a twin's records; none where its key is gone. Opens nothing."""
        try:
            return self._vault.record_types(twin)
        except TwinShredded:
            return frozenset()

    def require(self, context: AccessContext, action: Action) -> None:
        """Refuse, and log it, whoever may not do this to any twin."""
        self._access.require(context.request(action))

    def within(
        self, context: AccessContext, twin: TwinId, record_type: str, categories: frozenset[Category]
    ) -> tuple[list[Record], frozenset[Category]]:
        """Open a named twin's records of one type, by record id; also say which categories were withheld.

        Raises:
            AccessDenied: nothing of it may be read.
        """
        request = context.request(Action.READ, twin, categories, detail=(("search", record_type),))
        permits = self._access.decide_part(request)
        records = [one for permit in permits for one in self._opened(permit, record_type)]
        return sorted(records, key=_by_id), categories - categories_in(permit.request for permit in permits)

    def walk(
        self, context: AccessContext, twin: TwinId, record_type: str, categories: frozenset[Category], after: str = ""
    ) -> tuple[Iterator[Record], frozenset[Category]]:
        """``within`` that opens as it is walked, from the record after one on: a page costs what it shows.

        Raises:
            AccessDenied: nothing of it may be read. Said before anything is opened, as is what is withheld.
        """
        request = context.request(Action.READ, twin, categories, detail=(("search", record_type),))
        permits = self._access.decide_part(request)
        walks = [self._walked(permit, record_type, after) for permit in permits]
        return merge(*walks, key=_by_id), categories - categories_in(permit.request for permit in permits)

    def walk_found(
        self,
        context: AccessContext,
        twin: TwinId,
        wanted: Wanted,
        categories: frozenset[Category],
        after: Record | RecordId | None = None,
    ) -> tuple[Iterator[Record], frozenset[Category]]:
        """``walk`` through what the search index finds, in the order that is wanted: a superset of the matches.

        ``after`` is the version that the last page ended with, or without an order its record's id. Raises as ``walk``.
        """
        request = context.request(Action.READ, twin, categories, detail=(("search", wanted.record_type),))
        permits = self._access.decide_part(request)
        walks: list[Iterator[tuple[Rank, Record]]] = []
        with suppress(TwinShredded):  # there is nothing left to find
            walks = [self._vault.search_twin(permit, wanted, after) for permit in permits]
        found = (record for _, record in merge(*walks, key=_first) if record.content != names.DELETED)
        return found, categories - categories_in(permit.request for permit in permits)

    def some_within(
        self,
        context: AccessContext,
        twin: TwinId,
        record_type: str,
        categories: frozenset[Category],
        record_ids: Collection[RecordId],
    ) -> tuple[list[Record], frozenset[Category]]:
        """``within`` for those records only. Raises as it."""
        request = context.request(Action.READ, twin, categories, detail=(("search", record_type),))
        permits = self._access.decide_part(request)
        opened: list[Record] = []
        with suppress(TwinShredded):
            opened = [one for permit in permits for one in self._vault.read_some(permit, record_ids)]
        records = [one for one in opened if one.record_type == record_type and one.content != names.DELETED]
        return sorted(records, key=_by_id), categories - categories_in(permit.request for permit in permits)

    def within_if_any(
        self, context: AccessContext, twin: TwinId, record_type: str, categories: frozenset[Category]
    ) -> tuple[list[Record], frozenset[Category]]:
        """``within``, where everything may be withheld: it is logged all the same."""
        try:
            return self.within(context, twin, record_type, categories)
        except AccessDenied:
            return [], categories

    def note_absence(self, context: AccessContext, action: Action) -> None:
        """Log that somebody was told that nothing is kept. Raises ``AccessDenied``: not even that may be told."""
        self._access.decide(context.request(action, detail=NOTHING_KEPT))

    def named(self, context: AccessContext, references: Sequence[str]) -> list[Record]:
        """Open records by their references, in that order; what is not kept, deleted or refused is left out.

        One decision for each twin and category that is concerned, all of them in one durable step.
        """
        places = self._vault.locate_many(references)
        wanted: dict[tuple[TwinId, frozenset[Category]], list[tuple[str, RecordId]]] = {}
        for reference in references:
            place = places.get(reference)
            if place is not None:
                wanted.setdefault((place.twin, place.categories), []).append((reference, place.record_id))
        requests = [context.request(Action.READ, twin, categories) for twin, categories in wanted]
        by_reference: dict[str, Record] = {}
        for permit, some in zip(self._access.decide_many(requests), wanted.values(), strict=True):
            if permit is None:
                continue
            for reference, record_id in some:
                with suppress(TwinShredded, NotReleased):
                    for record in self._access.opened(permit, partial(self._vault.read, record_id=record_id)):
                        by_reference[reference] = record
        found = (by_reference[reference] for reference in references if reference in by_reference)
        return [record for record in found if record.content != names.DELETED]

    def across(
        self,
        context: AccessContext,
        action: Action,
        twins: Sequence[TwinId],
        record_type: str,
        categories: frozenset[Category],
    ) -> Iterator[tuple[TwinId, list[Record]]]:
        """Open what may be opened of each twin, in order; twins that are refused are passed over (and logged so).

        All are decided at once, in one durable step, before the first is opened. Whoever says no while others are
        being opened is passed over, too.
        """
        look = partial(self._opened, record_type=record_type)
        yield from self._each(context, action, twins, record_type, categories, look)

    def deleted_across(
        self, context: AccessContext, action: Action, twins: Sequence[TwinId], categories: frozenset[Category]
    ) -> Iterator[tuple[TwinId, list[Record]]]:
        """``across`` for the records of any type whose newest version says that they were deleted."""
        yield from self._each(context, action, twins, "deleted", categories, self._opened_deletions)

    def _each(
        self,
        context: AccessContext,
        action: Action,
        twins: Sequence[TwinId],
        searched: str,
        categories: frozenset[Category],
        look: Callable[[Permit], list[Record]],
    ) -> Iterator[tuple[TwinId, list[Record]]]:
        detail = (("search", searched),)
        requests = [context.request(action, twin, categories, detail=detail) for twin in twins]
        permits: dict[TwinId, list[Permit]] = {twin: [] for twin in twins}
        for permit in self._access.decide_parts(requests):
            if permit.request.twin is not None:
                permits[permit.request.twin].append(permit)
        for twin, granted in permits.items():
            found = (one for permit in granted for some in self._access.opened(permit, look) for one in some)
            yield twin, sorted(found, key=_by_id)

    def still_leaves(self, context: AccessContext, action: Action, twin: TwinId, category: Category) -> bool:
        """Whether what was opened may still be given out; a refusal is logged. For who gives it out piece by piece."""
        request = context.request(action, twin, frozenset({category}))
        return self._access.may(request) or self._access.decide_many([request]) != [None]

    def _opened(self, permit: Permit, record_type: str) -> list[Record]:
        try:
            records = self._vault.read_twin(permit, record_type=record_type)
        except TwinShredded:
            return []  # there is nothing left to find
        return [record for record in records if record.content != names.DELETED]

    def _walked(self, permit: Permit, record_type: str, after: str) -> Iterator[Record]:
        try:
            records = self._vault.walk_twin(permit, record_type, after)
        except TwinShredded:
            return iter(())  # there is nothing left to find
        return (record for record in records if record.content != names.DELETED)

    def _opened_deletions(self, permit: Permit) -> list[Record]:
        with suppress(TwinShredded):
            return [one for one in self._vault.read_twin(permit) if one.content == names.DELETED]
        return []  # there is nothing left to find


def _reading(context: AccessContext, head: RecordHead) -> AccessRequest:
    return context.request(Action.READ, head.twin, _categories_of(head))


def _categories_of(head: RecordHead) -> frozenset[Category]:
    return frozenset(Category) if head.category is None else frozenset({head.category})


def _first(found: tuple[Rank, Record]) -> Rank:
    return found[0]


def _by_id(record: Record) -> str:
    return str(record.record_id)
