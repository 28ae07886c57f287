"""One access's whole story: what was asked, what decided, what it touched, and what happened beside it."""

from __future__ import annotations

import re
from typing import Any, Final

from twinward.access.consent import Consent, Provision
from twinward.access.interfaces import Permit
from twinward.access.permits import PERMIT_LIFETIME_MS
from twinward.audit.events.wording import PURPOSES
from twinward.audit.models import AccessEvent, AuditRow
from twinward.console.rows import row_said, shown
from twinward.console.viewer import gettext, minute
from twinward.core.errors import TwinwardError
from twinward.core.sentences import Moment, listed, sentence
from twinward.core.vocabulary import TwinId
from twinward.node import Node

NEIGHBOURS: Final = 5
_RULE: Final = re.compile(r'@id\("(?P<id>[^"]*)"\)\s*@say\("(?P<say>[^"]*)"\)\s*(?P<rule>[^@]*?;)', re.DOTALL)


def story(node: Node, permit: Permit, index: int) -> dict[str, Any]:
    """Everything that is known about one access. Raises ``NoSuchEvent``."""
    row = node.audit_reader.event(permit, index)
    status = node.audit.status()
    person, patient = node.access_search.neighbours(permit, row, NEIGHBOURS)
    event = row.event
    return {
        "index": index,
        "row": shown(row),
        "sentence": row_said(row),
        "signed_size": status.signed_size,
        "details": _details(event) if event else [],
        "rules": _rules(node.policy.text_of(event.policy_hash), event) if event and event.policy_hash else [],
        "policy": event.policy_hash if event else "",
        "policy_is_in_force": event is not None and event.policy_hash == node.policy.current().hash,
        "consent": _consent(node, event) if event else None,
        "permit_s": PERMIT_LIFETIME_MS // 1000,
        "person": [_neighbour(one) for one in person],
        "patient": [_neighbour(one) for one in patient],
    }


def _details(event: AccessEvent) -> list[tuple[str, str]]:
    return [(name, value) for name, value in event.detail if name != "justification"]


def _rules(text: str | None, event: AccessEvent) -> list[dict[str, str]]:
    """The rules that decided, as they are written in the version that decided; none where that is not kept."""
    if text is None:
        return []
    said = event.reason.split("; ")
    return [
        {"id": found["id"], "say": gettext(found["say"]), "rule": found["rule"].strip()}
        for found in _RULE.finditer(text)
        if found["say"] in said
    ]


def _consent(node: Node, event: AccessEvent) -> dict[str, Any] | None:
    if event.twin is None:
        return None
    try:
        now = node.access.consent_of(TwinId(event.twin))
    except TwinwardError:  # shredded since, or its store does not answer: the event still says which version decided
        now = Consent(version=-1, provisions=())
    same = now.version == event.consent_version
    return {
        "version": event.consent_version,
        "now": now.version,
        "is_in_force": same,
        "provisions": [_provision(one) for one in now.provisions] if same else [],
    }


def _provision(one: Provision) -> str:
    """One provision as a sentence."""
    who = ", ".join([*(role.value + "s" for role in one.roles), *one.actors]) or sentence("anybody")
    what = ", ".join(category.value for category in one.categories) or sentence("everything")
    why = listed([sentence(PURPOSES[purpose]) for purpose in one.purposes]) or sentence("any purpose")
    until = sentence(" until {until}", until=Moment(one.valid_until_ms)) if one.valid_until_ms is not None else ""
    if one.effect == "permit":
        return sentence("{who} may see {what} for {why}{until}", who=who, what=what, why=why, until=until)
    return sentence("{who} may not see {what} for {why}{until}", who=who, what=what, why=why, until=until)


def _neighbour(row: AuditRow) -> dict[str, Any]:
    return {
        "index": row.index,
        "when": minute(row.event.at_ms if row.event else row.minute_ms),
        "sentence": row_said(row),
        "refused": bool(row.event and row.event.decision == "deny"),
    }
