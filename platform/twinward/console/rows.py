"""What the table shows of one event, and what lets the officer's browser hold it against the log."""

from __future__ import annotations

import base64
from typing import Any

from twinward.audit.events.wording import PURPOSES, account_of, change_of, deed, object_of, row_sentence
from twinward.audit.models import AccessEvent, AuditRow, RowState
from twinward.console.viewer import gettext, in_words, minute, reasons
from twinward.core.clock import iso


def shown(row: AuditRow) -> dict[str, Any]:
    """One row. Every value under ``event`` stands in the event's own bytes, which ``opening`` discloses."""
    return {
        "index": row.index,
        "minute": minute(row.minute_ms) if row.state is not RowState.DAMAGED else "",
        "state": row.state.value,
        "sentence": row_said(row),
        "event": _event(row.event) if row.event else None,
        "opening": {
            "key": _base64(row.opening.key),
            "salt": _base64(row.opening.salt),
            "event": _base64(row.opening.event),
        }
        if row.opening
        else {},
    }


def row_said(row: AuditRow) -> str:
    """One row as a sentence in the viewer's language, whatever became of its body."""
    event = row.event
    if event is None:
        return gettext(row_sentence(row))
    who = f"{event.agent} ({gettext(event.role.value)}{', ' + event.unit if event.unit else ''})"
    values = {"who": who, "deed": gettext(deed(event)), "why": gettext(PURPOSES[event.purpose])}
    if thing := object_of(event):
        return gettext("{who} {deed} {thing} for {why}").format(**values, thing=in_words(thing))
    return gettext("{who} {deed} for {why}").format(**values)


def _event(event: AccessEvent) -> dict[str, Any]:
    return {
        "at": _moment(event.at_ms),
        "at_ms": event.at_ms,
        "agent": event.agent,
        "role": event.role.value,
        "unit": event.unit,
        "action": event.action.value,
        "deed": gettext(deed(event)),
        "account": account_of(event),
        "change": change_of(event),
        "purpose": event.purpose.value,
        "why": gettext(PURPOSES[event.purpose]),
        "twin": event.twin or "",
        "categories": ", ".join(category.value for category in event.categories),
        "about": ", ".join(gettext(category.value) for category in event.categories),
        "consent": str(event.consent_version),
        "decision": event.decision,
        "reason": event.reason,
        "because": reasons(event.reason),
        "justification": dict(event.detail).get("justification", ""),
    }


def _moment(at_ms: int) -> str:
    return iso(at_ms)[:19].replace("T", " ")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
