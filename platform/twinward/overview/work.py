"""What waits for an officer: counted once, for Home, for `node status`, for whoever else shows it. Names nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from twinward.audit.queries import day_of
from twinward.core.sentences import Moment, counted, sentence
from twinward.node import Node

REVIEWED_A_DAY: Final = 50
"""Visits of a day that officers are asked to look at, the riskiest."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One kind of work.

    Attributes:
        kind: ``reviews``, ``answers``, ``emergencies``, ``breaches``, ``erasures``, ``policy`` or ``contacts``.
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
    if answers := len(node.findings.answered()):
        say = counted(
            "{count} answer to a question about an access waits for a finding",
            "{count} answers to questions about accesses wait for a finding",
            answers,
        )
        yield Waiting("answers", answers, 0, say, "/console/reviews#answers")
    glass, cases = node.emergencies.counts(), node.breaches.counts()
    if glass.unreviewed:
        late = sentence(", {overdue} of them overdue", overdue=glass.overdue) if glass.overdue else ""
        say = counted(
            "{count} emergency access waits for a review{late}, the next due {next_due}",
            "{count} emergency accesses wait for a review{late}, the next due {next_due}",
            glass.unreviewed,
            late=late,
            next_due=Moment(glass.next_due_ms),
        )
        yield Waiting("emergencies", glass.unreviewed, glass.overdue, say, "/console/emergencies")
    if cases.open:
        late = sentence(", {overdue} of them past their deadline", overdue=cases.overdue) if cases.overdue else ""
        due = (
            sentence(", the authority to be told by {next_due}", next_due=Moment(cases.next_due_ms))
            if cases.next_due_ms
            else ""
        )
        say = counted(
            "{count} breach case is open{late}{due}",
            "{count} breach cases are open{late}{due}",
            cases.open,
            late=late,
            due=due,
        )
        yield Waiting("breaches", cases.open, cases.overdue, say, "/console/breaches")
    if erasures := node.erasure_desk.waiting():
        say = counted(
            "{count} proposed erasure waits for a second officer",
            "{count} proposed erasures wait for a second officer",
            erasures,
        )
        yield Waiting("erasures", erasures, 0, say, "/console/erasures")
    if changes := len(node.policy.proposals()):
        say = counted(
            "{count} change of the policy waits for a second officer",
            "{count} changes of the policy wait for a second officer",
            changes,
        )
        yield Waiting("policy", changes, 0, say, "/console/policy")
    if contacts := node.contacts.waiting():
        say = counted(
            "{count} contact request of a company waits for a decision",
            "{count} contact requests of companies wait for a decision",
            contacts,
        )
        yield Waiting("contacts", contacts, 0, say, "/console/contacts")


def _reviews(node: Node) -> Waiting:
    yesterday = day_of(node.clock.now_ms()) - timedelta(days=1)
    waiting = node.reviews.waiting(yesterday, REVIEWED_A_DAY) if node.has_made("reviews") else None
    say = sentence(
        "Yesterday's accesses ({day}) were not examined since this node was started", day=yesterday.isoformat()
    )
    if waiting is not None:
        say = sentence("{waiting} of yesterday's unexplained accesses wait for a finding", waiting=waiting)
    return Waiting("reviews", waiting, 0, say, "/console/reviews")
