"""Events and proofs for whoever examines the log, over HTTP, in a browser or on the command line."""

from __future__ import annotations

import base64
from typing import Any

from twinward.access.interfaces import AccessContext, AccessControl, Permit
from twinward.audit.models import AuditRow
from twinward.audit.service import Audit
from twinward.core.clock import iso
from twinward.core.errors import NotFound
from twinward.core.vocabulary import Action, TwinId
from twinward.node import translated
from twinward_ledger.formats.note import VerifierKey


def permit_to_examine(
    access: AccessControl,
    context: AccessContext,
    page: str,
    twin: TwinId | None = None,
    *,
    detail: tuple[tuple[str, str], ...] = (),
) -> Permit:
    """Leave to read the log, or one twin's part of it, itself logged: who audits is audited.

    Args:
        access: which decides.
        context: who asks, and why.
        page: what is looked at; the log says so.
        twin: whose part of the log; None for all of it.
        detail: what the log says besides.
    """
    return access.decide(context.request(Action.AUDIT, twin, detail=(("page", page), *detail)))


def event_json(row: AuditRow) -> dict[str, Any]:
    """One event. An erased one keeps its place and time only."""
    shown: dict[str, Any] = {"index": row.index, "state": row.state.value, "minute": iso(row.minute_ms)}
    event = row.event
    if event is None:
        return shown
    return shown | {
        "at": iso(event.at_ms),
        "agent": event.agent,
        "role": event.role.value,
        "unit": event.unit,
        "action": event.action.value,
        "purpose": event.purpose.value,
        "twin": event.twin,
        "categories": [category.value for category in event.categories],
        "decision": event.decision,
        "reason": event.reason,
        "policy_sha256": event.policy_hash,
        "consent_version": event.consent_version,
        "detail": dict(event.detail),
    }


def inclusion_json(audit: Audit, index: int) -> dict[str, Any]:
    """What a browser needs to check one event by itself."""
    bundle = audit.proofs.inclusion(index)
    return {
        "index": bundle.index,
        "leaf": _base64(bundle.leaf),
        "path": [_base64(node) for node in bundle.path],
        "checkpoint": bundle.note.decode(),
    }


def consistency_json(audit: Audit, old: int, new: int | None = None) -> dict[str, Any]:
    """What a browser needs to check that the log at ``old`` entries is a prefix of the log at ``new``.

    ``new`` None is the newest checkpoint, which comes along; so do the checkpoints at which the log changed its key.

    Raises:
        NotFound: no checkpoint of that size or larger is signed.
    """
    latest = audit.log.latest()
    target = (new or latest[0].size) if latest else 0
    if latest is None or not old <= target <= latest[0].size:
        raise NotFound("no checkpoint of that size or larger is signed")
    with translated():
        path = audit.log.prove_consistency(old, target)
    changes = [
        {"key": _base64(VerifierKey.parse(one.key).public_key), "note": one.note.decode()}
        for one in audit.log.store.key_changes()
    ]
    shown = {"checkpoint": latest[1].encode().decode(), "path": [_base64(one) for one in path]}
    return shown | ({"key_changes": changes} if changes else {})


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
