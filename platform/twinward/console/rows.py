"""What the table shows of one event, and what lets the officer's browser hold it against the log."""

from __future__ import annotations

import base64
from typing import Any

from twinward.audit.events.wording import PURPOSES, account_of, change_of, deed, row_sentence
from twinward.audit.models import AccessEvent, AuditRow, RowState
from twinward.core.clock import iso


def shown(row: AuditRow) -> dict[str, Any]:
    """One row. Every value under ``event`` stands in the event's own bytes, which ``opening`` discloses."""
    return {
        "index": row.index,
        "minute": _moment(row.minute_ms)[:16] if row.state is not RowState.DAMAGED else "",
        "state": row.state.value,
        "sentence": row_sentence(row),
        "event": _event(row.event) if row.event else None,
        "opening": {
            "key": _base64(row.opening.key),
            "salt": _base64(row.opening.salt),
            "event": _base64(row.opening.event),
        }
        if row.opening
        else {},
    }


def _event(event: AccessEvent) -> dict[str, str]:
    return {
        "at": _moment(event.at_ms),
        "agent": event.agent,
        "role": event.role.value,
        "unit": event.unit,
        "action": event.action.value,
        "deed": deed(event),
        "account": account_of(event),
        "change": change_of(event),
        "purpose": event.purpose.value,
        "why": PURPOSES[event.purpose],
        "twin": event.twin or "",
        "categories": ", ".join(category.value for category in event.categories),
        "consent": str(event.consent_version),
        "decision": event.decision,
        "reason": event.reason,
        "justification": dict(event.detail).get("justification", ""),
    }


def _moment(at_ms: int) -> str:
    return iso(at_ms)[:19].replace("T", " ")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
