"""Asking the gate well: who is refused before anything is looked at, and which categories can be asked for together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twinward.access.interfaces import AccessControl, AccessRequest, Permit, Principal
from twinward.vocabulary import Action, Category, Purpose


def require_in_general(
    access: AccessControl, principal: Principal, action: Action, purpose: Purpose, justification: str = ""
) -> None:
    """Refuse, and log it, whoever may not do this to any twin: so a stranger cannot learn who is a patient here."""
    anything = AccessRequest(principal, action, purpose, justification=justification)
    if not access.check(anything).permitted:
        access.decide(anything)


def permitted(access: AccessControl, request: AccessRequest) -> list[AccessRequest]:
    """The request, cut down to what would be permitted: usually one request, none where nothing would be.

    Categories that are permitted one by one may be refused together: consent to psychiatry alone permits psychiatry,
    and does not cover psychiatry with labs. Such are asked for apart.
    """
    allowed = [one for one in sorted(request.categories) if _permits(access, request, frozenset({one}))]
    groups: list[frozenset[Category]] = []
    if allowed and _permits(access, request, frozenset(allowed)):
        groups = [frozenset(allowed)]
    else:
        for category in allowed:
            joined = (one for one in groups if _permits(access, request, one | {category}))
            fitting = next(joined, frozenset[Category]())
            groups = [one for one in groups if one != fitting] + [fitting | {category}]
    return [replace(request, categories=group) for group in groups]


def decided(access: AccessControl, requests: Sequence[AccessRequest]) -> list[Permit]:
    """A permit for each request, decided in one durable step of the log.

    Consent may change between a look and this: the first refusal is then raised here, by the gate itself.
    """
    return [one or access.decide(request) for one, request in zip(access.decide_many(requests), requests, strict=True)]


def categories_in(requests: list[AccessRequest]) -> frozenset[Category]:
    """All categories that are asked for."""
    return frozenset[Category]().union(*(request.categories for request in requests))


def _permits(access: AccessControl, request: AccessRequest, categories: frozenset[Category]) -> bool:
    return access.check(replace(request, categories=categories)).permitted
