"""Events as sentences an officer can read aloud."""

from __future__ import annotations

from twinward.audit.interfaces import AccessEvent
from twinward.audit.reader import AuditRow, RowState
from twinward.vocabulary import Action, Purpose
from twinward_ledger.leaf import LeafKind

PURPOSES = {
    Purpose.TREATMENT: "treatment",
    Purpose.EMERGENCY: "an emergency",
    Purpose.RESEARCH: "research",
    Purpose.OPERATIONS: "hospital operations",
    Purpose.COMPLIANCE: "compliance",
    Purpose.PATIENT_REQUEST: "the patient's own request",
    Purpose.RECORD_MANAGEMENT: "record keeping",
    Purpose.SIMILARITY: "similarity search",
}
_DONE = {
    Action.READ: "read",
    Action.WRITE: "wrote",
    Action.SEARCH: "searched",
    Action.EXPORT: "took out",
    Action.QUERY: "queried the cohort",
    Action.COHORT: "put into the cohort",
    Action.TRAIN: "trained on",
    Action.AUDIT: "looked at the access log",
    Action.SHRED: "shredded",
    Action.CONSENT: "set or read the consent",
    Action.BREAK_GLASS: "broke the glass",
}
_TRIED = {
    Action.READ: "read",
    Action.WRITE: "write",
    Action.SEARCH: "search",
    Action.EXPORT: "take out",
    Action.QUERY: "query the cohort",
    Action.COHORT: "put into the cohort",
    Action.TRAIN: "train on",
    Action.AUDIT: "look at the access log",
    Action.SHRED: "shred",
    Action.CONSENT: "set or read the consent",
    Action.BREAK_GLASS: "break the glass",
}
MANY_CATEGORIES = 5


def sentence(event: AccessEvent) -> str:
    """One event as a sentence: who, what, of whom, why."""
    who = f"{event.agent} ({event.role.value}{', ' + event.unit if event.unit else ''})"
    return " ".join(part for part in (who, deed(event), _object(event), f"for {PURPOSES[event.purpose]}") if part)


def deed(event: AccessEvent) -> str:
    """What was done, or tried and refused."""
    return _DONE[event.action] if event.decision == "permit" else f"tried to {_TRIED[event.action]}"


def row_sentence(row: AuditRow) -> str:
    """One row as a sentence, whatever became of its body."""
    if row.event is not None:
        return sentence(row.event)
    if row.kind is LeafKind.HEARTBEAT:
        return "the node says that it is alive"
    if row.state is RowState.ERASED:
        return "erased on the patient's request; that it happened, and when, still stands"
    return "this row's content is not what the log committed to"


def _object(event: AccessEvent) -> str:
    if event.twin is None:
        return ""
    names = [category.value for category in event.categories]
    if not names:
        return "of one twin"
    if len(names) > MANY_CATEGORIES:
        return f"{len(names)} categories of one twin"
    return f"{', '.join(names)} of one twin"
