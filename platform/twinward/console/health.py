"""The traffic light of the home page, what it rests on, and what else an officer is told first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twinward.access import emergencies as glass
from twinward.audit.errors import LogTampered
from twinward.audit.models import AuditRow, RowState
from twinward.audit.status import AuditStatus, JournalState, LastCheck, VerifyReport
from twinward.consortium.standing import Proposal
from twinward.consortium.witness.health import WitnessHealth
from twinward.core.clock import iso
from twinward.overview.status import WitnessStatus

_SIGNS = {"good": "✓", "warn": "!", "bad": "✗"}

STALE_MS = 24 * 3_600_000
"""How old the last check of the whole log may be, in milliseconds, before the light turns amber."""

LAGGING = 1000
"""Events that may wait for their anchor before the light turns amber."""


def health(log: AuditStatus, rows: Sequence[AuditRow], check: LastCheck, now_ms: int) -> dict[str, str]:
    """The one traffic light: red for any doubt about the log, amber for what lags or is not checked, green otherwise.

    Args:
        log: how far it is signed and anchored.
        rows: the newest events, each held against its leaf.
        check: what is known of the whole log.
        now_ms: the node's clock.
    """
    damaged = any(row.state is RowState.DAMAGED for row in rows)
    cut = bool(log.journal.evidence or log.journal.cut_off)
    stale = bool(check.trouble) or now_ms - check.at_ms > STALE_MS
    behind = log.anchored_block is None or log.pending > LAGGING
    doubts = (  # the gravest first
        (bool(check.fault), "bad", "No. The whole log was checked and is not what was signed: see below."),
        (damaged, "bad", "Rows of the log contradict what was committed. Open Verify now."),
        (cut, "bad", "The break-glass journal was tampered with: see below."),
        (not check.at_ms, "warn", "The whole log has not been checked yet: see below."),
        (stale, "warn", "It is long since the whole log could be checked: see below."),
        (log.signed_size == 0, "warn", "Nothing is signed yet."),
        (log.cosigned < log.quorum, "warn", "Too few hospitals have co-signed the newest checkpoint."),
        (log.waits is not None, "warn", "The log is sound; it is not being anchored: see below why."),
        (behind, "warn", "The log is sound; its anchor on the chain lags behind."),
    )
    say = "Yes. What was signed still stands, co-signed and anchored."
    return next((_said(kind, doubt) for there, kind, doubt in doubts if there), _said("good", say))


def status(log: AuditStatus, check: LastCheck, *, seen_size: int, seen_at_ms: int) -> list[dict[str, str]]:
    """What the light rests on."""
    grown = log.signed_size >= seen_size
    since = _since(log.signed_size, seen_size, seen_at_ms)
    enough = log.cosigned >= log.quorum
    anchored = log.anchored_block is not None
    return [
        *_check_facts(log, check),
        _fact(grown, since),
        _fact(
            enough,
            f"{log.cosigned} of {log.witnesses} witnesses co-signed the newest checkpoint, {log.quorum} are needed",
        ),
        _fact(
            anchored,
            f"{log.anchored_size} events are anchored on the chain, the newest at block {log.anchored_block}"
            if anchored
            else "Nothing is anchored on the chain yet",
        ),
        _fact(
            log.pending <= LAGGING,
            f"{log.pending} newer {'event waits' if log.pending == 1 else 'events wait'} for the next anchor",
        ),
        *_chain_facts(log),
        *_journal_facts(log.journal),
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


def _check_facts(log: AuditStatus, check: LastCheck) -> list[dict[str, str]]:
    """What was checked, up to where and when."""
    newer = log.size - check.size
    found = []
    if check.fault:
        found.append(_said("bad", f"{check.fault}. Found by the check of {_minute(check.at_ms)} UTC"))
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


def _chain_facts(log: AuditStatus) -> list[dict[str, str]]:
    """What the chain did that an officer should know: it does not take anchors, or took some back."""
    found = []
    if log.waits:
        since = _minute(log.waits.since_ms)
        found.append(
            _fact(
                False,
                f"Since {since} UTC nothing could be anchored: {log.waits.text}. Nothing is lost: events are signed "
                "and co-signed, and the next anchor takes all of them along",
            )
        )
    if log.taken_back:
        at = _minute(log.taken_back.since_ms)
        found.append(_fact(not log.waits, f"On {at} UTC {log.taken_back.text}"))
    return found


def _minute(at_ms: int) -> str:
    return iso(at_ms)[:16].replace("T", " ")


def emergencies(standing: glass.EmergencyCounts) -> str:
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
    light = _said("bad", "No. The stored log contradicts what was signed. Open Verify now.")
    return {"health": light, "findings": [_said("bad", str(error))]}


def witnesses(found: Iterable[WitnessStatus]) -> list[dict[str, Any]]:
    """Every witness: whether its cosignature on the newest checkpoint verifies, and how it is."""
    return [
        {
            "name": one.health.name,
            "signed": one.signed,
            "key": one.health.key.split("+", 2)[2],
            "say": one.health.sentence,
            "kind": "good" if one.health.good else "bad" if one.health.alarming else "warn",
        }
        for one in found
    ]


def alerts(failing: Iterable[WitnessHealth], proposed: Iterable[Proposal], now_ms: int) -> list[dict[str, str]]:
    """Witnesses that are down, behind or lying, and proposals to change the consortium; none where all is well."""
    return [_fact(False, f"{one.sentence}.") | ({"kind": "bad"} if one.alarming else {}) for one in failing] + [
        _fact(False, f"To the consortium: {one.sentence(now_ms)}. A quorum of hospitals can cancel it.")
        for one in proposed
    ]


def _fact(good: bool, say: str) -> dict[str, str]:
    return _said("good" if good else "warn", say)


def _said(kind: str, say: str) -> dict[str, str]:
    return {"kind": kind, "sign": _SIGNS[kind], "say": say}
