"""One emergency, and the register of all: what the break-glass events of the log say, folded together.

An emergency is one clinician's access to one twin against consent, for a bounded time. Its events, all of the action
``break-glass``, carry a ``phase`` and the emergency's name:

========  ==========================================================  ==============
phase     says                                                        logged by
========  ==========================================================  ==============
start     justification, until when                                   the clinician
stop      why it ended: ``time`` or ``by hand``                       node, clinician
declared  the commitment on the chain and the review's deadline       the node
told      whether the officers' alert was delivered                   the node
review    ``justified`` or ``unjustified``, and a note                an officer
closed    that the chain has the review, and whether it was late      the node
allow     a clinician's higher limit, until when (no emergency)       an officer
========  ==========================================================  ==============

Start, stop and review are the patient's own events and are erased with her twin; the others name nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from twinward.audit.models import Noted
from twinward.core.clock import iso
from twinward.core.vocabulary import TwinId

EVERYBODY: Final = "*"
"""The clinician of an allowance for all of them: many casualties at once."""

JUSTIFIED, UNJUSTIFIED = "justified", "unjustified"


@dataclass(frozen=True, slots=True)
class Emergency:
    """One emergency as far as the log tells it. Times are milliseconds since the epoch; None is not yet."""

    name: str
    agent: str
    unit: str
    twin: TwinId | None
    """None once the twin is shredded."""
    justification: str = field(repr=False)
    started_ms: int
    until_ms: int
    index: int | None
    """Of the start event; None while it waits in the journal."""
    leaf_hash: bytes = b""
    ended_ms: int | None = None
    ended: str = ""
    commitment: bytes = b""
    deadline_ms: int | None = None
    """The contract's; None until it is declared there."""
    told: str = ""
    """``yes`` or ``no``: whether the alert was delivered; empty while it was not tried to the end."""
    finding: str = ""
    reviewer: str = ""
    note: str = field(default="", repr=False)
    reviewed_ms: int | None = None
    review_leaf_hash: bytes = b""
    closed: bool = False
    late: bool = False

    def is_open(self, now_ms: int) -> bool:
        """Whether its time box still runs."""
        return self.ended_ms is None and now_ms < self.until_ms

    def due_ms(self, review_s: int) -> int:
        """By when it is to be reviewed: the contract's deadline, or as long from its start until it is declared."""
        return self.started_ms + review_s * 1000 if self.deadline_ms is None else self.deadline_ms

    def is_overdue(self, now_ms: int, review_s: int) -> bool:
        """Whether its review is missing though it was due."""
        return not self.finding and now_ms > self.due_ms(review_s)

    def state(self, now_ms: int, review_s: int) -> str:
        """``open``, ``waiting`` for its review, ``overdue``, or ``reviewed``."""
        if self.finding:
            return "reviewed"
        if self.is_overdue(now_ms, review_s):
            return "overdue"
        return "open" if self.is_open(now_ms) else "waiting"

    def as_json(self, now_ms: int, review_s: int) -> dict[str, Any]:
        """What faces show of it to officers."""
        return {
            "emergency": self.name,
            "state": self.state(now_ms, review_s),
            "agent": self.agent,
            "unit": self.unit,
            "twin": self.twin,
            "justification": self.justification,
            "started": iso(self.started_ms),
            "until": iso(self.until_ms),
            "ended": iso(self.ended_ms) if self.ended_ms is not None else None,
            "index": self.index,
            "due": iso(self.due_ms(review_s)),
            "declared": self.deadline_ms is not None,
            "commitment": self.commitment.hex(),
            "alerted": self.told or None,
            "finding": self.finding or None,
            "reviewer": self.reviewer or None,
            "note": self.note or None,
            "closed": self.closed,
            "late": self.late,
        }


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many patients a clinician may open in emergencies within the window, until a moment."""

    clinician: str
    patients: int
    until_ms: int


class Register:
    """All emergencies and allowances, folded from their events in the order of the log."""

    def __init__(self) -> None:
        self.emergencies: dict[str, Emergency] = {}
        self.allowances: list[Allowance] = []

    def copy(self) -> Register:
        """A register that may be folded on without changing this one."""
        other = Register()
        other.emergencies, other.allowances = dict(self.emergencies), list(self.allowances)
        return other

    def note(self, noted: Noted) -> None:
        """Take one event in; what is no phase of an emergency is passed over."""
        detail = dict(noted.event.detail)
        phase, name = detail.get("phase", ""), detail.get("emergency", "")
        if noted.event.decision != "permit":
            return
        if phase == "start":
            self._start(name, noted, detail)
        elif phase == "allow":
            patients, until_ms = int(detail.get("patients", "0")), moment_ms(detail.get("until", ""))
            self.allowances.append(Allowance(detail.get("clinician", ""), patients, until_ms))
        elif phase in _CHANGES:
            self.emergencies[name] = _CHANGES[phase](self.emergencies.get(name) or _erased(name, noted), noted, detail)

    def of(self, agent: str, twin: TwinId, now_ms: int) -> Emergency | None:
        """The emergency in which this clinician has this twin open now."""
        mine = (one for one in self.emergencies.values() if one.agent == agent and one.twin == twin)
        return next((one for one in mine if one.is_open(now_ms)), None)

    def patients_of(self, agent: str, since_ms: int) -> set[TwinId]:
        """The twins whose glass a clinician has broken since."""
        mine = (one for one in self.emergencies.values() if one.agent == agent and one.started_ms > since_ms)
        return {one.twin for one in mine if one.twin is not None}

    def limit_of(self, agent: str, usual: int, now_ms: int) -> int:
        """How many patients that may be."""
        running = [
            one.patients for one in self.allowances if one.clinician in (agent, EVERYBODY) and now_ms < one.until_ms
        ]
        return max([usual, *running])

    def _start(self, name: str, noted: Noted, detail: dict[str, str]) -> None:
        event, before = noted.event, self.emergencies.get(name)
        self.emergencies[name] = Emergency(
            name=name,
            agent=event.agent,
            unit=event.unit,
            twin=event.twin,
            justification=detail.get("justification", ""),
            started_ms=event.at_ms,
            until_ms=moment_ms(detail.get("until", "")),
            index=noted.index,
            leaf_hash=noted.leaf_hash,
            # one that began in the journal may have been ended before its start came into the log
            ended_ms=before.ended_ms if before else None,
            ended=before.ended if before else "",
        )


def moment_ms(text: str) -> int:
    """A moment as events carry it (``clock.iso``), in milliseconds; 0 for what is none."""
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return 0


def _erased(name: str, noted: Noted) -> Emergency:
    """An emergency whose start was erased with its twin: what is left is its name, and that it was declared."""
    at_ms = noted.event.at_ms
    return Emergency(name, "", "", None, "", at_ms, at_ms, noted.index, ended_ms=at_ms, ended="erased")


def _stopped(one: Emergency, noted: Noted, detail: dict[str, str]) -> Emergency:
    # its time had passed when it was up, whenever the node came to write that down
    ended_ms = min(noted.event.at_ms, one.until_ms) if detail.get("ended") == "time" else noted.event.at_ms
    return replace(one, ended_ms=ended_ms, ended=detail.get("ended", ""))


def _declared(one: Emergency, _: Noted, detail: dict[str, str]) -> Emergency:
    commitment = bytes.fromhex(detail.get("commitment", ""))
    return replace(one, commitment=commitment, deadline_ms=moment_ms(detail.get("deadline", "")))


def _told(one: Emergency, _: Noted, detail: dict[str, str]) -> Emergency:
    return replace(one, told=detail.get("delivered", ""))


def _reviewed(one: Emergency, noted: Noted, detail: dict[str, str]) -> Emergency:
    return replace(
        one,
        finding=detail.get("finding", ""),
        note=detail.get("note", ""),
        reviewer=noted.event.agent,
        reviewed_ms=noted.event.at_ms,
        review_leaf_hash=noted.leaf_hash,
    )


def _closed(one: Emergency, _: Noted, detail: dict[str, str]) -> Emergency:
    finding = one.finding or detail.get("finding", "")
    return replace(one, closed=True, late=detail.get("late") == "yes", finding=finding)


_CHANGES = {"stop": _stopped, "declared": _declared, "told": _told, "review": _reviewed, "closed": _closed}
