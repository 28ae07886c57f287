"""Events as sentences an officer can read aloud."""

from __future__ import annotations

from collections.abc import Iterator

from twinward.audit.models import AccessEvent, AuditRow, RowState
from twinward.core.sentences import sentence
from twinward.core.vocabulary import Action, Purpose
from twinward_ledger.formats.leaf import LeafKind

PURPOSES = {
    Purpose.TREATMENT: "treatment",
    Purpose.EMERGENCY: "an emergency",
    Purpose.RESEARCH: "research",
    Purpose.OPERATIONS: "hospital operations",
    Purpose.COMPLIANCE: "compliance",
    Purpose.PATIENT_REQUEST: "the patient's own request",
    Purpose.RECORD_MANAGEMENT: "record keeping",
    Purpose.SIMILARITY: "similarity search",
    Purpose.PUBLIC_HEALTH: "public health",
}
_DONE = {
    Action.READ: "read",
    Action.WRITE: "wrote",
    Action.SEARCH: "searched",
    Action.EXPORT: "took out",
    Action.QUERY: "queried the cohort",
    Action.MATCH: "was told of",
    Action.COHORT: "put into the cohort",
    Action.TRAIN: "trained on",
    Action.COUNT: "looked for cases to count in",
    Action.AUDIT: "looked at the access log",
    Action.SHRED: "shredded",
    Action.CONSENT: "set or read the consent",
    Action.BREAK_GLASS: "broke the glass",
    Action.NOTE: "noted where a store of the node stands",
    Action.SIGN_IN: "signed in",
    Action.SIGN_OUT: "signed out",
    Action.ACCOUNT: "looked at",  # or changed: see ``deed``
    Action.STUDY: "dealt with",  # which way: see ``deed``
    Action.BREACH: "worked on a breach",
    Action.REVIEW: "reviewed accesses",
    Action.POLICY: "looked at the policy",
    Action.CONTACT: "dealt with a contact request",  # which way: see ``deed``
    Action.EXCHANGE: "dealt with an exchange of resources",  # which way: see ``deed``
    Action.OUTBREAK: "dealt with an alert of an outbreak",  # which way: see ``deed``
}
_TRIED = {
    Action.READ: "read",
    Action.WRITE: "write",
    Action.SEARCH: "search",
    Action.EXPORT: "take out",
    Action.QUERY: "query the cohort",
    Action.MATCH: "be told of",
    Action.COHORT: "put into the cohort",
    Action.TRAIN: "train on",
    Action.COUNT: "look for cases to count in",
    Action.AUDIT: "look at the access log",
    Action.SHRED: "shred",
    Action.CONSENT: "set or read the consent",
    Action.BREAK_GLASS: "break the glass",
    Action.NOTE: "note where a store of the node stands",
    Action.SIGN_IN: "sign in",
    Action.SIGN_OUT: "sign out",
    Action.ACCOUNT: "look at or change",
    Action.STUDY: "approve or invite to",
    Action.BREACH: "work on a breach",
    Action.REVIEW: "review accesses",
    Action.POLICY: "look at or change the policy",
    Action.CONTACT: "deal with a contact request",
    Action.EXCHANGE: "exchange resources with other hospitals",
    Action.OUTBREAK: "alert of an outbreak",
}
_PHASES = {
    "stop": "ended an emergency access",
    "declared": "declared an emergency access to the contract",
    "told": "alerted the officers to an emergency access",
    "review": "reviewed an emergency access",
    "closed": "closed the review of an emergency access on the contract",
    "allow": "allowed more patients in emergencies",
}
"""Of the events of an emergency (``twinward.access.emergency``) those that are no access; its start is one."""

_STUDY_STEPS = {
    "key": "gave out the hospital's study key for",
    "invite": "invited other hospitals to",
    "approve": "approved",
    "withdraw": "took back the approval of",
    "quarantine": "left a hospital out of",
    "clear": "looked at a suspect hospital and kept it in",
}
"""Of the events of a study (``twinward.node.study_approvals``, ``study_suspects``)."""
_STEPS = {
    Action.BREACH: {
        "opened": "opened the case of a breach",
        "assessed": "assessed who is affected by a breach",
        "drafted": "drafted a notification of a breach",
        "noted": "noted something on a breach",
        "notified": "notified somebody of a breach",
        "closed": "closed the case of a breach",
    },
    Action.REVIEW: {
        "signed-off": "signed off somebody's accesses to the record",
        "asked": "asked somebody about their accesses to the record",
        "answered": "answered a question about their accesses to the record",
        "escalated": "escalated somebody's accesses to the record",
    },
    Action.SHRED: {
        "proposed": "proposed an erasure",
        "concerns": "proposed the erasure",
        "withdrawn": "withdrew a proposed erasure",
    },
    Action.POLICY: {
        "proposed": "proposed a change of the policy",
        "approved": "approved a change of the policy, which is in force since",
        "withdrawn": "withdrew a proposed change of the policy",
    },
    Action.CONTACT: {
        "proposed": "asked that patients are told of a study",
        "approved": "approved that patients are told of a study",
        "refused": "refused that patients are told of a study",
        "told": "had the patient told of a study",
        "compared": "held a study's criteria against",
        "finished": "had every patient told whom a study looks for",
        "answered": "answered an invitation to a study",
    },
    Action.EXCHANGE: {
        "offer": "signed an offer of resources to other hospitals",
        "request": "signed a request for other hospitals' resources",
        "withdraw": "signed that an offer or request is withdrawn",
        "promise": "signed a promise of resources to another hospital",
        "ship": "signed that promised resources are on their way",
        "receive": "signed how much of promised resources arrived",
        "dispute": "signed a dispute on promised resources",
        "settle": "signed how a dispute on resources is settled",
        "decide": "asked the consortium to settle a dispute on resources",
        "cancel": "signed that a promise of resources is cancelled",
        "lapse": "had a promise of resources lapse that was not kept in time",
    },
    Action.OUTBREAK: {
        "sign": "signed an alert of an outbreak for the hospital",
        "raise": "raised an alert of an outbreak that several hospitals signed",
        "sign-end": "signed for the hospital that an alert of an outbreak is over",
        "end": "ended an alert of an outbreak, as several hospitals signed",
        "reserve": "had the privacy of a period of daily counts reserved",
        "count": "had cases counted for a period of daily counts",
        "release": "released daily counts with noise",
        "repeat": "gave out again what was released of daily counts",
        "sum": "added up hospitals' daily counts",
        "forecast": "had a forecast made of daily counts that were added up",
    },
}
"""What the steps of a case, an erasure, a change of policy, a contact request, an exchange and an alert are called."""

MANY_CATEGORIES = 5
ROWS = (
    "the node says that it is alive",
    "erased on the patient's request; that it happened, and when, still stands",
    "this row's content is not what the log committed to",
)
"""Rows that show no event."""


def event_sentence(event: AccessEvent) -> str:
    """One event as a sentence: who, what, of whom, why."""
    who = f"{event.agent} ({event.role.value}{', ' + event.unit if event.unit else ''})"
    return " ".join(part for part in (who, deed(event), object_of(event), f"for {PURPOSES[event.purpose]}") if part)


def deed(event: AccessEvent) -> str:
    """What was done, or tried and refused."""
    if event.action is Action.QUERY and event.twin is not None:
        return "compared queries with" if event.decision == "permit" else "tried to compare queries with"
    if event.action is Action.AUDIT and dict(event.detail).get("page") == "log key" and event.decision == "permit":
        return "changed the log's key"
    phase = dict(event.detail).get("phase", "") if event.action is Action.BREAK_GLASS else ""
    if phase in _PHASES:
        return _PHASES[phase]
    step = dict(event.detail).get("step", "") if event.decision == "permit" else ""
    if step in _STEPS.get(event.action, {}):
        return _STEPS[event.action][step]
    if event.action is Action.ACCOUNT and event.decision == "permit" and change_of(event):
        return "changed"
    if event.action is Action.STUDY and event.decision == "permit":
        return _STUDY_STEPS.get(dict(event.detail).get("step", ""), _DONE[Action.STUDY])
    return _DONE[event.action] if event.decision == "permit" else f"tried to {_TRIED[event.action]}"


def deeds() -> Iterator[str]:
    """All that ``deed`` can say, for whoever puts it into another language."""
    yield from ("compared queries with", "tried to compare queries with", "changed the log's key", "changed")
    yield from (*_PHASES.values(), *_STUDY_STEPS.values(), *_DONE.values())
    yield from (step for steps in _STEPS.values() for step in steps.values())
    yield from (f"tried to {tried}" for tried in _TRIED.values())


def account_of(event: AccessEvent) -> str:
    """Which account it is about (``twinward.access.account_events``); empty where it is about none, or several."""
    return dict(event.detail).get("account", "") if event.action is Action.ACCOUNT else ""


def change_of(event: AccessEvent) -> str:
    """What was done to the account, e.g. ``token 2 revoked``; empty where it was only looked at, or refused."""
    return dict(event.detail).get("change", "") if event.action is Action.ACCOUNT else ""


def row_sentence(row: AuditRow) -> str:
    """One row as a sentence, whatever became of its body."""
    if row.event is not None:
        return event_sentence(row.event)
    if row.kind is LeafKind.HEARTBEAT:
        return ROWS[0]
    if row.state is RowState.ERASED:
        return ROWS[1]
    return ROWS[2]


def object_of(event: AccessEvent) -> str:
    """What was accessed, without naming the patient; empty where that is said by the deed."""
    if event.action is Action.ACCOUNT:
        account, change = account_of(event), change_of(event)
        if not account:
            return sentence("accounts ({change})", change=change) if change else sentence("accounts")
        if not change:
            return sentence("the account {account}", account=account)
        return sentence("the account {account} ({change})", account=account, change=change)
    if event.action is Action.STUDY:
        study = dict(event.detail).get("study", "")
        return sentence("the study {study}", study=study) if study else sentence("studies")
    if event.twin is None:
        return ""
    names = [category.value for category in event.categories]
    if not names:
        return sentence("of one twin")
    if len(names) > MANY_CATEGORIES:
        return sentence("{count} categories of one twin", count=len(names))
    return sentence("{categories} of one twin", categories=", ".join(names))
