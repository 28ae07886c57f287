"""Asking the gate well: who is refused before anything is looked at, and which categories can be asked for together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from twinward.access.errors import PermitInvalid
from twinward.access.interfaces import AccessControl, AccessRequest, Permit, Principal
from twinward.core.vocabulary import DERIVED_FROM, Action, Category, Purpose

T = TypeVar("T")


def require_in_general(
    access: AccessControl, principal: Principal, action: Action, purpose: Purpose, justification: str = ""
) -> None:
    """Refuse, and log it, whoever may not do this to any twin: so a stranger cannot learn who is a patient here."""
    anything = AccessRequest(principal, action, purpose, justification=justification)
    if not access.check(anything).permitted:
        access.decide(anything)


def note_absence(
    access: AccessControl, principal: Principal, action: Action, purpose: Purpose, justification: str = ""
) -> None:
    """Log that somebody was told that nothing is kept under a reference, which tells something, too.

    Raises:
        AccessDenied: the principal may not do this to any twin, so is not told: a stranger cannot learn who is a
            patient here.
    """
    told = (("answered", "nothing-kept"),)
    access.decide(AccessRequest(principal, action, purpose, justification=justification, detail=told))


def permitted(access: AccessControl, request: AccessRequest) -> list[AccessRequest]:
    """The request, cut down to what would be permitted: usually one request, none where nothing would be.

    Categories that are permitted one by one may be refused together: consent to psychiatry alone permits psychiatry,
    and does not cover psychiatry with labs. Such are asked for apart. Derived data is asked for beside what it comes
    from, as far as that is permitted: features without labs where the patient denies labs.
    """
    derived = request.categories & DERIVED_FROM.keys()
    allowed = [one for one in sorted(request.categories - derived) if _permits(access, request, frozenset({one}))]
    groups: list[frozenset[Category]] = []
    if allowed and _permits(access, request, frozenset(allowed)):
        groups = [frozenset(allowed)]
    else:
        for category in allowed:
            joined = (one for one in groups if _permits(access, request, one | {category}))
            fitting = next(joined, frozenset[Category]())
            groups = [one for one in groups if one != fitting] + [fitting | {category}]
    for one in derived:
        groups = _beside_sources(access, request, one, groups)
    return [replace(request, categories=group) for group in groups]


def decided(access: AccessControl, requests: Sequence[AccessRequest]) -> list[Permit]:
    """A permit for each request, decided in one durable step of the log.

    Consent may change between a look and this: the first refusal is then raised here, by the gate itself.
    """
    return [one or access.decide(request) for one, request in zip(access.decide_many(requests), requests, strict=True)]


def opened(access: AccessControl, permit: Permit, by: Callable[[Permit], T]) -> list[T]:
    """What is opened by a permit that was given a while ago, with others: usually one thing.

    Where consent was withdrawn since, or the permit has grown old, it is decided and logged anew: what is still
    permitted is opened, in parts perhaps, and the rest is left out.
    """
    try:
        return [by(permit)]
    except PermitInvalid:
        requests = permitted(access, permit.request) or [permit.request]
        return [by(one) for one in access.decide_many(requests) if one is not None]


def categories_in(requests: list[AccessRequest]) -> frozenset[Category]:
    """All categories that are asked for."""
    return frozenset[Category]().union(*(request.categories for request in requests))


def _beside_sources(
    access: AccessControl, request: AccessRequest, derived: Category, groups: Sequence[frozenset[Category]]
) -> list[frozenset[Category]]:
    """Groups of permitted categories, with derived data in each that holds some of its sources, where permitted."""
    sources = DERIVED_FROM[derived]
    if not sources & request.categories:
        alone = frozenset({derived})
        return [*groups, alone] if _permits(access, request, alone) else list(groups)
    return [
        group | {derived} if sources & group and _permits(access, request, group | {derived}) else group
        for group in groups
    ]


def _permits(access: AccessControl, request: AccessRequest, categories: frozenset[Category]) -> bool:
    return access.check(replace(request, categories=categories)).permitted
