"""What waits for an officer: counted once, for Home, for `node status`, for whoever else shows it. Names nobody."""

from __future__ import annotations

from dataclasses import dataclass

from twinward.core.clock import iso
from twinward.node import Node


@dataclass(frozen=True, slots=True)
class Waiting:
    """One kind of work.

    Attributes:
        kind: ``emergencies``, ``breaches`` or ``policy``.
        count: how many wait.
        overdue: how many of them should have been done.
        say: in a sentence.
        page: of the console, where it is done.
    """

    kind: str
    count: int
    overdue: int
    say: str
    page: str


def work_waiting(node: Node) -> list[Waiting]:
    """What waits, what is overdue first; nothing where nothing does. Raises ``Unavailable``, ``StoreAltered``."""
    glass, cases, proposals = node.emergencies.counts(), node.breaches.counts(), len(node.policy.proposals())
    found = []
    if glass.unreviewed:
        due = iso(glass.next_due_ms)[:16].replace("T", " ")
        say = f"{glass.unreviewed} emergency accesses wait for their review, the next by {due} UTC"
        found.append(Waiting("emergencies", glass.unreviewed, glass.overdue, say, "/console/emergencies"))
    if cases.open:
        due = f", the authority by {iso(cases.next_due_ms)[:16].replace('T', ' ')} UTC" if cases.next_due_ms else ""
        say = f"{cases.open} cases of breaches are open{due}"
        found.append(Waiting("breaches", cases.open, cases.overdue, say, "/console/breaches"))
    if proposals:
        say = f"{proposals} changes of the policy wait for a second officer"
        found.append(Waiting("policy", proposals, 0, say, "/console/policy"))
    return sorted(found, key=lambda one: -one.overdue)
