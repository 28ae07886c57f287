"""Which events fit a query, and in which order: over the columns, opening nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from twinward.audit.event_index.columns import (
    ACTION_CODES,
    CATEGORY_BITS,
    DAMAGED,
    ERASED,
    HIDDEN,
    OPEN,
    PURPOSE_CODES,
    ROLE_CODES,
    Columns,
)
from twinward.audit.event_index.strings import Strings
from twinward.audit.queries import AccessQuery, Sort
from twinward.core.late_module import LateModule
from twinward.core.vocabulary import Action, Purpose, Role

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = LateModule("numpy")

_AUDIT, _OFFICER = ACTION_CODES[Action.AUDIT], ROLE_CODES[Role.OFFICER]
_GLASS, _EMERGENCY = ACTION_CODES[Action.BREAK_GLASS], PURPOSE_CODES[Purpose.EMERGENCY]
_TEXT_COLUMNS: Final = ("agent", "unit", "reason", "detail")
Mask: TypeAlias = "NDArray[np.bool_]"


def select(columns: Columns, strings: Strings, start: int, stop: int, query: AccessQuery) -> NDArray[np.intp]:
    """The indices of the events of ``start <= index < stop`` that fit, in the query's order, equals newest first."""
    found = np.flatnonzero(fitting(columns, strings, start, stop, query))
    if query.sort is Sort.OLDEST:
        return found + start
    found = found[::-1]
    if query.sort is not Sort.NEWEST:
        keys = _ranks(columns, strings, start, stop, query)[found]
        found = found[np.argsort(_short(keys), kind="stable")]
    return found + start


def select_part(
    columns: Columns, strings: Strings, start: int, stop: int, query: AccessQuery, first: int, count: int
) -> tuple[int, NDArray[np.intp]]:
    """How many fit, and of ``select``'s answer ``count`` from place ``first`` on: nothing else is sorted.

    There are none where ``first`` is beyond the last.
    """
    fits = fitting(columns, strings, start, stop, query)
    if query.sort in (Sort.NEWEST, Sort.OLDEST):
        found = np.flatnonzero(fits)
        part = found if query.sort is Sort.OLDEST else found[::-1]
        return len(found), part[first : first + count] + start
    ranks = _ranks(columns, strings, start, stop, query)
    ends = np.cumsum(np.bincount(ranks[fits]))
    total = int(ends[-1]) if len(ends) else 0
    low, high = np.searchsorted(ends, (first, min(total, first + count) - 1), side="right").tolist()
    near = np.flatnonzero(fits & (ranks >= low) & (ranks <= high))[::-1]
    ordered = near[np.argsort(ranks[near], kind="stable")]
    before = int(ends[low - 1]) if low else 0
    return total, ordered[first - before : first - before + count] + start


def fitting(columns: Columns, strings: Strings, start: int, stop: int, query: AccessQuery) -> Mask:
    """For each event of ``start <= index < stop``, whether it fits.

    An erased event keeps its time and its patient, and fits what asks for these alone. A damaged one says nothing that
    could be believed: it fits every query, so that no filter hides it.
    """

    def of(name: str) -> NDArray[Any]:
        return columns[name][start:stop]

    state = of("state")
    fits: Mask = state != HIDDEN
    if query.since_ms is not None:
        fits &= of("at_ms") >= query.since_ms
    if query.until_ms is not None:
        fits &= of("at_ms") < query.until_ms
    if query.twin:
        fits &= of("twin") == _code(strings, query.twin)
    if wanted := _facts(query, strings):
        fits &= state == OPEN
        for name, value in wanted.items():
            fits &= of(name) == value
    if query.category:
        fits &= (of("categories") & np.uint64(CATEGORY_BITS[query.category])) != 0
    if query.emergency:
        fits &= (state == OPEN) & ((of("purpose") == _EMERGENCY) | (of("action") == _GLASS))
    if query.hides_own:
        fits &= ~((state == OPEN) & (of("action") == _AUDIT) & (of("role") == _OFFICER))
    if query.text:
        fits &= _text_fits(columns, strings, start, stop, query.text)
    fits |= state == DAMAGED
    return fits


def _facts(query: AccessQuery, strings: Strings) -> dict[str, int | bool]:
    wanted: dict[str, int | bool] = {}
    if query.agent:
        wanted["agent"] = _code(strings, query.agent)
    if query.unit:
        wanted["unit"] = _code(strings, query.unit)
    if query.role:
        wanted["role"] = ROLE_CODES[query.role]
    if query.action:
        wanted["action"] = ACTION_CODES[query.action]
    if query.purpose:
        wanted["purpose"] = PURPOSE_CODES[query.purpose]
    if query.decision:
        wanted["permitted"] = query.decision == "permit"
    return wanted


def _code(strings: Strings, text: str) -> int:
    found = strings.known(text)
    return -2 if found is None else found  # -2: no event has it


def _text_fits(columns: Columns, strings: Strings, start: int, stop: int, text: str) -> Mask:
    hits = strings.holding(text)
    fits: Mask = np.zeros(stop - start, dtype=np.bool_)
    if not hits.any():
        return fits
    for name in _TEXT_COLUMNS:
        fits |= hits.take(columns[name][start:stop], mode="clip")  # what has no text is no open event
    fits &= columns["state"][start:stop] == OPEN
    return fits


def _ranks(columns: Columns, strings: Strings, start: int, stop: int, query: AccessQuery) -> NDArray[np.uint32]:
    """Each event's place by its value: texts in their order, nobody before all, the erased behind.

    Turned round, nobody comes after all, and the erased are still behind. It costs the same.
    """
    sort = query.sort
    name = "permitted" if sort is Sort.DECISION else sort.value
    codes = columns[name][start:stop].astype(np.int32) + 1
    present = np.flatnonzero(np.bincount(codes))
    order = present.tolist()
    if sort in (Sort.AGENT, Sort.UNIT):
        order.sort(key=lambda code: strings.texts[code - 1] if code else "")
    if query.falls:
        order.reverse()
    places = np.zeros(int(present.max(initial=0)) + 1, dtype=np.uint32)
    places[order] = np.arange(len(order), dtype=np.uint32)
    ranks = places.take(codes)
    ranks[columns["state"][start:stop] == ERASED] = len(order)
    return ranks


def _short(keys: NDArray[np.uint32]) -> NDArray[Any]:
    """As short numbers where they are: those are sorted digit by digit, ten times as fast."""
    return keys.astype(np.uint16) if keys.max(initial=0) <= np.iinfo(np.uint16).max else keys
