"""Finding accesses by filters, a page at a time at any size of the log: an access itself, so it wants a permit.

Which events fit is answered by the index in memory; each row that is given is read from the log and opened there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, Generic

from twinward.audit.errors import ledger_translated
from twinward.audit.event_index.columns import ACTION_CODES, ACTIONS, CATEGORIES, OPEN, PURPOSES, ROLES
from twinward.audit.event_index.index import Filled
from twinward.audit.models import AuditRow, Footprint, IndexedAccess, Tally
from twinward.audit.queries import AccessQuery, FoundAccesses, Sort, day_of
from twinward.audit.reader import PermitT, ReadGuard
from twinward.audit.rows import rows_of
from twinward.audit.service import Audit
from twinward.core.errors import BadInput
from twinward.core.late_module import LateModule
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Category, TwinId

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LateModule("numpy")

MAX_ROWS: Final = 500
_STREAMED: Final = 256
"""Rows that are read and opened together: few looks at the store, each patient's key unwrapped once for all."""


class AccessSearch(Generic[PermitT]):
    """Searches one log. Every method wants a permit for the action ``audit``."""

    def __init__(self, audit: Audit, guard: ReadGuard[PermitT]) -> None:
        self._audit = audit
        self._guard = guard

    def page(
        self, permit: PermitT, query: AccessQuery, *, page: int = 1, below: int | None = None, limit: int = 50
    ) -> FoundAccesses:
        """One page of what fits. Wants a permit that names no twin.

        Args:
            permit: to read the log.
            query: what must fit.
            page: 1 is the first; beyond the last one the last is given.
            below: of events below this index only: so that pages stay as they are while the log grows.
            limit: rows a page.

        Raises:
            BadInput: such a page there cannot be.
            Unavailable, LogTampered: the log does not answer, or entries are missing.
        """
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        if not 1 <= limit <= MAX_ROWS or page < 1:
            raise BadInput(sentence("a page is 1 to {most} events, and pages count from 1", most=MAX_ROWS))
        filled = self._audit.event_index.filled()
        total, part = filled.part(query, (page - 1) * limit, limit, below=below)
        pages = max(1, -(-total // limit))
        if page > pages:
            page = pages
            total, part = filled.part(query, (page - 1) * limit, limit, below=below)
        return FoundAccesses(
            rows=tuple(self._rows(part)),
            total=total,
            page=page,
            pages=pages,
            below=filled.stop if below is None else min(below, filled.stop),
            reached=filled.start,
            reached_ms=int(filled.columns["at_ms"][filled.start]) if filled.start < filled.stop else 0,
            units=filled.units,
        )

    def stream(
        self, permit: PermitT, query: AccessQuery, *, below: int | None = None
    ) -> tuple[int, Iterator[AuditRow]]:
        """How many fit, and all of them, one after the other; some hundred are read at once."""
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        found = self._audit.event_index.filled().select(query, below=below)
        return len(found), self._rows(found)

    def neighbours(self, permit: PermitT, row: AuditRow, count: int) -> tuple[list[AuditRow], list[AuditRow]]:
        """The accesses nearest in time to one: the same person's, and those to the same patient. Oldest first."""
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        filled = self._audit.event_index.filled()

        def near(query: AccessQuery) -> list[AuditRow]:
            found = filled.select(query)
            place = int(np.searchsorted(found, row.index))
            nearest = found[max(0, place - count) : place + count + 1]
            return list(self._rows(nearest[nearest != row.index]))

        anybody = AccessQuery(hides_own=False, sort=Sort.OLDEST)
        person = near(replace(anybody, agent=row.event.agent)) if row.event else []
        return person, near(replace(anybody, twin=row.twin)) if row.twin else []

    def newest(self, permit: PermitT, count: int) -> list[IndexedAccess]:
        """The facts of the newest events that are not erased, of any kind, oldest first. Wants a permit for no twin."""
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        filled = self._audit.event_index.filled(at_once=count)
        return list(_facts(filled, filled.newest(count)))

    def accesses(
        self,
        permit: PermitT,
        query: AccessQuery,
        *,
        going_on: Callable[[], bool] = lambda: True,
    ) -> list[IndexedAccess]:
        """The facts of every event that fits, oldest first; takes in as much of the log as the query's first day asks.

        Of events that were erased or damaged nothing is given.
        """
        filled, found = self._open(permit, query, going_on)
        return list(_facts(filled, found))

    def standing(self, permit: PermitT, query: AccessQuery) -> tuple[int, int]:
        """How many events ``accesses`` would give, and the newest's index (-1: there is none).

        Where both are as before, so is its answer: events come at the end, and are erased, never changed.
        """
        _, found = self._open(permit, query, lambda: True)
        return len(found), int(found[-1]) if len(found) else -1

    def _open(
        self, permit: PermitT, query: AccessQuery, going_on: Callable[[], bool]
    ) -> tuple[Filled, NDArray[np.intp]]:
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        filled = self._reaching(query.since_ms, going_on)
        found = filled.select(replace(query, sort=Sort.OLDEST))
        return filled, found[filled.columns["state"][found] == OPEN]

    def day_of(self, permit: PermitT, index: int) -> date | None:
        """The day (UTC) of one event; None where there is no such event, or nothing of it is known."""
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        filled = self._audit.event_index.filled()
        if index < filled.start:
            self._audit.event_index.deepen(down_to=index)
            filled = self._audit.event_index.filled()
        if not 0 <= index < filled.stop or filled.columns["state"][index] != OPEN:
            return None
        return day_of(int(filled.columns["at_ms"][index]))

    def of_twin(self, permit: PermitT, twin: TwinId) -> list[AuditRow]:
        """Everything that is indexed about one twin, newest first. Wants a permit for that twin."""
        self._guard.require(permit, action=Action.AUDIT, twin=twin, category=None)
        self._audit.event_index.deepen()
        return list(self._rows(self._audit.event_index.filled().select(AccessQuery(twin=twin, hides_own=False))))

    def tally(self, permit: PermitT, since_ms: int, until_ms: int, bins: int) -> Tally:
        """How many accesses each role made in each part of a span of time, officers' own looks left out."""
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        filled = self._audit.event_index.filled()
        found = filled.select(AccessQuery(sort=Sort.OLDEST))
        at, permitted = filled.columns["at_ms"][found], filled.columns["permitted"][found]
        inside = (filled.columns["state"][found] == OPEN) & (at >= since_ms) & (at < until_ms)
        place = (at[inside] - since_ms) * bins // max(1, until_ms - since_ms)
        roles = filled.columns["role"][found][inside].astype(np.int64)
        counts = np.bincount(roles * bins + place, minlength=len(ROLES) * bins).reshape(len(ROLES), bins)
        refused = np.bincount(roles[~permitted[inside]], minlength=len(ROLES))
        return Tally(
            since_ms,
            until_ms,
            {role: tuple(counts[code].tolist()) for code, role in enumerate(ROLES) if counts[code].any()},
            {role: int(refused[code]) for code, role in enumerate(ROLES) if refused[code]},
        )

    def footprint(self, permit: PermitT, agent: str) -> Footprint:
        """What one account did, counted. Wants a permit that names no twin."""
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        filled = self._audit.event_index.filled()
        found = filled.select(AccessQuery(agent=agent, hides_own=False, sort=Sort.OLDEST))
        columns, texts = filled.columns, filled.strings.texts
        found = found[columns["state"][found] == OPEN]
        actions, permitted, twins = (columns[name][found] for name in ("action", "permitted", "twin"))
        counted = partial(np.bincount, minlength=len(ACTIONS))
        asked = permitted & (twins < 0)
        pairs, times = np.unique(
            np.stack([actions[asked], columns["detail"][found][asked]]), axis=1, return_counts=True
        )
        requests: Counter[tuple[Action, str]] = Counter()
        for (action, detail), number in zip(pairs.T.tolist(), times.tolist(), strict=True):
            requests[ACTIONS[action], texts[detail].partition("\t")[0]] += number
        about = np.unique(np.stack([actions, twins])[:, permitted & (twins >= 0)], axis=1)
        taken = columns["categories"][found][permitted & (actions == ACTION_CODES[Action.EXPORT])]
        at = columns["at_ms"][found]
        return Footprint(
            permitted=_by_action(counted(actions[permitted])),
            refused=_by_action(counted(actions[~permitted])),
            patients=_by_action(counted(about[0])),
            requests=requests,
            categories=_categories(int(np.bitwise_or.reduce(taken)) if len(taken) else 0),
            first_ms=int(at[0]) if len(at) else 0,
            last_ms=int(at[-1]) if len(at) else 0,
            whole=filled.start == 0,
        )

    def _reaching(self, since_ms: int | None, going_on: Callable[[], bool]) -> Filled:
        """The index, taken in as far back as a moment."""
        index = self._audit.event_index
        filled = index.filled()
        while filled.start > 0 and going_on():
            if since_ms is not None and int(filled.columns["at_ms"][filled.start]) < since_ms:
                break
            index.deepen(down_to=max(0, filled.start - 4096), going_on=going_on)
            filled = index.filled()
        return filled

    def _rows(self, indices: NDArray[np.intp]) -> Iterator[AuditRow]:
        audit = self._audit
        for start in range(0, len(indices), _STREAMED):
            wanted = indices[start : start + _STREAMED].tolist()
            rising = sorted(wanted)
            with ledger_translated():
                found = dict(zip(rising, audit.log.store.picked(rising), strict=True))
            yield from rows_of(audit.sealer, audit.log.origin, [(index, found[index]) for index in wanted])


def _facts(filled: Filled, indices: NDArray[np.intp]) -> Iterator[IndexedAccess]:
    columns, texts = filled.columns, filled.strings.texts
    names = ("at_ms", "agent", "role", "unit", "action", "purpose", "twin", "categories", "permitted", "detail")
    taken = [columns[name][indices].tolist() for name in names]
    for index, at_ms, agent, role, unit, action, purpose, twin, categories, permitted, detail in zip(
        indices.tolist(), *taken, strict=True
    ):
        yield IndexedAccess(
            index=index,
            at_ms=at_ms,
            agent=texts[agent],
            role=ROLES[role],
            unit=texts[unit],
            action=ACTIONS[action],
            purpose=PURPOSES[purpose],
            twin=TwinId(texts[twin]) if twin >= 0 else None,
            categories=_categories(categories),
            permitted=permitted,
            detail=texts[detail],
        )


def _by_action(counts: NDArray[np.intp]) -> dict[Action, int]:
    return {ACTIONS[code]: int(number) for code, number in enumerate(counts) if number}


@lru_cache(maxsize=4096)
def _categories(bits: int) -> tuple[Category, ...]:
    """Those whose bits are set, sorted as events have them."""
    return tuple(sorted(one for bit, one in enumerate(CATEGORIES) if bits >> bit & 1))
