"""Cases of breaches: opened, assessed, drafted, notified, closed; the log is the only place where they are kept.

Invariants:

* Each step is one event, durable before anybody is told that it was taken. What a process knows of a case it has read
  off the log, so all processes know the same, and a killed one has lost nothing.
* Steps are taken in turn, over all processes: what a step stands on still stands when it is logged.
* Nothing is taken back: a wrong step is followed by a note, another draft, another assessment.
* Who is affected is read from the log, within a size of it that the assessment names: it can be counted again.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from twinward.access import justification
from twinward.access.interfaces import Permit, PermitVerifier
from twinward.audit.interfaces import AuditTrail
from twinward.audit.models import AccessEvent, AuditRow, Filters, Noted
from twinward.audit.reader import AuditReader
from twinward.breach.affected import Affected, affected
from twinward.breach.drafts import first_draft, places
from twinward.breach.entry import Known, body, require_sound, written
from twinward.breach.errors import BreachConflict, BreachInvalid, NoSuchBreach
from twinward.breach.models import DRAFTED, Audience, BreachCase, Outcome, Scope, ScopeKind
from twinward.breach.register import BreachRegister, scope_detail
from twinward.core.beside import Told
from twinward.core.clock import Clock
from twinward.core.sentences import sentence
from twinward.core.turns import Turn
from twinward.core.vocabulary import Action, Purpose, TwinId

_KEPT: Final = 8
"""Assessments in memory; each is what the log says and can be read again."""

REASONS: Final = {
    "opened": "an officer opened the case of a breach",
    "concerns": "an officer opened the case of a breach of this record",
    "counting": "an officer asked who is affected by a breach",
    "assessed": "an officer counted who is affected by a breach",
    "drafted": "an officer drafted a notification of a breach",
    "noted": "an officer noted something on a breach",
    "notified": "an officer noted that somebody was notified of a breach",
    "closed": "an officer closed the case of a breach",
}


class BreachLog(Protocol):
    """Where the steps are read back."""

    def size(self) -> int:
        """How many entries the log has. Raises ``Unavailable``."""
        ...

    def between(self, start: int, stop: int) -> list[Noted]:
        """Those of ``start <= index < stop``, oldest first. Raises ``Unavailable``, ``LogTampered``."""
        ...


@dataclass(frozen=True, slots=True)
class BreachCounts:
    """Cases at a glance; ``next_due_ms`` is 0 where no clock runs."""

    open: int = 0
    overdue: int = 0
    next_due_ms: int = 0


class Breaches:
    """The cases of one node, in whichever process. Every method but ``counts`` wants an officer's permit to audit.

    Args:
        log: where they are read.
        trail: where they are written.
        guard: checks permits.
        reader: reads accesses.
        known: what cases are held against.
        clock: the node's time.
        turn: the processes of the home take it one after another.
        hospital: its name, in drafts.
    """

    def __init__(
        self,
        log: BreachLog,
        trail: AuditTrail,
        guard: PermitVerifier,
        reader: AuditReader[Permit],
        known: Known,
        clock: Clock,
        turn: Turn,
        hospital: str,
    ) -> None:
        self._log, self._trail, self._guard, self._reader = log, trail, guard, reader
        self._known, self._clock, self._turn, self._hospital = known, clock, turn, hospital
        self._mutex = threading.RLock()
        self._register = BreachRegister()
        self._next = 0
        self._counted: OrderedDict[tuple[str, int, int], Affected] = OrderedDict()

    # Looking

    def all(self, permit: Permit) -> list[BreachCase]:
        """Every case, newest first."""
        self._require(permit)
        return sorted(self._cases().values(), key=lambda one: one.index, reverse=True)

    def case(self, permit: Permit, name: str) -> BreachCase:
        """One of them. Raises ``NoSuchBreach``."""
        self._require(permit)
        return self._case(name)

    def counts(self) -> BreachCounts:
        """How many are open; names nobody. Raises ``Unavailable``."""
        now_ms = self._clock.now_ms()
        cases = [one for one in self._cases().values() if one.closed_ms is None]
        running = [one for one in cases if not one.notice(Audience.AUTHORITY)]
        overdue = sum(one.state(now_ms) == "overdue" for one in running)
        return BreachCounts(len(cases), overdue, min((one.due_ms for one in running), default=0))

    def asked(self) -> list[BreachCase]:
        """Open cases whose count was asked for and is not there yet. For the node itself. Raises ``Unavailable``."""
        return [one for one in self._cases().values() if one.asked is not None and one.closed_ms is None]

    def held(self, permit: Permit, case: BreachCase) -> Affected | None:
        """Who is affected, as of the case's assessment, where this process has counted it; else None."""
        self._require(permit)
        if case.assessment is None:
            return None
        with self._mutex:
            return self._counted.get(self._key(case, case.assessment.size))

    def affected(self, permit: Permit, case: BreachCase, told: Told = lambda _done, _of: None) -> Affected:
        """Who is affected, as of the case's assessment; nobody counted yet is ``BreachConflict``.

        ``told`` hears how many entries of the log are looked through, newest first, and of how many.
        """
        self._require(permit)
        if case.assessment is None:
            raise BreachConflict("nobody has counted who is affected yet", hint="assess the case first")
        return self._affected(permit, case, case.assessment.size, told)

    # Steps

    def open(self, permit: Permit, scope: Scope, title: str, aware_ms: int | None = None) -> BreachCase:
        """Open a case; its clocks run from when the hospital became aware, which is now where it is not said.

        Raises:
            BreachInvalid: the scope names nothing that there is, or no time that can be meant.
        """
        self._require(permit)
        now_ms = self._clock.now_ms()
        aware_ms = now_ms if aware_ms is None else aware_ms
        if not now_ms - 366 * 86_400_000 <= aware_ms <= now_ms:
            raise BreachInvalid("the hospital became aware within the last year, and not in the future")
        require_sound(scope, self._known, now_ms)
        name = secrets.token_hex(8)
        detail = scope_detail(scope) | {"title": written(title, sentence("a title")), "aware": str(aware_ms)}
        events = [self._event(permit, "opened", name, detail)]
        if scope.kind is ScopeKind.PATIENT:
            events.append(self._event(permit, "concerns", name, {}, scope.twin))
        with self._turn:
            self._trail.record(events)
        return self._case(name)

    def ask(self, permit: Permit, name: str) -> BreachCase:
        """Log that the log as it is now is to be counted; see ``breach.counting``."""
        size = self._log.size()
        return self._step(permit, name, "counting", lambda _: {"size": str(size)})

    def assess(
        self, permit: Permit, name: str, told: Told = lambda _done, _of: None, *, size: int | None = None
    ) -> Affected:
        """Count who is affected in the log's first ``size`` entries, or as it is now, and log what came out."""
        self._require(permit)
        case = self._open_case(name)
        size = self._log.size() if size is None else size
        found = self._affected(permit, case, size, told)
        detail = {
            "size": str(size),
            "subjects": str(len(found.subjects)),
            "accesses": str(found.accesses),
            "categories": " ".join(category for category, _ in found.categories),
        }
        self._step(permit, name, "assessed", lambda _: detail)
        return found

    def draft(self, permit: Permit, name: str, audience: Audience, text: str | None = None) -> BreachCase:
        """Keep a new version of a notification; None keeps the first draft, with what is known filled in.

        Raises:
            BreachInvalid: it is empty or longer than an event holds.
            BreachConflict: it says what the newest version says.
        """
        if audience not in DRAFTED:
            raise BreachInvalid("there are drafts for the authority and for the patients")
        given = None if text is None else body(text)

        def detail(case: BreachCase) -> dict[str, str]:
            said = first_draft(case, audience, self._hospital) if given is None else given
            before = case.drafts_for(audience)
            if before and before[-1].text == said:
                raise BreachConflict("this is the newest version already: nothing was changed")
            return {"audience": audience.value, "text": said}

        return self._step(permit, name, "drafted", detail)

    def note(self, permit: Permit, name: str, note: str) -> BreachCase:
        """Put a sentence into the timeline."""
        said = written(note, sentence("a note"))
        return self._step(permit, name, "noted", lambda _: {"note": said})

    def notify(
        self,
        permit: Permit,
        name: str,
        audience: Audience,
        reference: str,
        *,
        at_ms: int | None = None,
        late: str = "",
    ) -> BreachCase:
        """Note that somebody was notified: nothing is sent from here.

        Args:
            permit: an officer's.
            name: the case's.
            audience: who was notified.
            reference: how, and under which number or receipt.
            at_ms: when; None is now.
            late: why it was late; the law wants it said where the authority was told after 72 hours.

        Raises:
            BreachConflict: there is no draft, it has places to fill in, or nothing says why it was late.
        """
        now_ms = self._clock.now_ms()
        when_ms = now_ms if at_ms is None else at_ms
        said, because = written(reference, sentence("a reference")), justification.bounded(late)

        def detail(case: BreachCase) -> dict[str, str]:
            if not case.aware_ms <= when_ms <= now_ms:
                raise BreachInvalid("nobody was notified before the hospital became aware, or in the future")
            if audience is Audience.AUTHORITY and when_ms > case.due_ms and justification.fault(because):
                hint = "say why it was late: GDPR, article 33(1), wants the reasons"
                raise BreachConflict("the authority was told later than 72 hours after", hint=hint)
            drafts = case.drafts_for(Audience.PATIENTS if audience is Audience.MEDIA else audience)
            if not drafts:
                raise BreachConflict(
                    sentence("there is no draft for the {audience}", audience=sentence(audience.value)),
                    hint="draft it first",
                )
            if left := places(drafts[-1].text):
                hint = sentence("fill in {place}", place=left[0])
                raise BreachConflict(
                    sentence("the newest draft has {count} places to fill in", count=len(left)), hint=hint
                )
            found = {"audience": audience.value, "at": str(when_ms), "reference": said}
            return found | {"version": str(drafts[-1].version)} | ({"late": because} if because else {})

        return self._step(permit, name, "notified", detail)

    def close(self, permit: Permit, name: str, outcome: Outcome, reason: str) -> BreachCase:
        """Close a case for good.

        Raises:
            BreachConflict: it is to be closed as notified, and the authority was not.
        """
        said = written(reason, sentence("a reason"))

        def detail(case: BreachCase) -> dict[str, str]:
            if outcome is Outcome.NOTIFIED and case.notice(Audience.AUTHORITY) is None:
                raise BreachConflict("the authority was not notified", hint="note the notification, then close")
            if case.assessment is None and outcome is not Outcome.NO_BREACH:
                raise BreachConflict("nobody has counted who is affected yet", hint="assess the case first")
            return {"outcome": outcome.value, "reason": said}

        return self._step(permit, name, "closed", detail)

    # Inside

    def _step(self, permit: Permit, name: str, step: str, detail: Callable[[BreachCase], dict[str, str]]) -> BreachCase:
        """Take a step on a case as it is when nobody else takes one."""
        self._require(permit)
        with self._turn:
            self._trail.record([self._event(permit, step, name, detail(self._open_case(name)))])
        return self._case(name)

    def _require(self, permit: Permit) -> None:
        self._guard.require(permit, action=Action.AUDIT, twin=None, category=None)

    def _case(self, name: str) -> BreachCase:
        found = self._cases().get(name)
        if found is None:
            raise NoSuchBreach("there is no case of a breach of this name", hint="`twinward breach list` names them")
        return found

    def _open_case(self, name: str) -> BreachCase:
        found = self._case(name)
        if found.closed_ms is not None:
            raise BreachConflict("this case is closed", hint="open another one; the closed one stands in the log")
        return found

    def _cases(self) -> dict[str, BreachCase]:
        with self._mutex:
            size = self._log.size()
            if size < self._next:  # another log than before: a backup was restored
                self._register, self._next = BreachRegister(), 0
            if size > self._next:
                for noted in self._log.between(self._next, size):
                    self._register.note(noted)
                self._next = size
            return dict(self._register.cases)

    def _key(self, case: BreachCase, size: int) -> tuple[str, int, int]:
        return case.name, size, self._known.newest_erasure()

    def _affected(self, permit: Permit, case: BreachCase, size: int, told: Told) -> Affected:
        key = self._key(case, size)
        with self._mutex:
            known = self._counted.get(key)
        if known is not None:
            return known
        scope = case.scope
        held = self._known.twins_from(scope.kek) if scope.kind is ScopeKind.KEY else []
        found = affected(_passed(self._rows(permit, scope, size), size, told), size, held)
        with self._mutex:
            self._counted[key] = found
            while len(self._counted) > _KEPT:
                self._counted.popitem(last=False)
        return found

    def _rows(self, permit: Permit, scope: Scope, size: int) -> Iterator[AuditRow]:
        if scope.kind is ScopeKind.KEY or (scope.kind is ScopeKind.PATIENT and scope.twin is None):
            return iter(())  # whoever used a stolen key did it elsewhere; a shredded patient's accesses are not known
        filters = Filters(twin=scope.twin, agent=scope.account or None)
        return self._reader.select(permit, filters, stop=size, from_ms=scope.from_ms, until_ms=scope.until_ms)

    def _event(
        self, permit: Permit, step: str, name: str, detail: dict[str, str], twin: TwinId | None = None
    ) -> AccessEvent:
        who, decided = permit.request.principal, permit.request
        typed = tuple(pair for pair in decided.detail if pair[0] in ("via", "os_user"))
        return AccessEvent(
            at_ms=self._clock.now_ms(),
            agent=who.id,
            role=who.role,
            unit=who.unit,
            action=Action.BREACH,
            purpose=Purpose.COMPLIANCE,
            twin=twin,
            categories=(),
            decision="permit",
            reason=REASONS[step],
            policy_hash="",
            consent_version=0,
            detail=(("step", step), ("breach", name), *detail.items(), *typed),
        )


def _passed(rows: Iterator[AuditRow], size: int, told: Told) -> Iterator[AuditRow]:
    """The rows, which come newest first; ``told`` hears how much of the log lies behind each."""
    for row in rows:
        yield row
        told(size - row.index, size)
