"""Access is decided here: policy and consent say yes or no, the event is durable, and only then is there a permit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from twinward.access import justification
from twinward.access.consent import ALL_DENIED, NO_CONSENT, Consent, ConsentOutcome, ConsentStore, Provision
from twinward.access.consent_entry import ActorRole, require_in_force
from twinward.access.errors import AccessDenied
from twinward.access.hours import NO_HOUR, Hours
from twinward.access.interfaces import (
    NOT_LENT,
    AccessContext,
    AccessControl,
    AccessRequest,
    Decision,
    Permit,
    Principal,
)
from twinward.access.lent_roles import Lent
from twinward.access.permits import PermitAuthority
from twinward.access.policy import Facts, Policy, PolicySource, is_own
from twinward.access.policy_scenes import lacking
from twinward.audit.errors import EventNotLoggable
from twinward.audit.interfaces import AuditTrail, EmergencyTrail
from twinward.audit.models import AccessEvent, LoggedEvent
from twinward.core.clock import Clock
from twinward.core.errors import TwinwardError, outcome_of
from twinward.core.one_look import look_anew, one_look
from twinward.core.vocabulary import Action, Purpose, TwinId

if TYPE_CHECKING:
    from twinward.access.emergencies import Emergencies


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one request comes to: the permit, or what its refusal is raised as; and where the log says so."""

    permit: Permit | None
    decision: Decision
    log_index: int
    refusal: type[AccessDenied]


class Access(AccessControl):
    """Decides by policy and consent.

    Args:
        policy: the rules, or what says which are in force.
        consents: what patients allow.
        trail: where events go; if it cannot be written, nothing is permitted.
        authority: makes the permits the vault will verify.
        clock: the node's time.
        emergency: where a permitted emergency goes instead; it may take it while the log cannot be written.
        role_of: looks up the accounts that consents name; None takes any name.
        require_standing: raises ``SignInEnded`` where what a principal signed in by is good no longer.
        consents_set: told whose consents were set, before whoever set them is told that it is done.
        lent: whoever asks, with each role that is lent to them now; None where none is.
        hours: the hospital's clock, for rules that ask for the hour.
        emergencies: bounds them, and begins each with an event of its own; asked for when glass is first broken. None
            lets them pass as any access.
    """

    def __init__(
        self,
        policy: PolicySource,
        consents: ConsentStore,
        trail: AuditTrail,
        authority: PermitAuthority,
        clock: Clock,
        emergency: EmergencyTrail | None = None,
        role_of: ActorRole | None = None,
        *,
        require_standing: Callable[[Principal], None] | None = None,
        consents_set: Callable[[Sequence[TwinId]], None] = lambda _: None,
        emergencies: Callable[[], Emergencies] | None = None,
        lent: Callable[[Principal], Sequence[Lent]] | None = None,
        hours: Hours | None = None,
    ) -> None:
        self.policy = policy
        self._consents = consents
        self._trail = trail
        self._emergency = emergency
        self._consents_set = consents_set
        self._emergencies = emergencies
        self._authority = authority
        self._clock = clock
        self._role_of = role_of
        self._lent = lent
        self._hours = hours or Hours()
        self._require_standing = require_standing
        authority.answer_to(self)

    def check(self, request: AccessRequest) -> Decision:
        """A dry run that explains itself. Nothing is logged, nothing may be opened with it.

        Raises ``SignInEnded`` for a principal whose account, session or token is good no longer.
        """
        return self._resolved(request)[1]

    def _resolved(self, request: AccessRequest) -> tuple[AccessRequest, Decision]:
        """The request as it is decided, and how: with one's own role, or else with one that is lent to whoever asks."""
        decision = self._checked(request)
        if decision.permitted or self._lent is None or request.action in NOT_LENT:
            return request, decision
        for one in self._lent(request.principal):
            lent = one.record
            detail = (*request.detail, ("delegated_by", lent.by), ("delegation", str(lent.number)))
            acting = replace(request, principal=one.principal, detail=detail)
            found = self._checked(acting)
            if found.permitted and all(self._checked(replace(acting, principal=who)).permitted for who in one.bounds):
                reason = f"{found.reason}, with the role that {lent.by} lent"
                until_ms = min(found.until_ms or lent.until_ms, lent.until_ms)
                return acting, replace(found, reason=reason, until_ms=until_ms)
        return request, decision

    def check_at(self, request: AccessRequest, at_ms: int) -> Decision:
        """A dry run as of another moment, by the policy and consent of now. Of lent roles nothing is known then."""
        return self._checked(request, at_ms)

    def _checked(self, request: AccessRequest, at_ms: int | None = None) -> Decision:
        if self._require_standing is not None and request.principal.standing is not None:  # the node did not sign in
            self._require_standing(request.principal)
        consent = self._consent_of(request)
        now_ms = self._clock.now_ms() if at_ms is None else at_ms
        outcome = consent.outcome(request, now_ms)
        policy = self._policy_for(request)
        asks_hour = policy.asks_hour(request.action)
        facts = Facts.of(request, outcome, self._hours.at(now_ms) if asks_hour else NO_HOUR)
        verdict = policy.evaluate(facts)
        reason = verdict.reason
        unjustified = request.purpose is Purpose.EMERGENCY and not (verdict.permitted or facts.justified)
        if unjustified and policy.evaluate(replace(facts, justified=True)).permitted:
            reason = justification.fault(request.justification)  # nothing else stands in the way
        elif not verdict.permitted and not verdict.rules:
            reason = lacking(policy, facts)
        hour_ends_ms = self._hours.until_ms(now_ms) if asks_hour else None
        changes_ms = consent.next_change(now_ms)
        return Decision(verdict.permitted, reason, consent.version, policy.hash, changes_ms, hour_ends_ms)

    def barred_by_consent_alone(self, request: AccessRequest) -> bool:
        """Whether policy would permit what the patient's consent withholds. A dry run, as ``check``."""
        of_nobody = Facts.of(request, ConsentOutcome.NONE, self._hours.at(self._clock.now_ms()))
        return not self.check(request).permitted and self._policy_for(request).evaluate(of_nobody).permitted

    def decide(self, request: AccessRequest) -> Permit:
        """Decide, log durably, then give the permit.

        Raises:
            AccessDenied: policy or consent says no; the refusal is in the log too.
            Unavailable: the log could not be written, so nothing is permitted.
        """
        (answer,) = self._answered([request])
        return self._given(request, answer)

    def _given(self, request: AccessRequest, answer: _Answer) -> Permit:
        """The permit, or what is raised instead of one."""
        if answer.permit is None:
            raise answer.refusal(self._told(request, answer.decision), log_index=answer.log_index)
        return answer.permit

    def _told(self, request: AccessRequest, decision: Decision) -> str:
        """Why it was refused, as far as the one who asked may know; the event says all of it.

        Whoever may do this to nobody's records is told the same of each of them, and of what is not kept: otherwise the
        reason tells who is a patient here, what a record is about, and who consented to what.
        """
        if request.twin is None or is_own(request):
            return decision.reason
        of_anybody = self.check(replace(request, twin=None, categories=frozenset()))
        return decision.reason if of_anybody.permitted else of_anybody.reason

    def decide_many(self, requests: Sequence[AccessRequest]) -> list[Permit | None]:
        """Decide many in one durable append; None stands where a request was denied (and logged as such)."""
        return [answer.permit for answer in self._answered(requests)] if requests else []

    def decide_each(self, requests: Sequence[AccessRequest]) -> list[Permit | TwinwardError]:
        """Decide each by itself, in one durable append; each comes to what ``decide`` gives or raises.

        Emergencies go by themselves: they have bounds, and a journal where the log cannot be written.
        """
        urgent = [place for place, request in enumerate(requests) if request.is_urgent]
        outcomes: dict[int, Permit | TwinwardError] = {
            place: outcome_of(partial(self.decide, requests[place])) for place in urgent
        }
        decided: dict[int, tuple[AccessRequest, Decision]] = {}
        with one_look():
            self._fetch_consents(requests)
            for place, request in enumerate(requests):
                resolved = None if place in outcomes else outcome_of(partial(self._resolved, request))
                if isinstance(resolved, TwinwardError):
                    outcomes[place] = resolved
                elif resolved is not None:
                    decided[place] = resolved
        try:
            logged = self._logged([], list(decided.values())) if decided else []
        except EventNotLoggable:  # one of them; nothing was written
            alone = {place: outcome_of(partial(self.decide, requests[place])) for place in decided}
            return [(outcomes | alone)[place] for place in range(len(requests))]
        except TwinwardError as error:
            return [outcomes.get(place, error) for place in range(len(requests))]
        for (place, one), entry in zip(decided.items(), logged, strict=True):
            outcomes[place] = outcome_of(partial(self._given, requests[place], self._answer(*one, entry)))
        return [outcomes[place] for place in range(len(requests))]

    def _answered(self, requests: Sequence[AccessRequest]) -> list[_Answer]:
        """Checked, durably logged, then answered: in this order."""
        with one_look():
            self._fetch_consents(requests)
            decided = [self._resolved(request) for request in requests]
        glass = [(request, decision) for request, decision in decided if decision.permitted and request.breaks_glass]
        if self._emergencies is None or not glass:
            logged = self._logged([], decided)
            return [self._answer(*one, entry) for one, entry in zip(decided, logged, strict=True)]
        with self._emergencies().entering(glass) as entered:
            applied = [entered.applied(request, decision) for request, decision in decided]
            logged = self._logged(entered.events, applied)
        return [
            self._answer(request, decision, entry, entered.refusal_of(request))
            for (request, _), (_, decision), entry in zip(decided, applied, logged, strict=True)
        ]

    def _fetch_consents(self, requests: Sequence[AccessRequest]) -> None:
        if len(requests) > 1:
            with suppress(TwinwardError):  # what cannot be had is told to each request by itself
                self._consents.fetch({request.twin for request in requests if request.twin is not None})

    def _answer(
        self, request: AccessRequest, decision: Decision, entry: LoggedEvent, refusal: type[AccessDenied] = AccessDenied
    ) -> _Answer:
        permit = self._authority.issue(request, entry.index, decision) if decision.permitted else None
        return _Answer(permit, decision, entry.index, refusal)

    def _logged(
        self, first: Sequence[AccessEvent], decided: Sequence[tuple[AccessRequest, Decision]]
    ) -> list[LoggedEvent]:
        """What was decided, durably in the log, after those ``first``; the entries of what was decided."""
        events = [*first, *(self._event(request, decision) for request, decision in decided)]
        request, decision = decided[0]
        # An emergency outlives an outage of the log; many accesses at once wait for it like any other.
        urgent = len(decided) == 1 and decision.permitted and request.is_urgent
        try:
            if urgent and self._emergency is not None:
                return self._emergency.record_emergency(events)[len(first) :]
            return self._trail.record(events)[len(first) :]
        finally:
            look_anew()

    def set_consent(self, context: AccessContext, twin: TwinId, provisions: tuple[Provision, ...]) -> Consent:
        """Record a patient's new consent; it is in force at the next decision."""
        return self.set_consents(context, [(twin, provisions)])[0]

    def set_consents(
        self, context: AccessContext, consents: list[tuple[TwinId, tuple[Provision, ...]]]
    ) -> list[Consent]:
        """Record many consents, each logged as an access of its own.

        Raises:
            AccessDenied: one of them may not be set.
            ConsentInvalid: one of them could never be in force; nothing is set.
            StoreAltered, Unavailable: they could not be stored.
        """
        requests = [context.request(Action.CONSENT, twin) for twin, _ in consents]
        self.require(*requests)  # nothing of the batch is set
        for _, provisions in consents:
            require_in_force(provisions, self._clock.now_ms(), self._role_of)
        self.decide_all(requests)
        stored = self._consents.put_many(consents)
        self._consents_set([twin for twin, _ in consents])
        return stored

    def consent_of(self, twin: TwinId) -> Consent:
        """The consent in force."""
        return self._consents.current(twin)

    def consent_version(self, request: AccessRequest) -> int:
        """The version of the consent that is in force for a request. Raises ``Unavailable``."""
        return self._consent_of(request).version

    def policy_hash(self) -> str:
        """The SHA-256 of the policy in force. Raises ``Unavailable``."""
        return self.policy.current().hash

    def hour_ends_ms(self, request: AccessRequest) -> int | None:
        """When the present hour ends, where a rule on the request's action asks for it. Raises ``Unavailable``."""
        asks = self._policy_for(request).asks_hour(request.action)
        return self._hours.until_ms(self._clock.now_ms()) if asks else None

    def _policy_for(self, request: AccessRequest) -> Policy:
        try:
            return self.policy.current()
        except TwinwardError:
            if request.is_urgent:
                return self.policy.base  # care goes on by the hospital's own settings; all else waits
            raise

    def _consent_of(self, request: AccessRequest) -> Consent:
        if request.twin is None:
            return NO_CONSENT
        try:
            return self._consents.current(request.twin)
        except TwinwardError:
            if request.purpose is Purpose.EMERGENCY:
                return ALL_DENIED  # policy lets a justified emergency pass a no, so also where nobody can say
            raise

    def _event(self, request: AccessRequest, decision: Decision) -> AccessEvent:
        why = (("justification", request.justification),) if request.justification else ()
        return AccessEvent(
            at_ms=self._clock.now_ms(),
            agent=request.principal.id,
            role=request.principal.role,
            unit=request.principal.units_said,
            action=request.action,
            purpose=request.purpose,
            twin=request.twin,
            categories=tuple(sorted(request.categories)),
            decision="permit" if decision.permitted else "deny",
            reason=decision.reason,
            policy_hash=decision.policy_hash,
            consent_version=decision.consent_version,
            detail=request.detail + why + request.principal.place,
        )
