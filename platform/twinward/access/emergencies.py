"""Emergencies: how many, how long, who ends and who reviews them. The log is the only place where they are kept.

Invariants:

* An emergency begins with an event that is durable together with the first access it permits, and ends with one.
* A clinician opens so many different patients within the window and no more, over all processes and restarts: what
  counts is what the log and its journal say, read under a lock that the processes of a home share.
* No chain, officer or receiver of alerts that is down stands in an emergency's way: declaring, alerting and reviewing
  come after, and what is missing of them is seen in the register (``emergency_follow_up`` does it).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from twinward.access import justification
from twinward.access.emergency import JUSTIFIED, UNJUSTIFIED, Emergency, Register
from twinward.access.errors import AccessDenied, EmergencyOver, TooManyEmergencies
from twinward.access.interfaces import NODE, AccessRequest, Decision, Permit, Principal
from twinward.access.permits import PermitAuthority
from twinward.audit.interfaces import AuditTrail, BreakGlassTrail
from twinward.audit.models import AccessEvent
from twinward.core.clock import Clock, iso
from twinward.core.errors import BadInput, Conflict, NotFound, Refused, Unavailable
from twinward.core.turns import process_lock
from twinward.core.vocabulary import Action, Purpose, TwinId

CHANGE: Final = ("event", "change")
"""Marks an access that nobody asks for anew: it follows a twin within an emergency and never begins one."""

MOST_PATIENTS: Final = 1000
MOST_ALLOWED_S: Final = 24 * 3600
_Key = tuple[str, TwinId | None]


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of emergencies.

    Attributes:
        patients: how many different ones a clinician may open within ``window_s``.
        window_s: that time.
        box_s: how long one emergency lasts.
        review_s: by when it is to be reviewed; the contract's own time where there is one.
    """

    patients: int = 5
    window_s: int = 3600
    box_s: int = 3600
    review_s: int = 72 * 3600


@dataclass(frozen=True, slots=True)
class EmergencyCounts:
    """Emergencies at a glance; names nobody.

    Attributes:
        open: time boxes that run now.
        unreviewed: those that wait for their review, open or ended.
        overdue: those of them whose review was due.
        undeclared: those that the contract does not know yet, or whose review it does not.
        undelivered: those whose alert reached nobody, not reviewed yet.
        next_due_ms: by when the next review is due; 0 for none.
    """

    open: int = 0
    unreviewed: int = 0
    overdue: int = 0
    undeclared: int = 0
    undelivered: int = 0
    next_due_ms: int = 0


@dataclass(slots=True)
class Entered:
    """What requests in emergencies come to: events that go first, and for each request its emergency or refusal."""

    events: list[AccessEvent] = field(default_factory=list)
    names: dict[_Key, str] = field(default_factory=dict)
    refusals: dict[_Key, tuple[type[AccessDenied], str]] = field(default_factory=dict)

    def refusal_of(self, request: AccessRequest) -> type[AccessDenied]:
        """What a refused request raises."""
        return self.refusals.get(_key(request), (AccessDenied, ""))[0] if request.breaks_glass else AccessDenied

    def applied(self, request: AccessRequest, decision: Decision) -> tuple[AccessRequest, Decision]:
        """The request with its emergency's name for the log, and the decision with what emergencies say to it."""
        key = _key(request)
        if not decision.permitted or not request.breaks_glass:
            return request, decision
        if key in self.refusals:
            return request, replace(decision, permitted=False, reason=self.refusals[key][1])
        if key in self.names:
            return replace(request, detail=(*request.detail, ("emergency", self.names[key]))), decision
        return request, decision


class Emergencies:
    """The emergencies of one node, in whichever process.

    Args:
        log: where they are read.
        trail: where they are written.
        guard: checks the permits of officers.
        clock: the node's time.
        limits: the bounds.
        lock: a file that the processes of the home share.
    """

    def __init__(
        self,
        log: BreakGlassTrail,
        trail: AuditTrail,
        guard: PermitAuthority,
        clock: Clock,
        limits: Limits,
        lock: Path,
    ) -> None:
        self.limits = limits
        self.log = log
        self._trail = trail
        self._guard = guard
        self._clock = clock
        self._lock = lock
        self._mutex = threading.RLock()
        self._register = Register()
        self._next = 0
        self.on_begin: Callable[[], None] = lambda: None
        """Called when one has begun: whoever declares and alerts need not wait for its next turn."""

    @contextmanager
    def entering(self, asked: Sequence[tuple[AccessRequest, Decision]]) -> Iterator[Entered]:
        """Requests of permitted emergencies: find or begin each one's, or refuse it. Write the events before leaving.

        What comes out is only true while this is not left: nobody else begins an emergency meanwhile.
        """
        with self.locked():
            entered, register, now_ms = Entered(), self.register(), self._clock.now_ms()
            for request, decision in asked:
                if _key(request) not in entered.names and _key(request) not in entered.refusals:
                    self._enter(entered, register, request, decision, now_ms)
            yield entered
        if entered.events:
            self.on_begin()

    def own(self, principal: Principal, name: str) -> Emergency | None:
        """A clinician's own emergency."""
        with self._mutex:
            found = self.register().emergencies.get(name)
        return found if found is not None and found.agent == principal.id else None

    def stop(self, principal: Principal, name: str) -> None:
        """End one's own emergency before its time. Raises ``NotFound``, or ``Conflict`` where it has ended."""
        with self.locked():
            found = self.own(principal, name)
            if found is None:
                raise NotFound("there is no such emergency of yours")
            if not found.is_open(self._clock.now_ms()):
                raise Conflict("this emergency has ended", hint="nothing is open by it any more")
            self._trail.record([self.event(principal, "stop", found, ended="by hand")])

    def end_due(self) -> int:
        """Log the end of every emergency whose time has passed, each once. Returns how many. Raises ``Unavailable``."""
        with self.locked():
            now_ms = self._clock.now_ms()
            due = [one for one in self.register().emergencies.values() if one.ended_ms is None]
            due = [one for one in due if not one.is_open(now_ms) and one.index is not None]
            if due:
                self._trail.record([self.event(NODE, "stop", one, ended="time") for one in due])
            return len(due)

    def review(self, permit: Permit, name: str, *, justified: bool, note: str) -> Emergency:
        """Record what an officer found. Wants a permit to audit that names no twin.

        Raises:
            NotFound: there is no such emergency.
            Refused: it is the officer's own, broken into with another role than the one they review with.
            Conflict: it was reviewed before.
            BadInput: the note says nothing.
        """
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        said = justification.bounded(note)
        if justification.fault(said):
            raise BadInput("a review says in a sentence what was found", hint="give a note of a few words")
        with self.locked():
            found = self.register().emergencies.get(name)
            if found is None or found.index is None:
                raise NotFound("there is no such emergency in the log", hint="`twinward access emergencies` names them")
            if found.agent == permit.request.principal.id:
                raise Refused("nobody reviews an emergency of their own", hint="ask another officer")
            if found.finding:
                raise Conflict("this emergency is reviewed already", hint="a review is final; its note is in the log")
            finding = JUSTIFIED if justified else UNJUSTIFIED
            self._trail.record([self.event(permit.request.principal, "review", found, finding=finding, note=said)])
        self.on_begin()  # the contract is told now, not at the next turn
        return self.register().emergencies[name]

    def allow(self, permit: Permit, clinician: str, *, patients: int, for_s: int) -> int:
        """Raise a clinician's limit for a time. Wants a permit to audit that names no twin. Returns until when (ms).

        Raises:
            Refused: the limit would be the officer's own, or, with a role that is lent, everybody's.
            BadInput: more patients or longer than anybody may be allowed.
        """
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        who = permit.request.principal
        is_lent = who.standing is not None and who.standing.delegation > 0
        if clinician == who.id or (clinician == "*" and is_lent):
            raise Refused("nobody raises a limit of their own", hint="ask another officer")
        if not 1 <= patients <= MOST_PATIENTS or not 60 <= for_s <= MOST_ALLOWED_S:
            said = f"an allowance is for 1 to {MOST_PATIENTS} patients and for a minute to 24 hours"
            raise BadInput(said, hint="give fewer patients or a shorter time, and allow again when it is over")
        until_ms = self._clock.now_ms() + for_s * 1000
        detail = {"clinician": clinician, "patients": str(patients), "until": iso(until_ms)}
        self._trail.record([self.event(permit.request.principal, "allow", None, **detail)])
        return until_ms

    def all(self, permit: Permit) -> list[Emergency]:
        """Every emergency, newest first. Wants a permit to audit that names no twin."""
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)
        return sorted(self.register().emergencies.values(), key=lambda one: (one.started_ms, one.name), reverse=True)

    def counts(self) -> EmergencyCounts:
        """How many are open, wait for their review, are overdue."""
        now_ms, review_s = self._clock.now_ms(), self.limits.review_s
        every = list(self.register().emergencies.values())
        waiting = [one for one in every if not one.finding]
        return EmergencyCounts(
            open=sum(one.is_open(now_ms) for one in every),
            unreviewed=len(waiting),
            overdue=sum(one.is_overdue(now_ms, review_s) for one in waiting),
            undeclared=sum(one.deadline_ms is None or (bool(one.finding) and not one.closed) for one in every),
            undelivered=sum(one.told == "no" for one in waiting),
            next_due_ms=min((one.due_ms(review_s) for one in waiting), default=0),
        )

    def register(self) -> Register:
        """What the log and its journal say now; as of last time where the log does not answer. Not to be changed."""
        with self._mutex:
            with suppress(Unavailable):
                size = self.log.size()
                if size < self._next:  # another log than before: a backup was restored
                    self._register, self._next = Register(), 0
                if size > self._next:
                    for noted in self.log.between(self._next, size):
                        self._register.note(noted)
                    self._next = size
            waiting = self.log.waiting()
            if not waiting:
                return self._register
            register = self._register.copy()
            for noted in waiting:
                if dict(noted.event.detail).get("emergency") not in register.emergencies:
                    register.note(noted)
            return register

    def event(self, who: Principal, phase: str, about: Emergency | None, **detail: str) -> AccessEvent:
        """An event of one phase. Start, stop and review are the patient's; the others name nobody."""
        of_patient = about is not None and phase in ("stop", "review")
        names = (("emergency", about.name),) if about is not None else ()
        return AccessEvent(
            at_ms=self._clock.now_ms(),
            agent=who.id,
            role=who.role,
            unit=who.unit,
            action=Action.BREAK_GLASS,
            purpose=Purpose.EMERGENCY if of_patient and phase == "stop" else Purpose.COMPLIANCE,
            twin=about.twin if about is not None and of_patient else None,
            categories=(),
            decision="permit",
            reason=REASONS[phase],
            policy_hash="",
            consent_version=0,
            detail=(("phase", phase), *names, *detail.items()),
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else begins or ends an emergency meanwhile, in this process or another."""
        # where no lock can be had (a full disk, a folder that cannot be written) care goes on without it
        with self._mutex, process_lock(self._lock, wait=True):
            yield

    def _enter(
        self, entered: Entered, register: Register, request: AccessRequest, decision: Decision, now_ms: int
    ) -> None:
        key, agent, limits = _key(request), request.principal.id, self.limits
        assert request.twin is not None  # noqa: S101 - narrows the type: ``AccessRequest.breaks_glass`` says so
        running = register.of(agent, request.twin, now_ms)
        if running is not None:
            entered.names[key] = running.name
            return
        if CHANGE in request.detail:
            entered.refusals[key] = EmergencyOver, "the emergency in which this twin was followed has ended"
            return
        begun = {twin for who, twin in entered.names if who == agent}
        opened = register.patients_of(agent, now_ms - limits.window_s * 1000) | begun
        limit = register.limit_of(agent, limits.patients, now_ms)
        if request.twin not in opened and len(opened) >= limit:
            entered.refusals[key] = (
                TooManyEmergencies,
                f"{limit} patients were opened in emergencies within {limits.window_s // 60} minutes, the most that "
                "one clinician may",
            )
            return
        entered.names[key] = name = secrets.token_hex(8)
        entered.events.append(_start(request, decision, name, now_ms, now_ms + limits.box_s * 1000))


REASONS: Final = {
    "stop": "an emergency access has ended",
    "declared": "the emergency is declared to the contract, which holds a commitment and a deadline only",
    "told": "the officers were to be alerted",
    "review": "an officer reviewed an emergency access",
    "closed": "the contract has the review",
    "allow": "an officer raised the number of patients that may be opened in emergencies",
}


def _start(request: AccessRequest, decision: Decision, name: str, now_ms: int, until_ms: int) -> AccessEvent:
    principal = request.principal
    return AccessEvent(
        at_ms=now_ms,
        agent=principal.id,
        role=principal.role,
        unit=principal.units_said,
        action=Action.BREAK_GLASS,
        purpose=request.purpose,
        twin=request.twin,
        categories=tuple(sorted(request.categories)),
        decision="permit",
        reason=decision.reason,
        policy_hash=decision.policy_hash,
        consent_version=decision.consent_version,
        detail=(
            ("phase", "start"),
            ("emergency", name),
            ("until", iso(until_ms)),
            ("justification", request.justification),
            *principal.place,
        ),
    )


def _key(request: AccessRequest) -> _Key:
    return request.principal.id, request.twin
