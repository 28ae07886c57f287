"""The one gate: policy and consent decide, the event becomes durable, and only then is there a permit."""

from __future__ import annotations

from collections.abc import Sequence

from twinward.access.capability import PermitAuthority
from twinward.access.consent import NO_CONSENT, Consent, ConsentStore, Provision
from twinward.access.errors import AccessDenied
from twinward.access.interfaces import AccessRequest, Decision, Permit, Principal
from twinward.access.policy import Facts, Policy
from twinward.audit.interfaces import AccessEvent, AuditTrail, EmergencyTrail
from twinward.clock import Clock
from twinward.vocabulary import Action, Purpose, TwinId


class Access:
    """Implements ``AccessControl``.

    Args:
        policy: the rules.
        consents: what patients allow.
        trail: where events go; if it cannot be written, nothing is permitted.
        authority: makes the permits the vault will verify.
        clock: the node's time.
        emergency: where a permitted emergency goes instead; it may take it while the log cannot be written.
    """

    def __init__(
        self,
        policy: Policy,
        consents: ConsentStore,
        trail: AuditTrail,
        authority: PermitAuthority,
        clock: Clock,
        emergency: EmergencyTrail | None = None,
    ) -> None:
        self.policy = policy
        self._consents = consents
        self._trail = trail
        self._emergency = emergency
        self._authority = authority
        self._clock = clock

    def check(self, request: AccessRequest) -> Decision:
        """A dry run that explains itself. Nothing is logged, nothing may be opened with it."""
        consent = self._consent_of(request)
        outcome = consent.outcome(request, self._clock.now_ms())
        verdict = self.policy.evaluate(Facts.of(request, outcome))
        return Decision(verdict.permitted, verdict.reason, consent.version, self.policy.hash)

    def decide(self, request: AccessRequest) -> Permit:
        """Decide, log durably, then give the permit.

        Raises:
            AccessDenied: policy or consent says no; the refusal is in the log too.
            Unavailable: the log could not be written, so nothing is permitted.
        """
        decision = self.check(request)
        event = self._event(request, decision)
        if self._emergency is not None and _breaks_glass(request, decision):
            logged = self._emergency.record_emergency([event])[0]
        else:
            logged = self._trail.record([event])[0]
        if not decision.permitted:
            raise AccessDenied(decision.reason, log_index=logged.index)
        return self._authority.issue(request, logged.index)

    def decide_many(self, requests: Sequence[AccessRequest]) -> list[Permit | None]:
        """Decide many in one durable append; None stands where a request was denied (and logged as such)."""
        decisions = [self.check(request) for request in requests]
        events = [self._event(request, decision) for request, decision in zip(requests, decisions, strict=True)]
        logged = self._trail.record(events)
        return [
            self._authority.issue(request, entry.index) if decision.permitted else None
            for request, decision, entry in zip(requests, decisions, logged, strict=True)
        ]

    def set_consent(self, principal: Principal, twin: TwinId, provisions: tuple[Provision, ...]) -> Consent:
        """Record a patient's new consent; it is in force at the next decision."""
        return self.set_consents(principal, [(twin, provisions)])[0]

    def set_consents(self, principal: Principal, consents: list[tuple[TwinId, tuple[Provision, ...]]]) -> list[Consent]:
        """Record many consents, each logged as an access of its own. Raises ``AccessDenied`` if one may not be set."""
        requests = [AccessRequest(principal, Action.CONSENT, Purpose.RECORD_MANAGEMENT, twin) for twin, _ in consents]
        for request in requests:
            if not self.check(request).permitted:
                self.decide(request)  # logs the refusal and raises: nothing of the batch is set
        for request, permit in zip(requests, self.decide_many(requests), strict=True):
            if permit is None:  # something changed since the dry run: the gate has the last word
                self.decide(request)
        return self._consents.put_many(consents)

    def consent_of(self, twin: TwinId) -> Consent:
        """The consent in force."""
        return self._consents.current(twin)

    def _consent_of(self, request: AccessRequest) -> Consent:
        return NO_CONSENT if request.twin is None else self._consents.current(request.twin)

    def _event(self, request: AccessRequest, decision: Decision) -> AccessEvent:
        justification = (("justification", request.justification),) if request.justification else ()
        return AccessEvent(
            at_ms=self._clock.now_ms(),
            agent=request.principal.id,
            role=request.principal.role,
            unit=request.principal.unit,
            action=request.action,
            purpose=request.purpose,
            twin=request.twin,
            categories=tuple(sorted(request.categories)),
            decision="permit" if decision.permitted else "deny",
            reason=decision.reason,
            policy_hash=decision.policy_hash,
            consent_version=decision.consent_version,
            detail=request.detail + justification,
        )


def _breaks_glass(request: AccessRequest, decision: Decision) -> bool:
    """Whether this is a permitted emergency: the one access that a log which is down must not stand in the way of."""
    urgent = request.purpose is Purpose.EMERGENCY and request.action in (Action.READ, Action.BREAK_GLASS)
    return decision.permitted and urgent
