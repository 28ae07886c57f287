"""What the pages say about the log, the chain, vendors and models."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from twinward.access import emergencies as glass
from twinward.audit.break_glass_journal import JournalState
from twinward.audit.errors import LogTampered
from twinward.audit.log_check import LastCheck
from twinward.audit.reader import AuditRow, RowState
from twinward.audit.status import AuditStatus, cosigners
from twinward.audit.verification import VerifyReport
from twinward.consortium.standing import proposals_of
from twinward.consortium.witness.health import health_of
from twinward.core.clock import iso
from twinward.core.errors import NotFound, TwinwardError
from twinward.core.vocabulary import Role
from twinward.federation.privacy_cohort import COHORT
from twinward.node import Node, translated
from twinward_ledger.stores.witness_memory import Standing

STALE_MS = 24 * 3_600_000
"""How old the last check of the whole log may be, in milliseconds, before the lamp turns amber."""

LAGGING = 1000
"""Events that may wait for their anchor before the lamp turns amber."""


def lamp(status: AuditStatus, rows: Sequence[AuditRow], check: LastCheck, now_ms: int) -> dict[str, str]:
    """The one traffic light: red for any doubt about the log, amber for what lags or is not checked, green otherwise.

    Args:
        status: how far the log is signed and anchored.
        rows: the newest events, each held against its leaf.
        check: what is known of the whole log.
        now_ms: the node's clock.
    """
    if check.fault:
        return {
            "kind": "bad",
            "sign": "✗",
            "say": "No. The whole log was checked and is not what was signed: see below.",
        }
    if any(row.state is RowState.DAMAGED for row in rows):
        return {"kind": "bad", "sign": "✗", "say": "Rows of the log contradict what was committed. Open Verify now."}
    if status.journal.evidence or status.journal.cut_off:
        return {"kind": "bad", "sign": "✗", "say": "The break-glass journal was tampered with: see below."}
    if not check.at_ms:
        return {"kind": "warn", "sign": "!", "say": "The whole log has not been checked yet: see below."}
    if check.trouble or now_ms - check.at_ms > STALE_MS:
        return {"kind": "warn", "sign": "!", "say": "It is long since the whole log could be checked: see below."}
    if status.signed_size == 0:
        return {"kind": "warn", "sign": "!", "say": "Nothing is signed yet."}
    if status.cosigned < status.quorum:
        return {"kind": "warn", "sign": "!", "say": "Too few hospitals have co-signed the newest checkpoint."}
    if status.waits:
        return {"kind": "warn", "sign": "!", "say": "The log is sound; it is not being anchored: see below why."}
    if status.anchored_block is None or status.pending > LAGGING:
        return {"kind": "warn", "sign": "!", "say": "The log is sound; its anchor on the chain lags behind."}
    return {"kind": "good", "sign": "✓", "say": "Yes. What was signed still stands, co-signed and anchored."}


def facts(status: AuditStatus, check: LastCheck, *, seen_size: int, seen_at_ms: int) -> list[dict[str, str]]:
    """What the lamp rests on."""
    grown = status.signed_size >= seen_size
    since = _since(status.signed_size, seen_size, seen_at_ms)
    enough = status.cosigned >= status.quorum
    anchored = status.anchored_block is not None
    return [
        *_check_facts(status, check),
        _fact(grown, since),
        _fact(
            enough,
            f"{status.cosigned} of {status.witnesses} witnesses co-signed the newest checkpoint, "
            f"{status.quorum} are needed",
        ),
        _fact(
            anchored,
            f"{status.anchored_size} events are anchored on the chain, the newest at block {status.anchored_block}"
            if anchored
            else "Nothing is anchored on the chain yet",
        ),
        _fact(
            status.pending <= LAGGING,
            f"{status.pending} newer {'event waits' if status.pending == 1 else 'events wait'} for the next anchor",
        ),
        *_chain_facts(status),
        *_journal_facts(status.journal),
    ]


def _since(signed: int, seen: int, seen_at_ms: int) -> str:
    """How the signed log has grown since an officer's last visit; a log never shrinks."""
    if not seen_at_ms:
        return f"This is your first visit. The signed log has {signed} events"
    visit = f"Since your last visit ({iso(seen_at_ms)[:16].replace('T', ' ')} UTC) the signed log"
    if signed < seen:
        return f"{visit} has shrunk from {seen} to {signed} events: some were taken away"
    return (
        f"{visit} grew from {seen} to {signed} events" if signed > seen else f"{visit} has not grown: {signed} events"
    )


def _check_facts(status: AuditStatus, check: LastCheck) -> list[dict[str, str]]:
    """What was checked, up to where and when."""
    newer = status.size - check.size
    found = []
    if check.fault:
        found.append(
            {"kind": "bad", "sign": "✗", "say": f"{check.fault}. Found by the check of {_minute(check.at_ms)} UTC"}
        )
    elif check.at_ms:
        came = (
            f"; {newer} {'event' if newer == 1 else 'events'} came since, the newest of them checked here"
            if newer
            else ""
        )
        at = _minute(check.at_ms)
        found.append(_fact(True, f"All {check.size} events up to {at} UTC were hashed and opened again{came}"))
    else:
        found.append(_fact(False, "A check of every event begins when the node is served; it has not ended yet"))
    if check.trouble:
        found.append(_fact(False, f"The last check could not be made: {check.trouble}"))
    return found


def _journal_facts(journal: JournalState) -> list[dict[str, str]]:
    """Emergencies that were written beside the log while it could not be."""
    found = []
    if journal.waiting:
        found.append(
            _fact(False, f"{journal.waiting} events of emergencies wait in the break-glass journal for the log")
        )
    if journal.replayed:
        done = journal.replayed
        found.append(
            _fact(
                True,
                f"{done.count} events of emergencies between {_minute(done.from_ms)} and {_minute(done.to_ms)} UTC "
                f"were kept in the break-glass journal while the log could not be written; they are events "
                f"{done.first_index} to {done.last_index} now",
            )
        )
    if journal.cut_off:
        found.append(_fact(False, f"{journal.cut_off} events of emergencies were cut off the break-glass journal"))
    found += [_fact(False, f"The break-glass journal was altered; the file is kept: {one}") for one in journal.evidence]
    return found


def _chain_facts(status: AuditStatus) -> list[dict[str, str]]:
    """What the chain did that an officer should know: it does not take anchors, or took some back."""
    found = []
    if status.waits:
        since = _minute(status.waits.since_ms)
        found.append(
            _fact(
                False,
                f"Since {since} UTC nothing could be anchored: {status.waits.text}. Nothing is lost: events are signed "
                "and co-signed, and the next anchor takes all of them along",
            )
        )
    if status.taken_back:
        at = _minute(status.taken_back.since_ms)
        found.append(_fact(not status.waits, f"On {at} UTC {status.taken_back.text}"))
    return found


def _minute(at_ms: int) -> str:
    return iso(at_ms)[:16].replace("T", " ")


def emergencies(standing: glass.Standing) -> str:
    """What Home says first where an emergency waits for its review."""
    parts = []
    if standing.overdue:
        late = "review of an emergency access is" if standing.overdue == 1 else "reviews of emergency accesses are"
        parts.append(f"{standing.overdue} {late} overdue.")
    if standing.open:
        parts.append(f"{standing.open} {'emergency is' if standing.open == 1 else 'emergencies are'} open now.")
    waits = "emergency access waits" if standing.unreviewed == 1 else "emergency accesses wait"
    parts.append(f"{standing.unreviewed} {waits} for a review, the next due {_minute(standing.next_due_ms)} UTC.")
    if standing.undelivered:
        parts.append(f"{standing.undelivered} alerts reached nobody.")
    return " ".join(parts)


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
            ("Completeness maps built again", report.map_heads),
            ("Events they cover", report.map_covered),
        ],
    }


def tampered(error: LogTampered) -> dict[str, Any]:
    """A log that is not what was signed, in words."""
    where = "unknown" if error.first_bad_index is None else error.first_bad_index
    return {"bad": True, "say": f"{error}.", "pairs": [("First bad leaf", where)]}


def alarm(error: LogTampered) -> dict[str, Any]:
    """What the home page says when the log cannot even be read without a contradiction."""
    lamp = {"kind": "bad", "sign": "✗", "say": "No. The stored log contradicts what was signed. Open Verify now."}
    return {"lamp": lamp, "facts": [{"kind": "bad", "sign": "✗", "say": f"{error}"}]}


def witnesses(node: Node) -> list[dict[str, Any]]:
    """Every witness: whether its cosignature on the newest checkpoint verifies, and how it is."""
    latest = node.log.latest()
    signed = dict(cosigners(latest[1].encode(), node.audit.anchorer)) if latest else {}
    return [
        {
            "name": one.name,
            "signed": one.name in signed,
            "key": one.key.split("+", 2)[2],
            "say": one.sentence,
            "kind": "good" if one.good else "bad" if one.alarming else "warn",
        }
        for one in health_of(node.audit.anchorer)
    ]


def troubles(node: Node) -> list[dict[str, str]]:
    """The witnesses that are down, behind or lying, in words; none where all is well."""
    found = [one for one in health_of(node.audit.anchorer) if not one.good and one.standing is not Standing.UNKNOWN]
    return [_fact(False, f"{one.sentence}.") | ({"kind": "bad"} if one.alarming else {}) for one in found]


def proposals(node: Node) -> list[dict[str, str]]:
    """What is proposed to change the consortium; nothing where the chain does not answer, which another fact says."""
    try:
        found = proposals_of(node.consortium, node.known_names())
    except TwinwardError:
        return []
    now_ms = node.clock.now_ms()
    return [
        _fact(False, f"To the consortium: {one.sentence(now_ms)}. A quorum of hospitals can cancel it.")
        for one in found
    ]


def vendors(node: Node) -> tuple[int, list[dict[str, Any]]]:
    """The running epoch and each vendor's budget in it, from the chain."""
    with translated():
        budgets = node.consortium.budgets
        epoch = budgets.current_epoch()
        rows = []
        for principal in node.accounts.of_role(Role.VENDOR):
            granted = budgets.remaining_queries(principal.id, epoch + 1)  # nothing is spent yet in an epoch to come
            left = min(budgets.remaining_queries(principal.id, epoch), granted)
            name = principal.name or principal.id
            rows.append({"name": name, "granted": granted, "spent": granted - left, "left": left})
        return epoch, rows


def privacy(node: Node) -> list[dict[str, Any]]:
    """What studies have spent of each member hospital's privacy budget, from the chain; shares in whole per cent."""
    with translated():
        accounts = [(name, node.consortium.budgets.privacy(name, COHORT)) for name in node.settings.witnesses]
    return [
        {
            "name": name,
            "cap": f"{account.cap_micros / 1e6:.3f}",
            "spent": f"{account.spent_micros / 1e6:.3f}",
            "reserved": f"{account.reserved_micros / 1e6:.3f}",
            "share": round(100 * (account.spent_micros + account.reserved_micros) / account.cap_micros),
        }
        for name, account in accounts
        if account.cap_micros
    ]


def models(node: Node) -> list[dict[str, Any]]:
    """Registered models, newest first, from the chain. A study is named where this node keeps the model's card."""
    cards = _cards(node)
    with translated():
        registry = node.consortium.models
        found = [registry.model(number) for number in range(registry.count(), 0, -1)]
    return [
        {
            "number": model.number,
            "study": cards.get(model.card_hash) or f"{model.study_id.hex()[:16]}…",
            "at": iso(model.registered_at_s * 1000)[:16].replace("T", " "),
            "epsilon": f"{model.epsilon_micros / 1e6:.3f}",
            "delta": f"{model.delta_e12 / 1e12:.0e}",
            "hash": model.model_hash.hex(),
        }
        for model in found
    ]


def consistency(node: Node, old: int, new: int | None = None) -> dict[str, Any]:
    """What a browser needs to check that the log at ``old`` entries is a prefix of the log at ``new``.

    ``new`` None is the newest checkpoint, which comes along.

    Raises:
        NotFound: no checkpoint of that size or larger is signed.
    """
    latest = node.log.latest()
    target = (new or latest[0].size) if latest else 0
    if latest is None or not old <= target <= latest[0].size:
        raise NotFound("no checkpoint of that size or larger is signed")
    with translated():
        path = node.log.prove_consistency(old, target)
    return {
        "checkpoint": latest[1].encode().decode(),
        "path": [base64.b64encode(one).decode() for one in path],
    }


def _cards(node: Node) -> dict[bytes, str]:
    """The studies of the model cards this node keeps, by the hash under which the chain knows the card."""
    named: dict[bytes, str] = {}
    for path in sorted((node.settings.home / "models").glob("*.card.json")):
        try:
            content = path.read_bytes()
            named[hashlib.sha256(content).digest()] = str(json.loads(content)["study"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not a card; the model is then shown by its hash
    return named


def _fact(good: bool, say: str) -> dict[str, str]:
    return {"kind": "good" if good else "warn", "sign": "✓" if good else "!", "say": say}
