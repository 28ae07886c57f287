"""What waits for an officer: counted once, for Home, for `node status`, for whoever else shows it. Names nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from twinward.audit.queries import day_of
from twinward.core.clock import iso
from twinward.node import Node

REVIEWED_A_DAY: Final = 50
"""Visits of a day that officers are asked to look at, the riskiest."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One kind of work.

    Attributes:
        kind: ``reviews``, ``emergencies``, ``breaches``, ``erasures``, ``policy`` or ``contacts``.
        count: how many wait; None where nobody has looked yet.
        overdue: how many of them should have been done.
        say: in a sentence.
        page: of the console, where it is done.
    """

    kind: str
    count: int | None
    overdue: int
    say: str
    page: str


def work_waiting(node: Node) -> list[Waiting]:
    """What waits, what is overdue first; of reviews also that none do. Raises ``Unavailable``, ``StoreAltered``."""
    return sorted(_waiting(node), key=lambda one: -one.overdue)


def _waiting(node: Node) -> Iterator[Waiting]:
    yield _reviews(node)
    glass, cases = node.emergencies.counts(), node.breaches.counts()
    if glass.unreviewed:
        late = f", {glass.overdue} of them overdue" if glass.overdue else ""
        say = f"{_counted(glass.unreviewed, 'emergency access waits', 'emergency accesses wait')} for a review{late}"
        due = f", the next due {_minute(glass.next_due_ms)} UTC"
        yield Waiting("emergencies", glass.unreviewed, glass.overdue, say + due, "/console/emergencies")
    if cases.open:
        late = f", {cases.overdue} of them past their deadline" if cases.overdue else ""
        due = f", the authority to be told by {_minute(cases.next_due_ms)} UTC" if cases.next_due_ms else ""
        say = f"{_counted(cases.open, 'breach case is', 'breach cases are')} open{late}{due}"
        yield Waiting("breaches", cases.open, cases.overdue, say, "/console/breaches")
    for kind, count, one, many in (
        ("erasures", node.erasure_desk.waiting(), "proposed erasure waits", "proposed erasures wait"),
        ("policy", len(node.policy.proposals()), "change of the policy waits", "changes of the policy wait"),
    ):
        if count:
            yield Waiting(kind, count, 0, f"{_counted(count, one, many)} for a second officer", f"/console/{kind}")
    if contacts := node.contacts.waiting():
        say = _counted(contacts, "contact request of a company waits", "contact requests of companies wait")
        yield Waiting("contacts", contacts, 0, f"{say} for a decision", "/console/contacts")


def _reviews(node: Node) -> Waiting:
    yesterday = day_of(node.clock.now_ms()) - timedelta(days=1)
    waiting = node.reviews.waiting(yesterday, REVIEWED_A_DAY) if node.has_made("reviews") else None
    say = f"Yesterday's accesses ({yesterday.isoformat()}) were not examined since this node was started"
    if waiting is not None:
        say = f"{waiting} of yesterday's unexplained accesses wait for a finding"
    return Waiting("reviews", waiting, 0, say, "/console/reviews")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _minute(at_ms: int) -> str:
    return iso(at_ms)[:16].replace("T", " ")
