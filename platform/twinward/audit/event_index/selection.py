"""Which events fit a query, and in which order: over the columns, opening nothing."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

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
from twinward.core.vocabulary import Action, Purpose, Role

_AUDIT, _OFFICER = ACTION_CODES[Action.AUDIT], ROLE_CODES[Role.OFFICER]
_GLASS, _EMERGENCY = ACTION_CODES[Action.BREAK_GLASS], PURPOSE_CODES[Purpose.EMERGENCY]
_TEXT_COLUMNS: Final = ("agent", "unit", "reason", "detail")
Mask = NDArray[np.bool_]


def select(columns: Columns, strings: Strings, start: int, stop: int, query: AccessQuery) -> NDArray[np.intp]:
    """The indices of the events of ``start <= index < stop`` that fit, in the query's order.

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
    return _ordered(columns, strings, np.flatnonzero(fits) + start, query.sort)


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
        fits |= hits[columns[name][start:stop]]
    fits &= columns["state"][start:stop] == OPEN
    return fits


def _ordered(columns: Columns, strings: Strings, found: NDArray[np.intp], sort: Sort) -> NDArray[np.intp]:
    """In a query's order; among equals, newest first."""
    newest = found[::-1]
    if sort is Sort.NEWEST:
        return newest
    if sort is Sort.OLDEST:
        return found
    codes = columns["permitted" if sort is Sort.DECISION else sort.value][newest].astype(np.int32)
    keys: NDArray[Any] = _dense(codes, strings if sort in (Sort.AGENT, Sort.UNIT) else None)
    keys = np.where(columns["state"][newest] == ERASED, np.uint32(np.iinfo(np.uint16).max), keys)
    if keys.max(initial=0) <= np.iinfo(np.uint16).max:
        keys = keys.astype(np.uint16)  # short numbers are sorted digit by digit, ten times as fast
    return newest[np.argsort(keys, kind="stable")]


def _dense(codes: NDArray[np.int32], strings: Strings | None) -> NDArray[np.uint32]:
    """Codes numbered anew without gaps, in the order of their texts where they are texts'; -1, nobody, is 0."""
    present = np.flatnonzero(np.bincount(codes + 1))
    order = present.tolist()
    if strings is not None:
        order.sort(key=lambda code: strings.texts[code - 1] if code else "")
    ranks = np.zeros(int(present.max(initial=0)) + 1, dtype=np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    return ranks[codes + 1]
