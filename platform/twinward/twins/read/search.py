"""Finding records of one type: within named twins, or across all of them. Each twin opened is an access of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessControl, AccessRequest, Permit, Principal
from twinward.core.vocabulary import Action, Category, Purpose, RecordId, TwinId
from twinward.twins import references as names
from twinward.twins.errors import RecordNotFound
from twinward.twins.gate import categories_in, note_absence, opened, permitted, require_in_general
from twinward.twins.ingest.plan import kept_categories
from twinward.vault.errors import NotReleased, TwinShredded
from twinward.vault.interfaces import Record, RecordHead, RecordVault


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

    def may_open(self, principal: Principal, purpose: Purpose, head: RecordHead, *, justification: str = "") -> bool:
        """Whether ``open`` would be permitted. Logs nothing."""
        return self._access.check(_reading(principal, purpose, head, justification)).permitted

    def note(
        self, principal: Principal, purpose: Purpose, head: RecordHead | None, answer: str, justification: str = ""
    ) -> None:
        """Log a write that opened and wrote nothing: its answer still told what is kept, or that nothing is.

        Raises:
            AccessDenied: the principal may not write it, so is not told either.
        """
        told = (("answered", answer),)
        request = AccessRequest(principal, Action.WRITE, purpose, justification=justification, detail=told)
        if head is not None:
            request = replace(request, twin=head.twin, categories=_categories_of(head))
        self._access.decide(request)

    def open(self, principal: Principal, purpose: Purpose, head: RecordHead, *, justification: str = "") -> Record:
        """Open the newest version of one record.

        Raises:
            AccessDenied: the principal may not read it.
            RecordNotFound, TwinShredded: nothing to open.
        """
        permit = self._access.decide(_reading(principal, purpose, head, justification))
        return self._vault.read(permit, head.record_id)

    def types_of(self, twin: TwinId) -> frozenset[str]:
        """The types of a twin's records; none where its key is gone. Opens nothing."""
        try:
            return self._vault.record_types(twin)
        except TwinShredded:
            return frozenset()

    def require(self, principal: Principal, action: Action, purpose: Purpose, justification: str = "") -> None:
        """Refuse, and log it, whoever may not do this to any twin."""
        require_in_general(self._access, principal, action, purpose, justification)

    def within(
        self,
        principal: Principal,
        purpose: Purpose,
        twin: TwinId,
        record_type: str,
        categories: frozenset[Category],
        *,
        justification: str = "",
    ) -> tuple[list[Record], frozenset[Category]]:
        """Open a named twin's records of one type, by record id; also say which categories were withheld.

        Raises:
            AccessDenied: nothing of it may be read.
        """
        request = AccessRequest(
            principal, Action.READ, purpose, twin, categories, justification, (("search", record_type),)
        )
        # With nothing allowed the gate is asked for everything, so that the refusal is logged and explained.
        requests = permitted(self._access, request) or [request]
        records = [one for each in requests for one in self._opened(self._access.decide(each), record_type)]
        return sorted(records, key=_by_id), categories - categories_in(requests)

    def within_if_any(
        self,
        principal: Principal,
        purpose: Purpose,
        twin: TwinId,
        record_type: str,
        categories: frozenset[Category],
        *,
        justification: str = "",
    ) -> tuple[list[Record], frozenset[Category]]:
        """``within``, where everything may be withheld: it is logged all the same."""
        try:
            return self.within(principal, purpose, twin, record_type, categories, justification=justification)
        except AccessDenied:
            return [], categories

    def note_absence(self, principal: Principal, action: Action, purpose: Purpose, justification: str = "") -> None:
        """Log that somebody was told that nothing is kept. Raises ``AccessDenied``: not even that may be told."""
        note_absence(self._access, principal, action, purpose, justification)

    def named(
        self, principal: Principal, purpose: Purpose, references: Sequence[str], *, justification: str = ""
    ) -> list[Record]:
        """Open records by their references, in that order; what is not kept, deleted or refused is left out.

        One decision for each twin and category that is concerned, all of them in one durable step.
        """
        places = self._vault.locate_many(references)
        wanted: dict[tuple[TwinId, frozenset[Category]], list[tuple[str, RecordId]]] = {}
        for reference in references:
            if reference in places:
                twin, record_id = places[reference]
                of = kept_categories(self._vault, reference)
                wanted.setdefault((twin, of), []).append((reference, record_id))
        requests = [
            AccessRequest(principal, Action.READ, purpose, twin, categories, justification)
            for twin, categories in wanted
        ]
        by_reference: dict[str, Record] = {}
        for permit, some in zip(self._access.decide_many(requests), wanted.values(), strict=True):
            if permit is None:
                continue
            for reference, record_id in some:
                with suppress(TwinShredded, NotReleased):
                    for record in opened(self._access, permit, partial(self._vault.read, record_id=record_id)):
                        by_reference[reference] = record
        found = (by_reference[reference] for reference in references if reference in by_reference)
        return [record for record in found if record.content != names.DELETED]

    def across(
        self,
        principal: Principal,
        action: Action,
        purpose: Purpose,
        twins: Sequence[TwinId],
        record_type: str,
        categories: frozenset[Category],
        *,
        justification: str = "",
    ) -> Iterator[tuple[TwinId, list[Record]]]:
        """Open what may be opened of each twin, in order; twins that are refused are passed over (and logged so).

        All are decided at once, in one durable step, before the first is opened. Whoever says no while others are
        being opened is passed over, too.
        """
        look = partial(self._opened, record_type=record_type)
        yield from self._each(principal, action, purpose, twins, record_type, categories, look, justification)

    def deleted_across(
        self,
        principal: Principal,
        action: Action,
        purpose: Purpose,
        twins: Sequence[TwinId],
        categories: frozenset[Category],
        *,
        justification: str = "",
    ) -> Iterator[tuple[TwinId, list[Record]]]:
        """``across`` for the records of any type whose newest version says that they were deleted."""
        yield from self._each(
            principal, action, purpose, twins, "deleted", categories, self._opened_deletions, justification
        )

    def _each(
        self,
        principal: Principal,
        action: Action,
        purpose: Purpose,
        twins: Sequence[TwinId],
        searched: str,
        categories: frozenset[Category],
        look: Callable[[Permit], list[Record]],
        justification: str,
    ) -> Iterator[tuple[TwinId, list[Record]]]:
        detail = (("search", searched),)
        requests = [
            AccessRequest(principal, action, purpose, twin, categories, justification, detail) for twin in twins
        ]
        narrowed = [one for request in requests for one in permitted(self._access, request) or [request]]
        permits: dict[TwinId, list[Permit]] = {twin: [] for twin in twins}
        for permit in self._access.decide_many(narrowed):
            if permit is not None and permit.request.twin is not None:
                permits[permit.request.twin].append(permit)
        for twin, granted in permits.items():
            found = (one for permit in granted for some in opened(self._access, permit, look) for one in some)
            yield twin, sorted(found, key=_by_id)

    def still_leaves(
        self,
        principal: Principal,
        action: Action,
        purpose: Purpose,
        twin: TwinId,
        category: Category,
        *,
        justification: str = "",
    ) -> bool:
        """Whether what was opened may still be given out; a refusal is logged. For who gives it out piece by piece."""
        request = AccessRequest(principal, action, purpose, twin, frozenset({category}), justification)
        return self._access.check(request).permitted or self._access.decide_many([request]) != [None]

    def _opened(self, permit: Permit, record_type: str) -> list[Record]:
        try:
            records = self._vault.read_twin(permit, record_type=record_type)
        except TwinShredded:
            return []  # there is nothing left to find
        return [record for record in records if record.content != names.DELETED]

    def _opened_deletions(self, permit: Permit) -> list[Record]:
        with suppress(TwinShredded):
            return [one for one in self._vault.read_twin(permit) if one.content == names.DELETED]
        return []  # there is nothing left to find


def _reading(principal: Principal, purpose: Purpose, head: RecordHead, justification: str) -> AccessRequest:
    return AccessRequest(principal, Action.READ, purpose, head.twin, _categories_of(head), justification)


def _categories_of(head: RecordHead) -> frozenset[Category]:
    return frozenset(Category) if head.category is None else frozenset({head.category})


def _by_id(record: Record) -> str:
    return str(record.record_id)
