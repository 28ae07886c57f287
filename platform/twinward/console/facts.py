"""What the pages say about the log, the chain, vendors and models."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from twinward.audit.errors import LogTampered
from twinward.audit.reader import AuditRow, RowState
from twinward.audit.service import AuditStatus, VerifyReport
from twinward.clock import iso
from twinward.errors import NotFound
from twinward.node import Node, translated
from twinward.vocabulary import Role

LAGGING = 1000
"""Events that may wait for their anchor before the lamp turns amber."""


def lamp(status: AuditStatus, rows: Sequence[AuditRow]) -> dict[str, str]:
    """The one traffic light: red for tampering, amber for something that lags, green otherwise."""
    if any(row.state is RowState.DAMAGED for row in rows):
        return {"kind": "bad", "sign": "✗", "say": "Rows of the log contradict what was committed. Open Verify now."}
    if status.signed_size == 0:
        return {"kind": "warn", "sign": "!", "say": "Nothing is signed yet."}
    if status.cosigned < status.quorum:
        return {"kind": "warn", "sign": "!", "say": "Too few hospitals have co-signed the newest checkpoint."}
    if status.anchored_block is None or status.pending > LAGGING:
        return {"kind": "warn", "sign": "!", "say": "The log is sound; its anchor on the chain lags behind."}
    return {"kind": "good", "sign": "✓", "say": "Yes. What was signed still stands, co-signed and anchored."}


def facts(status: AuditStatus, *, seen_size: int, seen_at_ms: int) -> list[dict[str, str]]:
    """What the lamp rests on."""
    since = (
        f"Since your last visit ({iso(seen_at_ms)[:16].replace('T', ' ')} UTC) the signed log grew from "
        f"{seen_size} to {status.signed_size} events"
        if seen_at_ms
        else f"This is your first visit; the signed log has {status.signed_size} events"
    )
    enough = status.cosigned >= status.quorum
    anchored = status.anchored_block is not None
    return [
        _fact(True, since),
        _fact(enough, f"{status.cosigned} of {status.witnesses} witnesses co-signed, {status.quorum} are needed"),
        _fact(
            anchored,
            f"{status.anchored_size} events are anchored, the newest at block {status.anchored_block}"
            if anchored
            else "nothing is anchored on the chain yet",
        ),
        _fact(status.pending <= LAGGING, f"{status.pending} newer events wait for the next checkpoint"),
    ]


def sound(report: VerifyReport) -> dict[str, Any]:
    """A verified log, in words."""
    return {
        "bad": False,
        "say": f"All {report.size} leaves were hashed again and give every root that was ever signed.",
        "pairs": [
            ("Leaves hashed", report.size),
            ("Root re-derived", report.root.hex()),
            ("Covered by a signed checkpoint", report.signed_size),
            ("Signed checkpoints that agree", report.checkpoints),
        ],
    }


def tampered(error: LogTampered) -> dict[str, Any]:
    """A log that is not what was signed, in words."""
    where = "unknown" if error.first_bad_index is None else error.first_bad_index
    return {"bad": True, "say": f"{error}.", "pairs": [("First bad leaf", where)]}


def vendors(node: Node) -> tuple[int, list[dict[str, Any]]]:
    """The running epoch and each vendor's budget in it, from the chain."""
    with translated():
        epoch = node.consortium.budgets.current_epoch()
        rows = []
        for principal in node.accounts.of_role(Role.VENDOR):
            left = node.consortium.budgets.remaining_queries(principal.id, epoch)
            granted = node.settings.vendor_budget
            rows.append(
                {"name": principal.name or principal.id, "granted": granted, "spent": granted - left, "left": left}
            )
        return epoch, rows


def models(node: Node) -> list[dict[str, Any]]:
    """Registered models, newest first, from the chain. A study is named where this node knows its name."""
    with translated():
        registry = node.consortium.models
        found = [registry.model(number) for number in range(registry.count(), 0, -1)]
    return [
        {
            "number": model.number,
            "study": model.study_id.hex()[:16] + "…",
            "epsilon": f"{model.epsilon_micros / 1e6:.3f}",
            "delta": f"{model.delta_e12 / 1e12:.0e}",
            "hash": model.model_hash.hex(),
        }
        for model in found
    ]


def consistency(node: Node, old: int) -> dict[str, Any]:
    """What a browser needs to check that the log it saw at ``old`` entries is a prefix of the newest checkpoint."""
    latest = node.log.latest()
    if latest is None or old > latest[0].size:
        raise NotFound("no checkpoint of that size or larger is signed")
    with translated():
        path = node.log.prove_consistency(old, latest[0].size)
    return {
        "checkpoint": latest[1].encode().decode(),
        "path": [base64.b64encode(one).decode() for one in path],
    }


def _fact(good: bool, say: str) -> dict[str, str]:
    return {"kind": "good" if good else "warn", "sign": "✓" if good else "!", "say": say}
