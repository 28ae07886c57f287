"""What was written, newest first, across twins: as far as the principal may see it, each twin decided and logged."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessContext, AccessControl, AccessRequest, Permit
from twinward.core.errors import NotFound
from twinward.core.vocabulary import RECORD_CATEGORIES, Action, Category, RecordId, TwinId
from twinward.twins.errors import TooMuchAtOnce
from twinward.vault.interfaces import Change, Record, RecordVault, Span, StoredAt

_FIRST_LOOK = 1_000
"""Versions that storage is asked for before it is asked for as many as there may be."""

END_OF_TIME_MS = 2**62
_EVER = Span(0, END_OF_TIME_MS)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which versions. A version is what is kept until the next one is stored, whoever may see that.

    Attributes:
        types: record types.
        span: when they were stored, and after which place in time a page goes on (backwards).
        current: a stretch ``[from, until)`` in ms in some of which they were what was kept; None for any time.
        label: what the log calls it.
        twins: of these alone; None for all.
        kind: what asks, as the log calls that.
    """

    types: frozenset[str]
    span: Span = _EVER
    current: tuple[int, int] | None = None
    label: str = "*"
    twins: frozenset[TwinId] | None = None
    kind: str = "history"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one page may take: versions looked at without opening them, twins decided, seconds."""

    versions: int = 50_000
    twins: int = 1_000
    seconds: float = 20.0


class Changes:
    """The versions of all twins. Nothing is opened without a permit; nothing tells of what was refused."""

    def __init__(self, vault: RecordVault, access: AccessControl, bounds: Bounds | None = None) -> None:
        self._vault = vault
        self._access = access
        self._bounds = bounds or Bounds()

    def page(self, context: AccessContext, wanted: Wanted, count: int) -> tuple[list[Record], StoredAt | None]:
        """Some versions, newest first, a deletion without content; and the place where the next page goes on.

        That place is the last version shown, and there is one only if there is more that may be seen, or may be.

        Raises:
            AccessDenied: the principal may not search here.
            TooMuchAtOnce: nothing that may be seen was found within the bounds.
        """
        found: list[Record] = []
        try:
            for some in self._walk(context, wanted).groups(count + 1):
                found += some
                if len(found) > count:
                    return found[:count], _place_of(found[count - 1])
        except TooMuchAtOnce:
            if not found:
                raise
            return found, _place_of(found[-1])
        return found, None

    def count(self, context: AccessContext, wanted: Wanted) -> int:
        """How many versions there are that may be seen. Raises as ``page``, and where not all can be looked at."""
        return sum(map(len, self._walk(context, wanted).groups(_FIRST_LOOK)))

    def since(
        self, context: AccessContext, wanted: Wanted, after: StoredAt, count: int
    ) -> tuple[list[Record], StoredAt]:
        """Of the oldest ``count`` versions stored after a place those that may be seen, oldest first; where to go on.

        Raises:
            AccessDenied: the principal may not search here.
            TooMuchAtOnce: more was stored in one millisecond than is looked through.
        """
        return self._walk(context, wanted).next(after, count)

    def at(self, context: AccessContext, wanted: Wanted, places: Collection[StoredAt]) -> list[Record]:
        """Those of the versions stored at these places that may be seen now, oldest first. Raises as ``since``."""
        return self._walk(context, wanted).at(places)

    def _walk(self, context: AccessContext, wanted: Wanted) -> _Walk:
        self._access.require(context.request(Action.SEARCH))
        request = context.request(Action.SEARCH, detail=((wanted.kind, wanted.label),))
        return _Walk(self._vault, self._access, self._bounds, wanted, request)


class _Walk:
    """One page's way back through time. A twin is decided once for each category that is met.

    Args:
        request: what is asked of each twin; twin and categories are put in.
    """

    def __init__(
        self, vault: RecordVault, access: AccessControl, bounds: Bounds, wanted: Wanted, request: AccessRequest
    ) -> None:
        self._vault, self._access, self._bounds = vault, access, bounds
        self._wanted, self._request = wanted, request
        self._permits: dict[tuple[TwinId, Category], Permit | None] = {}
        self._until = time.monotonic() + bounds.seconds

    def groups(self, size: int) -> Iterator[list[Record]]:
        """What may be seen of so many versions at a time, newest first. Raises ``TooMuchAtOnce``."""
        known = self._known()
        while some := list(islice(known, size)):
            self._decide(some)
            yield self._opened(some)

    def next(self, after: StoredAt, count: int) -> tuple[list[Record], StoredAt]:
        """What may be seen of so many versions stored after a place, oldest first; the place of the last looked at."""
        since_ms, until_ms, most = after[0], self._wanted.span.until_ms, self._bounds.versions
        found = self._vault.timeline(Span(since_ms, until_ms), most)
        while len(found) == most:  # the newest of very many: look at the older half of the time
            if until_ms - since_ms <= 1:
                raise _too_much(f"{most} versions in a millisecond")
            until_ms = since_ms + (until_ms - since_ms) // 2
            found = self._vault.timeline(Span(since_ms, until_ms), most)
        newer = [one for one in reversed(found) if one.at > after]
        some = list(islice(self._asked(newer), count))
        looked_at = max(after, (until_ms - 1, RecordId(""), 0)) if until_ms < self._wanted.span.until_ms else after
        if newer:
            looked_at = some[-1].at if len(some) == count else newer[-1].at
        self._decide(some)
        return self._opened(some), looked_at

    def at(self, places: Collection[StoredAt]) -> list[Record]:
        """What may be seen of the versions at these places, oldest first."""
        found: list[Change] = []
        for moment in sorted({place[0] for place in places}):
            found += reversed(self._vault.timeline(Span(moment, moment + 1), self._bounds.versions))
        some = [one for one in self._asked(found) if one.at in places]
        self._decide(some)
        return self._opened(some)

    def _known(self) -> Iterator[Change]:
        """The versions asked for, newest first, not yet decided."""
        span = self._wanted.span
        if self._wanted.current is not None:
            yield from self._current(*self._wanted.current)
            return
        some = self._vault.timeline(span, _FIRST_LOOK)
        yield from self._asked(some)
        if len(some) == _FIRST_LOOK:
            yield from self._asked(self._all(Span(span.since_ms, span.until_ms, some[-1].at)))

    def _current(self, since_ms: int, until_ms: int) -> Iterator[Change]:
        span = self._wanted.span
        known = list(self._all(Span(0, until_ms)))
        over = {(one.head.record_id, one.head.version - 1) for one in known if one.head.committed_at_ms <= since_ms}
        for one in self._asked(known):
            if span.covers(one.at) and (one.head.record_id, one.head.version) not in over:
                yield one

    def _all(self, span: Span) -> Iterator[Change]:
        found = self._vault.timeline(span, self._bounds.versions)
        yield from found
        if len(found) == self._bounds.versions:
            raise _too_much(f"{self._bounds.versions} versions")

    def _asked(self, changes: Iterable[Change]) -> Iterator[Change]:
        wanted = self._wanted
        for one in changes:
            of_these = wanted.twins is None or one.head.twin in wanted.twins
            if of_these and one.head.category in RECORD_CATEGORIES and not wanted.types.isdisjoint(one.types):
                yield one

    def _decide(self, some: Sequence[Change]) -> None:
        """Permits for what was not decided before, all in one durable step; refusals are logged."""
        asked: dict[TwinId, set[Category]] = {}
        for one in some:
            if one.head.category is not None and (one.head.twin, one.head.category) not in self._permits:
                asked.setdefault(one.head.twin, set()).add(one.head.category)
        if len({twin for twin, _ in self._permits} | asked.keys()) > self._bounds.twins:
            raise _too_much(f"the records of {self._bounds.twins} patients")
        requests = [
            replace(self._request, twin=twin, categories=frozenset(categories)) for twin, categories in asked.items()
        ]
        self._permits |= {(twin, category): None for twin, categories in asked.items() for category in categories}
        for permit in self._access.decide_parts(requests):
            if permit.request.twin is not None:
                self._permits |= {(permit.request.twin, category): permit for category in permit.request.categories}

    def _opened(self, some: Sequence[Change]) -> list[Record]:
        by_record: dict[tuple[RecordId, Permit], set[int]] = {}
        for one in some:
            permit = None if one.head.category is None else self._permits[one.head.twin, one.head.category]
            if permit is not None:
                by_record.setdefault((one.head.record_id, permit), set()).add(one.head.version)
        found: dict[tuple[RecordId, int], Record] = {}
        for (record_id, permit), versions in by_record.items():
            if time.monotonic() > self._until:
                raise _too_much(f"what opens in {self._bounds.seconds:g} seconds")
            found |= {(record_id, one.version): one for one in self._read(permit, record_id, versions)}
        shown = (found.get((one.head.record_id, one.head.version)) for one in some)
        return [one for one in shown if one is not None and one.record_type in self._wanted.types]

    def _read(self, permit: Permit, record_id: RecordId, versions: set[int]) -> list[Record]:
        """Those of a record's versions that a permit opens; none where it is gone by now, or no longer permitted."""
        look = partial(self._vault.read_history, record_id=record_id, versions=versions)
        with suppress(NotFound, PermitInvalid):
            return [record for some in self._access.opened(permit, look) for record in some]
        return []


def _too_much(bound: str) -> TooMuchAtOnce:
    return TooMuchAtOnce(f"a history across patients looks through {bound} at most", hint="narrow it by _since")


def _place_of(record: Record) -> StoredAt:
    assert record.record_id is not None  # noqa: S101 - what was opened was stored
    return record.committed_at_ms, record.record_id, record.version
