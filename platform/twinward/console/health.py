"""The traffic light of the home page, what it rests on, and what else an officer is told first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twinward.access import emergencies as glass
from twinward.audit.errors import LogTampered
from twinward.audit.status import AuditStatus, JournalState, LastCheck, VerifyReport
from twinward.console.viewer import gettext, in_words, message
from twinward.consortium.standing import Proposal
from twinward.consortium.witness.health import WitnessHealth
from twinward.core.sentences import Moment, Sentence, counted, sentence
from twinward.overview.status import WitnessStatus

_SIGNS = {"good": "✓", "warn": "!", "bad": "✗"}

STALE_MS = 24 * 3_600_000
"""How old the last check of the whole log may be, in milliseconds, before the light turns amber."""

LAGGING = 1000
"""Events that may wait for their anchor before the light turns amber."""


def health(log: AuditStatus, damaged: bool, check: LastCheck, now_ms: int) -> dict[str, str]:
    """The one traffic light: red for any doubt about the log, amber for what lags or is not checked, green otherwise.

    Args:
        log: how far it is signed and anchored.
        damaged: whether one of the newest entries is not what its leaf commits to.
        check: what is known of the whole log.
        now_ms: the node's clock.
    """
    cut = bool(log.journal.evidence or log.journal.cut_off)
    stale = bool(check.trouble) or now_ms - check.at_ms > STALE_MS
    behind = log.anchored_block is None or log.pending > LAGGING
    doubts = (  # the gravest first
        (bool(check.fault), "bad", message("No. The whole log was checked and is not what was signed: see below.")),
        (damaged, "bad", message("Rows of the log contradict what was committed. Open Verify now.")),
        (cut, "bad", message("The break-glass journal was tampered with: see below.")),
        (not check.at_ms, "warn", message("The whole log has not been checked yet: see below.")),
        (stale, "warn", message("It is long since the whole log could be checked: see below.")),
        (log.signed_size == 0, "warn", message("Nothing is signed yet.")),
        (log.cosigned < log.quorum, "warn", message("Too few hospitals have co-signed the newest checkpoint.")),
        (log.waits is not None, "warn", message("The log is sound; it is not being anchored: see below why.")),
        (behind, "warn", message("The log is sound; its anchor on the chain lags behind.")),
    )
    say = message("Yes. What was signed still stands, co-signed and anchored.")
    return next((_said(kind, gettext(doubt)) for there, kind, doubt in doubts if there), _said("good", gettext(say)))


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
            sentence(
                "{cosigned} of {witnesses} witnesses co-signed the newest checkpoint, {quorum} are needed",
                cosigned=log.cosigned,
                witnesses=log.witnesses,
                quorum=log.quorum,
            ),
        ),
        _fact(
            anchored,
            sentence(
                "{anchored_size} events are anchored on the chain, the newest at block {anchored_block}",
                anchored_size=log.anchored_size,
                anchored_block=log.anchored_block,
            )
            if anchored
            else sentence("Nothing is anchored on the chain yet"),
        ),
        _fact(
            log.pending <= LAGGING,
            counted(
                "{count} newer event waits for the next anchor",
                "{count} newer events wait for the next anchor",
                log.pending,
            ),
        ),
        *_chain_facts(log),
        *_journal_facts(log.journal),
    ]


def _since(signed: int, seen: int, seen_at_ms: int) -> str:
    """How the signed log has grown since an officer's last visit; a log never shrinks."""
    if not seen_at_ms:
        return sentence("This is your first visit. The signed log has {signed} events", signed=signed)
    visit = sentence("Since your last visit ({seen_at}) the signed log", seen_at=Moment(seen_at_ms))
    if signed < seen:
        return sentence(
            "{visit} has shrunk from {seen} to {signed} events: some were taken away",
            visit=visit,
            seen=seen,
            signed=signed,
        )
    return (
        sentence("{visit} grew from {seen} to {signed} events", visit=visit, seen=seen, signed=signed)
        if signed > seen
        else sentence("{visit} has not grown: {signed} events", visit=visit, signed=signed)
    )


def _check_facts(log: AuditStatus, check: LastCheck) -> list[dict[str, str]]:
    """What was checked, up to where and when."""
    newer = log.size - check.size
    found = []
    if check.fault:
        found.append(
            _said("bad", sentence("{fault}. Found by the check of {at}", fault=check.fault, at=Moment(check.at_ms)))
        )
    elif check.at_ms:
        came = (
            counted(
                "; {count} event came since, the newest of them checked here",
                "; {count} events came since, the newest of them checked here",
                newer,
            )
            if newer
            else ""
        )
        at = Moment(check.at_ms)
        found.append(
            _fact(
                True,
                sentence(
                    "All {size} events up to {at} were hashed and opened again{came}", size=check.size, at=at, came=came
                ),
            )
        )
    else:
        found.append(
            _fact(False, sentence("A check of every event begins when the node is served; it has not ended yet"))
        )
    if check.trouble:
        found.append(_fact(False, sentence("The last check could not be made: {trouble}", trouble=check.trouble)))
    return found


def _journal_facts(journal: JournalState) -> list[dict[str, str]]:
    """Emergencies that were written beside the log while it could not be."""
    found = []
    if journal.waiting:
        found.append(
            _fact(
                False,
                sentence(
                    "{waiting} events of emergencies wait in the break-glass journal for the log",
                    waiting=journal.waiting,
                ),
            )
        )
    if journal.replayed:
        done = journal.replayed
        found.append(
            _fact(
                True,
                sentence(
                    "{count} events of emergencies between {begin} and {end} were kept in the break-glass "
                    "journal while the log could not be written; they are events {first_index} to {last_index} "
                    "now",
                    count=done.count,
                    begin=Moment(done.from_ms),
                    end=Moment(done.to_ms),
                    first_index=done.first_index,
                    last_index=done.last_index,
                ),
            )
        )
    if journal.cut_off:
        found.append(
            _fact(
                False,
                sentence(
                    "{cut_off} events of emergencies were cut off the break-glass journal", cut_off=journal.cut_off
                ),
            )
        )
    found += [
        _fact(False, sentence("The break-glass journal was altered; the file is kept: {one}", one=one))
        for one in journal.evidence
    ]
    return found


def _chain_facts(log: AuditStatus) -> list[dict[str, str]]:
    """What the chain did that an officer should know: it does not take anchors, or took some back."""
    found = []
    if log.waits:
        since = Moment(log.waits.since_ms)
        found.append(
            _fact(
                False,
                sentence(
                    "Since {since} nothing could be anchored: {text}. Nothing is lost: events are signed and "
                    "co-signed, and the next anchor takes all of them along",
                    since=since,
                    text=log.waits.text,
                ),
            )
        )
    if log.taken_back:
        at = Moment(log.taken_back.since_ms)
        found.append(_fact(not log.waits, sentence("On {at} {text}", at=at, text=log.taken_back.text)))
    return found


def emergencies(standing: glass.EmergencyCounts) -> str:
    """What Home says first where an emergency waits for its review."""
    parts: list[Sentence] = []
    if standing.overdue:
        parts.append(
            counted(
                "{count} review of an emergency access is overdue.",
                "{count} reviews of emergency accesses are overdue.",
                standing.overdue,
            )
        )
    if standing.open:
        parts.append(counted("{count} emergency is open now.", "{count} emergencies are open now.", standing.open))
    parts.append(
        counted(
            "{count} emergency access waits for a review, the next due {next_due}.",
            "{count} emergency accesses wait for a review, the next due {next_due}.",
            standing.unreviewed,
            next_due=Moment(standing.next_due_ms),
        )
    )
    if standing.undelivered:
        parts.append(sentence("{undelivered} alerts reached nobody.", undelivered=standing.undelivered))
    return " ".join(in_words(one) for one in parts)


def sound(report: VerifyReport) -> dict[str, Any]:
    """A verified log, in words."""
    return {
        "bad": False,
        "say": sentence(
            "All {size} leaves were hashed again and give every root that was ever signed.", size=report.size
        ),
        "pairs": [
            (gettext("Leaves hashed"), report.size),
            (gettext("Root re-derived"), report.root.hex()),
            (gettext("Covered by a signed checkpoint"), report.signed_size),
            (gettext("Signed checkpoints that agree"), report.checkpoints),
            (gettext("Completeness maps built again"), report.map_heads),
            (gettext("Events they cover"), report.map_covered),
        ],
    }


def tampered(error: LogTampered) -> dict[str, Any]:
    """A log that is not what was signed, in words."""
    where = gettext("unknown") if error.first_bad_index is None else error.first_bad_index
    return {"bad": True, "say": f"{error}.", "pairs": [(gettext("First bad leaf"), where)]}


def alarm(error: LogTampered) -> dict[str, Any]:
    """What the home page says when the log cannot even be read without a contradiction."""
    light = _said("bad", gettext("No. The stored log contradicts what was signed. Open Verify now."))
    return {"health": light, "findings": [_said("bad", in_words(error.outside()[0]))]}


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
    return [
        _fact(False, sentence("{say}.", say=one.sentence)) | ({"kind": "bad"} if one.alarming else {})
        for one in failing
    ] + [
        _fact(
            False,
            sentence(
                "To the consortium: {sentence}. A quorum of hospitals can cancel it.", sentence=one.sentence(now_ms)
            ),
        )
        for one in proposed
    ]


def _fact(good: bool, say: str) -> dict[str, str]:
    return _said("good" if good else "warn", say)


def _said(kind: str, say: str) -> dict[str, str]:
    return {"kind": kind, "sign": _SIGNS[kind], "say": say}
