"""What waits for an officer, as Home lists it: counted, naming nobody."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from twinward.audit.queries import day_of
from twinward.node import Node

REVIEWED_A_DAY: Final = 50
"""Visits of a day that officers are asked to look at, the riskiest."""


def work_waiting(node: Node) -> list[dict[str, Any]]:
    """Each kind of work with its sentence, where it is done, and whether it is late."""
    yesterday = day_of(node.clock.now_ms()) - timedelta(days=1)
    glass, cases = node.emergencies.counts(), node.breaches.counts()
    waiting = node.reviews.waiting(yesterday, REVIEWED_A_DAY)
    said = f"{waiting} of yesterday's unexplained accesses wait for a finding"
    if waiting is None:
        said = f"Yesterday's accesses ({yesterday.isoformat()}) were not examined since this node was started"
    found = [{"say": said, "href": "/console/reviews", "kind": "good" if waiting == 0 else "warn"}]
    if glass.unreviewed:
        late = f", {glass.overdue} of them overdue" if glass.overdue else ""
        say = f"{glass.unreviewed} emergency accesses wait for a review{late}"
        found.append({"say": say, "href": "/console/emergencies", "kind": "bad" if glass.overdue else "warn"})
    if cases.open:
        late = f", {cases.overdue} of them past their deadline" if cases.overdue else ""
        say = f"{cases.open} breach cases are open{late}"
        found.append({"say": say, "href": "/console/breaches", "kind": "bad" if cases.overdue else "warn"})
    return found
