"""Finding records of one type: within named twins, or across all of them. Each twin opened is an access of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from twinward.access.interfaces import AccessControl, AccessRequest, Permit, Principal
from twinward.twins import references as names
from twinward.twins.errors import RecordNotFound
from twinward.twins.gate import categories_in, permitted, require_in_general
from twinward.twins.plan import kept_categories
from twinward.vault.errors import TwinShredded
from twinward.vault.interfaces import Record, RecordHead, RecordVault
from twinward.vocabulary import Action, Category, Purpose, RecordId, TwinId


class Finding:
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

    def may_open(self, principal: Principal, purpose: Purpose, head: RecordHead) -> bool:
        """Whether ``open`` would be permitted. Logs nothing."""
        return self._access.check(_reading(principal, purpose, head, "")).permitted

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
        opened: dict[str, Record] = {}
        for permit, some in zip(self._access.decide_many(requests), wanted.values(), strict=True):
            if permit is None:
                continue
            for reference, record_id in some:
                with suppress(TwinShredded):
                    opened[reference] = self._vault.read(permit, record_id)
        found = (opened[reference] for reference in references if reference in opened)
        return [record for record in found if record.content != names.DELETED]

    def across(
        self,
        principal: Principal,
        action: Action,
        purpose: Purpose,
        twins: Sequence[TwinId],
        record_type: str,
        categories: frozenset[Category],
    ) -> Iterator[tuple[TwinId, list[Record]]]:
        """Open what may be opened of each twin, in order; twins that are refused are passed over (and logged so).

        All are decided at once, in one durable step, before the first is opened.
        """
        detail = (("search", record_type),)
        requests = [AccessRequest(principal, action, purpose, twin, categories, detail=detail) for twin in twins]
        narrowed = [one for request in requests for one in permitted(self._access, request) or [request]]
        permits: dict[TwinId, list[Permit]] = {twin: [] for twin in twins}
        for permit in self._access.decide_many(narrowed):
            if permit is not None and permit.request.twin is not None:
                permits[permit.request.twin].append(permit)
        for twin, granted in permits.items():
            yield twin, sorted((one for permit in granted for one in self._opened(permit, record_type)), key=_by_id)

    def _opened(self, permit: Permit, record_type: str) -> list[Record]:
        try:
            records = self._vault.read_twin(permit, record_type=record_type)
        except TwinShredded:
            return []  # there is nothing left to find
        return [record for record in records if record.content != names.DELETED]


def _reading(principal: Principal, purpose: Purpose, head: RecordHead, justification: str) -> AccessRequest:
    categories = frozenset(Category) if head.category is None else frozenset({head.category})
    return AccessRequest(principal, Action.READ, purpose, head.twin, categories, justification)


def _by_id(record: Record) -> str:
    return str(record.record_id)
